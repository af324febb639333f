"""The exchange's archive CSV as columns, a block at a time: hundreds of nanoseconds a trade instead of microseconds.

A block of rows that are plain through and through becomes `Columns`; any other block is left to `streaming.recordings`, which
reads row by row and alone decides what a row means. A property test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from quantstream.errors import BadRecord
from quantstream.market import EARLIEST, LATEST, MAX_QUOTE, MAX_SINGLES
from streaming.binance import MICROSECONDS_FROM
from streaming.columns import MOST_QUOTE, Columns
from streaming.digits import Flags, Ints, Page, decimals, integers

BLOCK = 1 << 19  # bytes: the columns of a block stay in the processor's cache
MAX_LINE = 4 << 20  # bytes
COMMA, LINE_END = ord(","), ord("\n")
AGGREGATE = {"id": 0, "price": 1, "quantity": 2, "first": 3, "last": 4, "at": 5, "maker": 6}
SINGLE = {"id": 0, "price": 1, "quantity": 2, "at": 4, "maker": 5}  # column 3 is the quote quantity
MOST_COLUMNS = 8  # with whether the price was the best, which no candle needs
TRUE, FALS = (int.from_bytes(text, "little") for text in (b"TRUE", b"FALS"))
UPPER = 0xDFDFDFDF  # clears the bit that makes a letter small


def blocks(stream: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Yield the stream in blocks of whole lines, each with what was read after it; the last may lack its line end."""
    rest = b""
    while chunk := stream.read(BLOCK):
        block = rest + chunk
        cut = block.rfind(b"\n") + 1
        block, rest = block[:cut], block[cut:]
        if len(rest) > MAX_LINE:
            raise BadRecord(f"a line is longer than {MAX_LINE} bytes")
        if block:
            yield block, rest
    if rest:
        yield rest, b""


def columns_of(block: bytes) -> Columns | None:
    """Return the trades of a block's rows; None when any row is not plain digits and True or False in a known layout."""
    block = block if block.endswith(b"\n") else block + b"\n"
    page = Page([block])
    starts, ends = _cells(page, block)
    if not starts.shape[0]:
        return None
    layout = AGGREGATE if page.bytes[starts[0, 5]] in range(ord("0"), ord("9") + 1) else SINGLE
    if starts.shape[1] not in (layout["maker"] + 1, layout["maker"] + 2):
        return None
    cells: dict[str, Ints] = {}
    sound = np.ones(len(starts), np.bool_)
    for name, place in layout.items():
        if name != "maker":
            read = decimals if name in ("price", "quantity") else integers
            cells[name], good = read(page, starts[:, place].copy(), ends[:, place].copy())
            sound &= good
    truths = [_truths(page, starts[:, place], ends[:, place]) for place in range(layout["maker"], starts.shape[1])]
    for _, good in truths:
        sound &= good
    found = _columns(cells, truths[0][0])
    sound &= (found.price > 0) & (found.first <= found.last) & (found.at >= EARLIEST) & (found.at < LATEST)
    sound &= (found.price.astype(np.float64) * found.quantity <= MOST_QUOTE) & (found.last - found.first < MAX_SINGLES)
    sound &= (
        found.price.astype(np.float64) * found.quantity.astype(np.float64) < MAX_QUOTE / 10
    )  # beyond it `Trade` decides
    sound &= found.last - found.first < MAX_SINGLES
    return found if sound.all() else None


def _cells(page: Page, block: bytes) -> tuple[Ints, Ints]:
    """Return where each cell begins and ends, (rows, columns); no rows when they differ in their number of columns."""
    columns = block.count(b",", 0, block.index(b"\n")) + 1
    separators = np.flatnonzero((page.bytes == COMMA) | (page.bytes == LINE_END))
    none = np.empty((0, 0), np.int64)
    if not SINGLE["maker"] < columns <= MOST_COLUMNS or len(separators) % columns:
        return none, none
    ends = separators.reshape(-1, columns)
    is_line_end = page.bytes[ends] == LINE_END
    if not is_line_end[:, -1].all() or is_line_end[:, :-1].any():
        return none, none
    starts = np.concatenate([page.starts, separators[:-1] + 1]).reshape(-1, columns)
    return starts, ends


def _truths(page: Page, starts: Ints, ends: Ints) -> tuple[Flags, Flags]:
    """Return which cells say True; ok where the others say False. Letters may be small or large, as when read row by row."""
    words = (page.words[starts] & np.uint64(UPPER)).astype(np.int64)
    true = (words == TRUE) & (ends - starts == 4)
    false = (words == FALS) & (ends - starts == 5) & (page.bytes[ends - 1] & 0xDF == ord("E"))
    return true, true | false


def _columns(found: dict[str, Ints], maker: Flags) -> Columns:
    number, at = found["id"], found["at"]
    one = np.zeros(len(at), np.int64)  # a file holds one symbol
    return Columns(
        partition=one,
        code=one,
        id=number,
        first=found.get("first", number),
        last=found.get("last", number),
        price=found["price"],
        quantity=found["quantity"],
        at=np.where(at >= MICROSECONDS_FROM, at, at * 1000),
        maker=maker,
    )
