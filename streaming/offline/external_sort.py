"""An external sort of trades: rows in any order go in, batches in order of symbol and id come out, in bounded memory.

Sorted runs lie in one temporary file and are merged some thousand rows at a time. Rows of one first id come in the same batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from quantstream.core.trade import Trade
from quantstream.decode.arrays import Flags, Ints
from quantstream.decode.columns import TradeColumns

# A row as it lies in the file. Numbers beyond an int64 have a high word of 10¹⁸; `is_void` rows only use their ids up.
ROW = np.dtype(
    [
        *((name, "<i8") for name in ("symbol", "first", "last", "id", "at", "line")),
        *((name, "<i8") for name in ("price", "price_high", "quantity", "quantity_high")),
        ("source", "<i4"),
        ("maker", "?"),
        ("is_void", "?"),
    ],
    align=True,
)
Rows = NDArray[np.void]
WORD = 10**18
CHUNK = 1 << 19  # rows sorted at once: 48 MB, some copies of which are made
LEAST = 1 << 12  # rows of each run read at once
CONTENT = ("price", "price_high", "quantity", "quantity_high", "maker", "is_void")
# The last key is the first to sort by. Of rows that are the same but for their time those in ms come before those in µs.
KEYS = ("line", "source", "at", "maker", "quantity_high", "quantity", "price_high", "price", "is_void")


def rows_of(columns: TradeColumns, symbol: int, source: int, line: int) -> Rows:
    """Return a block's rows, which stand in `source` from `line` on."""
    rows = np.zeros(len(columns), ROW)
    for name in ("first", "last", "id", "at", "price", "quantity", "maker"):
        rows[name] = getattr(columns, name)
    rows["symbol"], rows["source"] = symbol, source
    rows["line"] = np.arange(line, line + len(columns))
    return rows


def row_of(trade: Trade, symbol: int, source: int, line: int) -> tuple[int | bool, ...]:
    """Return a trade as a row's values."""
    price_high, price = divmod(trade.price, WORD)
    quantity_high, quantity = divmod(trade.quantity, WORD)
    ids = (trade.first_trade_id, trade.last_trade_id, trade.id)
    sizes = (price, price_high, quantity, quantity_high)
    return (symbol, *ids, trade.traded_at, line, *sizes, source, trade.buyer_is_maker, False)


def void_row(first: int, last: int, at: int, symbol: int, source: int, line: int) -> tuple[int | bool, ...]:
    """Return a row that only uses ids up."""
    return (symbol, first, last, first, at, line, 0, 0, 0, 0, source, False, True)


def is_plain(rows: Rows) -> Flags:
    """Return which rows fit columns."""
    return np.asarray((rows["price_high"] == 0) & (rows["quantity_high"] == 0) & ~rows["is_void"], np.bool_)


def columns_of(rows: Rows) -> TradeColumns:
    """Return plain rows of one symbol as columns."""
    one = np.zeros(len(rows), np.int64)
    number, first, last, price, quantity, at = (
        np.ascontiguousarray(rows[name]) for name in ("id", "first", "last", "price", "quantity", "at")
    )
    maker, by_id = np.ascontiguousarray(rows["maker"]), np.zeros(len(rows), np.bool_)
    return TradeColumns(one, one, number, first, last, price, quantity, at, maker, by_id)


def trade_of(row: np.void, symbol: str) -> Trade:
    """Return a row as a value."""
    price = int(row["price"]) + WORD * int(row["price_high"])
    quantity = int(row["quantity"]) + WORD * int(row["quantity_high"])
    ids = (int(row["id"]), int(row["first"]), int(row["last"]))
    return Trade(symbol, *ids, price, quantity, int(row["at"]), bool(row["maker"]))


