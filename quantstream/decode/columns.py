"""A batch of records of the trades topic as columns: what `parse_record` says of each of them, thousands at a time.

Whoever handles a market's bursts cannot afford an object per trade. Records in a shape seen before (`quantstream.decode.shapes`)
become columns straight from their bytes; all others, heartbeats included, go through `quantstream.binance.wire.parse_record` one
by one. The two agree on every record there is; a property test holds them to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from quantstream.binance.wire import parse_record
from quantstream.core.errors import BadRecord
from quantstream.core.trade import MAX_QUOTE, Trade
from quantstream.decode import shapes
from quantstream.decode.digits import Flags, Ints, Page, plain
from quantstream.decode.symbol_index import SymbolTable

MOST_UNITS = 10**18  # prices and quantities beyond it do not fit a column
MOST_QUOTE = MAX_QUOTE / 10  # beyond it `Trade` itself decides, exactly
MOST_SHAPES = 8  # kept; a topic has as many as kinds of producers
TRIES = 8  # records of a batch that match no shape are looked at for a new one
FEWEST = 32  # records: fewer are quicker one by one
Item = Trade | int | BadRecord  # a trade, the time of a heartbeat, or why it is neither


@dataclass(frozen=True)
class Picked:
    """Trades of a batch in the order asked for; units as in `Columns`. `first` and `last` may be one array."""

    first: Ints
    last: Ints
    at: Ints
    price: Ints
    quantity: Ints
    maker: Flags


class Batch(Protocol):
    """Records that builders take in, however they are kept: `Columns`, or `quantstream.decode.packed.Packed`.

    `items` holds those that are no plain trade, with their key; what `pick` says of them is zero.
    """

    partition: Ints
    code: Ints
    items: dict[int, tuple[str, Item]]

    def __len__(self) -> int: ...

    def pick(self, rows: Ints) -> Picked:
        """Return some of the rows."""
        ...

    def trade(self, row: int, symbol: str) -> Trade:
        """Return one row as a value."""
        ...


@dataclass
class Columns:
    """Records in order of arrival. `items` holds those that are no plain trade, with their key; their columns are zero.

    `code` numbers the keys (`SymbolTable.names`), −1 for one without a number. Prices and quantities in 10⁻⁸, `at` in µs.
    Where all ids are those of single trades, `id`, `first` and `last` are one array.
    """

    partition: Ints
    code: Ints
    id: Ints
    first: Ints
    last: Ints
    price: Ints
    quantity: Ints
    at: Ints
    maker: Flags
    items: dict[int, tuple[str, Item]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.code)

    def pick(self, rows: Ints) -> Picked:
        """Return some of the rows."""
        first = self.first[rows]
        last = first if self.last is self.first else self.last[rows]
        return Picked(first, last, self.at[rows], self.price[rows], self.quantity[rows], self.maker[rows])

    def between(self, start: int, end: int) -> Columns:
        """Return the rows `[start, end)` of columns without items."""
        names = ("partition", "code", "id", "first", "last", "price", "quantity", "at", "maker")
        return Columns(*(getattr(self, name)[start:end] for name in names))

    def trade(self, row: int, symbol: str) -> Trade:
        """Return one row as a value."""
        return Trade(
            symbol,
            int(self.id[row]),
            int(self.first[row]),
            int(self.last[row]),
            int(self.price[row]),
            int(self.quantity[row]),
            int(self.at[row]),
            bool(self.maker[row]),
        )


class Parser:
    """Turns records into columns; remembers the shapes and the symbols that it has seen."""

    def __init__(self) -> None:
        self.symbols = SymbolTable()
        self.shapes: list[shapes.Shape] = []

    def parse(self, values: Sequence[bytes], keys: Sequence[bytes | None], partitions: Sequence[int]) -> Columns:
        """Return the columns of records with these values and keys, from these partitions."""
        columns, left = _empty(np.array(partitions, np.int64)), np.arange(len(values))
        if len(values) >= FEWEST:
            left = self._by_shape(values, keys, columns)
        if len(left):
            columns.code[left] = self.symbols.number([keys[row] for row in left.tolist()])
        for row in left.tolist():
            self._one(columns, row, values[row], (keys[row] or b"").decode(errors="replace"))
        if np.array_equal(columns.id, columns.first) and np.array_equal(columns.id, columns.last):
            columns.first = columns.last = columns.id
        return columns

    def _by_shape(self, values: Sequence[bytes], keys: Sequence[bytes | None], columns: Columns) -> Ints:
        """Fill the columns of every record of a known shape, or of one that can be learnt; return the rows left over."""
        page = Page(values)
        left = np.flatnonzero(plain(page))
        for shape in self.shapes:
            left = self._take(shape, page, left, keys, columns) if len(left) else left
        for chosen in left[:: max(len(left) // TRIES, 1)].tolist()[:TRIES] if len(left) >= FEWEST else ():
            learnt = shapes.learn(values[chosen]) if columns.at[chosen] == 0 else None
            if learnt is None or learnt.skeleton in {shape.skeleton for shape in self.shapes}:
                continue
            self.shapes = [learnt, *self.shapes][:MOST_SHAPES]
            left = self._take(learnt, page, left, keys, columns)
        for shape in self.shapes:
            left = self._take(shape, page, left, keys, columns, careful=True) if len(left) >= FEWEST else left
        return np.flatnonzero(columns.at == 0)

    def _take(
        self,
        shape: shapes.Shape,
        page: Page,
        rows: Ints,
        keys: Sequence[bytes | None],
        columns: Columns,
        careful: bool = False,
    ) -> Ints:
        found = shapes.read(shape, page, rows, careful)
        is_sane = found.price.astype(np.float64) * found.quantity.astype(np.float64) < MOST_QUOTE
        if not is_sane.all():
            found = found.only(is_sane)
        codes = self._codes(found, page, keys)
        if len(codes) and codes.min() < 0:
            found, codes = found.only(codes >= 0), codes[codes >= 0]
        at = found.rows
        columns.code[at] = codes
        columns.id[at], columns.first[at], columns.last[at] = found.id, found.first, found.last
        columns.price[at], columns.quantity[at] = found.price, found.quantity
        columns.at[at], columns.maker[at] = found.at, found.maker
        return np.asarray(rows[columns.at[rows] == 0], np.int64)

    def _codes(self, found: shapes.Fields, page: Page, keys: Sequence[bytes | None]) -> Ints:
        """Return the codes of the records' symbols, -1 where key and symbol differ, or are none."""
        mine = keys if len(found.rows) == len(keys) else [keys[row] for row in found.rows.tolist()]
        if found.symbol_starts is None or found.symbol_ends is None or not mine:
            return self.symbols.number(mine)
        return self.symbols.printed(page, found.symbol_starts, found.symbol_ends, mine)

    def _one(self, columns: Columns, row: int, raw: bytes, key: str) -> None:
        try:
            item: Item = parse_record(raw, key)
        except BadRecord as error:
            columns.items[row] = key, error
            return
        is_plain = isinstance(item, Trade) and not item.by_id and max(item.price, item.quantity) <= MOST_UNITS
        if not isinstance(item, Trade) or not is_plain or columns.code[row] < 0:
            columns.items[row] = key, item
            return
        columns.id[row], columns.first[row], columns.last[row] = item.id, item.first_trade_id, item.last_trade_id
        columns.price[row], columns.quantity[row] = item.price, item.quantity
        columns.at[row], columns.maker[row] = item.traded_at, item.buyer_is_maker


def _empty(partitions: Ints) -> Columns:
    id_, first, last, price, quantity, at = (np.zeros(len(partitions), np.int64) for _ in range(6))
    codes, maker = np.full(len(partitions), -1), np.zeros(len(partitions), np.bool_)
    return Columns(partitions, codes, id_, first, last, price, quantity, at, maker)
