"""CSV of trades as columns, a block at a time: a hundred nanoseconds a trade instead of microseconds.

Rows that are plain through and through become `TradeColumns` in a compiled loop; any others are left to
`streaming.recordings.csv_layouts`, which reads one row and alone decides what it means. A property test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from quantstream.decode import rows
from quantstream.decode.arrays import Flags
from quantstream.decode.columns import TradeColumns
from quantstream.decode.records import AMOUNT, FIRST_ID, ID, LAST_ID, PADDING, TRADED_AT, UNITS
from streaming.recordings.csv_layouts import ARCHIVES, Layout

BLOCK = 1 << 19  # bytes: the columns of a block stay in the processor's cache
MAX_LINE = 4 << 20  # bytes
FIELDS = {"id": ID, "first": FIRST_ID, "last": LAST_ID, "price": UNITS, "quantity": AMOUNT, "at": TRADED_AT}
FIELDS |= {"maker": rows.MAKER, "best": rows.BEST}
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


def columns_of(block: bytes, layout: Layout | None = None) -> tuple[TradeColumns, Flags] | None:
    """Return the rows of a block and which of them are plain digits and True or False; None when their layout is another.

    Without a layout they are an archive's. What is said of the other rows means nothing.
    """
    cells = block[: block.find(b"\n") if b"\n" in block else None].split(b",")
    layout = layout or _archive(cells)
    if layout is None or layout.width != len(cells):
        return None
    text = np.frombuffer(block + b"\n" * (not block.endswith(b"\n")) + PADDING, np.uint8)
    count = block.count(b"\n") + (not block.endswith(b"\n"))
    fields = np.full(layout.width, rows.IGNORED)
    for name, place in layout.places.items():
        fields[place] = FIELDS[name]
    table, maker, sound = np.zeros((6, count), np.int64), np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    read = rows.read.over(text, fields, table, maker, sound, np.zeros(rows.FIELDS, np.int64))
    read(count, layout.width, "first" not in layout.places)
    one = np.zeros(count, np.int64)  # a file holds one symbol
    number, first, last, price, quantity, at = table
    by_id = np.zeros(count, np.bool_)
    return TradeColumns(one, one, number, first, last, price, quantity, at, maker, by_id), sound


def _archive(cells: Sequence[bytes]) -> Layout | None:
    """Return the archive's layout that a row has."""
    for layout in ARCHIVES:
        if layout.width == len(cells) and not cells[layout.places["maker"]][:1].isdigit():
            return layout
    return None