class Sorter:
    """Takes rows in any order and gives them back sorted."""

    def __init__(self, file: BinaryIO, chunk: int = 0) -> None:
        """`file` is a temporary one, empty; `chunk` rows are held at once."""
        self.file, self.chunk = file, chunk or CHUNK
        self.parts: list[Rows] = []
        self.singles: list[tuple[int | bool, ...]] = []
        self.held = 0
        self.runs: list[tuple[int, int]] = []  # where each begins, and how many rows it has

    def add(self, rows: Rows) -> None:
        """Take rows in."""
        self.parts.append(rows)
        self._grew(len(rows))

    def add_one(self, row: tuple[int | bool, ...]) -> None:
        """Take one row's values in."""
        self.singles.append(row)
        self._grew(1)

    def _grew(self, rows: int) -> None:
        self.held += rows
        if self.held >= self.chunk:
            self._spill()

    def _spill(self) -> None:
        if self.singles:
            self.parts.append(np.array(self.singles, ROW))
        if self.parts:
            rows = in_order(np.concatenate(self.parts))
            self.runs.append((self.file.seek(0, 2), len(rows)))
            self.file.write(rows.data)
        self.parts, self.singles, self.held = [], [], 0

    def merged(self) -> Iterator[Rows]:
        """Yield all rows in order, batch by batch."""
        self._spill()
        size = max(LEAST, self.chunk // max(len(self.runs), 1))
        runs = [_Run(self.file, begin, rows, size) for begin, rows in self.runs]
        while True:
            for run in runs:
                run.fill()
            runs = [run for run in runs if len(run.rows)]
            if not runs:
                return
            end = min((run.end for run in runs if run.left), default=None)
            cuts = [run.before(end) if end else len(run.rows) for run in runs]
            if not any(cuts):  # the last id at hand of some run may have more rows in it
                for run in runs:
                    if run.left and run.end == end:
                        run.grow()
                continue
            yield in_order(np.concatenate([run.take(cut) for run, cut in zip(runs, cuts, strict=True)]))


class _Run:
    """One sorted run, read piece by piece."""

    def __init__(self, file: BinaryIO, begin: int, rows: int, size: int) -> None:
        self.file, self.place, self.left, self.size = file, begin, rows, size
        self.rows: Rows = np.zeros(0, ROW)

    def fill(self) -> None:
        """Have rows at hand, if any are left."""
        if not len(self.rows):
            self.grow()

    def grow(self) -> None:
        """Have more rows at hand."""
        count = min(self.left, self.size)
        self.file.seek(self.place)
        more = np.frombuffer(self.file.read(count * ROW.itemsize), ROW)
        self.rows = np.concatenate([self.rows, more]) if len(self.rows) else more
        self.place, self.left = self.place + count * ROW.itemsize, self.left - count

    @property
    def end(self) -> tuple[int, int]:
        """Return symbol and first id of the last row at hand."""
        return int(self.rows["symbol"][-1]), int(self.rows["first"][-1])

    def before(self, end: tuple[int, int]) -> int:
        """Return how many rows at hand come before a symbol and first id."""
        if (int(self.rows["symbol"][0]), int(self.rows["first"][0])) >= end:
            return 0
        symbol, first = self.rows["symbol"], self.rows["first"]
        return int(np.count_nonzero((symbol < end[0]) | ((symbol == end[0]) & (first < end[1]))))

    def take(self, count: int) -> Rows:
        """Return that many rows and have them no more at hand."""
        taken, self.rows = self.rows[:count], self.rows[count:]
        return taken


def in_order(rows: Rows) -> Rows:
    """Return rows by symbol and first id, of these the longest first, then by content: one order for any order of arrival."""
    symbol, first = rows["symbol"], rows["first"]
    is_sorted = (symbol[1:] > symbol[:-1]) | ((symbol[1:] == symbol[:-1]) & (first[1:] >= first[:-1]))
    if not is_sorted.all():
        rows = rows[np.lexsort((first, symbol))]
        symbol, first = rows["symbol"], rows["first"]
    same = (symbol[1:] == symbol[:-1]) & (first[1:] == first[:-1])
    if same.any():  # few as a rule: only these go by their content
        tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
        rows = rows.copy()
        rows[tied] = _by_content(rows[tied])
    return rows


def _by_content(rows: Rows) -> Rows:
    keys: list[Ints] = [rows[name] for name in KEYS]
    keys.insert(KEYS.index("at") + 1, rows["at"] // 1000)
    return rows[np.lexsort((*keys, -rows["last"], rows["first"], rows["symbol"]))]
