"""CSV of trades as columns, a block at a time: hundreds of nanoseconds a trade instead of microseconds.

Rows that are plain through and through become `Columns`; any others are left to `streaming.recordings.csv_layouts`, which reads
one row and alone decides what it means. A property test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from quantstream.binance.wire import MICROSECONDS_FROM
from quantstream.core.time import EARLIEST, LATEST
from quantstream.core.trade import MAX_SINGLES
from quantstream.decode.columns import Columns
from quantstream.decode.digits import Flags, Ints, Page, decimals, integers
from quantstream.decode.records import MOST_QUOTE
from streaming.recordings.cells import MILLISECONDS_FROM
from streaming.recordings.csv_layouts import ARCHIVES, Layout

BLOCK = 1 << 19  # bytes: the columns of a block stay in the processor's cache
MAX_LINE = 4 << 20  # bytes
COMMA, LINE_END = ord(","), ord("\n")
TRUE, FALS = (int.from_bytes(text, "little") for text in (b"TRUE", b"FALS"))
UPPER = 0xDFDFDFDF  # clears the bit that makes a letter small
Read = Callable[[int], bytes]


def blocks(read: Read) -> Iterator[bytes]:
    """Yield what `read` gives in blocks of whole lines; the last may lack its line end, and a line that never ends is cut."""
    rest = b""
    while chunk := read(BLOCK):
        block = rest + chunk
        cut = block.rfind(b"\n") + 1
        block, rest = block[:cut], block[cut:]
        if block:
            yield block
        if len(rest) > MAX_LINE:
            yield rest
            rest = _next_line(read)
    if rest:
        yield rest


def _next_line(read: Read) -> bytes:
    """Return what follows the line end that comes next: what is before it belongs to a line that is too long."""
    while chunk := read(BLOCK):
        cut = chunk.find(b"\n") + 1
        if cut:
            return chunk[cut - 1 :]  # with the line end, so that lines are counted right
    return b""


def columns_of(block: bytes, layout: Layout | None = None) -> tuple[Columns, Flags] | None:
    """Return the rows of a block and which of them are plain digits and True or False; None when no rows can be told.

    Without a layout they are an archive's. What is said of the other rows means nothing.
    """
    block = block if block.endswith(b"\n") else block + b"\n"
    width = block.count(b",", 0, block.index(b"\n")) + 1
    page = Page([block])
    starts, ends = _cells(page, width)
    if not starts.shape[0]:
        return None
    layout = layout or _archive(page, starts, width)
    if layout is None or layout.width != width:
        return None
    sound = np.ones(len(starts), np.bool_)
    cells: dict[str, Ints] = {}
    maker = np.zeros(0, np.bool_)
    for name, place in layout.places.items():
        start, end = starts[:, place].copy(), ends[:, place].copy()
        if name in ("maker", "best"):
            true, good = _truths(page, start, end)
            maker = true if name == "maker" else maker
        else:
            cells[name], good = (decimals if name in ("price", "quantity") else integers)(page, start, end)
        sound &= good
    found = _columns(cells, maker)
    sound &= (found.price > 0) & (found.first <= found.last) & (found.at >= EARLIEST) & (found.at < LATEST)
    sound &= (found.last - found.first < MAX_SINGLES) & (cells["at"] >= MILLISECONDS_FROM)
    sound &= (
        found.price.astype(np.float64) * found.quantity.astype(np.float64) <= MOST_QUOTE
    )  # beyond it `Trade` decides
    return found, sound


def _cells(page: Page, width: int) -> tuple[Ints, Ints]:
    """Return where each cell begins and ends, (rows, width); no rows when they differ in their number of cells."""
    separators = np.flatnonzero((page.bytes == COMMA) | (page.bytes == LINE_END))
    none = np.empty((0, 0), np.int64)
    if len(separators) % width:
        return none, none
    ends = separators.reshape(-1, width)
    is_line_end = page.bytes[ends] == LINE_END
    if not is_line_end[:, -1].all() or is_line_end[:, :-1].any():
        return none, none
    starts = np.concatenate([page.starts, separators[:-1] + 1]).reshape(-1, width)
    return starts, ends


def _archive(page: Page, starts: Ints, width: int) -> Layout | None:
    """Return the archive's layout that the first row has."""
    for layout in ARCHIVES:
        is_digit = chr(page.bytes[starts[0, layout.places["maker"]]]).isdigit() if layout.width == width else True
        if not is_digit:
            return layout
    return None


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
        by_id=np.zeros(len(at), np.bool_),
    )
