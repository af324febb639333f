"""Batches put together until builders take them: a row for each trade, not a column for each field.

Builders take trades symbol by symbol, so of a market of thousands of symbols neighbouring trades lie far apart. Half a cache
line holds all of a trade that they sum; in columns each field of it would come from a line, and a page, of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quantstream.core.trade import Trade
from quantstream.decode.arrays import Ints
from quantstream.decode.columns import Columns, Item, Picked

FIRST, AT, PRICE, QUANTITY = range(4)  # places in a row; the quantity is doubled, plus one where the buyer is the maker


@dataclass
class Packed:
    """Records in order of arrival, as in `quantstream.decode.columns.Columns`, whose units and codes these are.

    `table` is (records, 4). Where all ids are those of single trades, `last` and `id` are None.
    """

    partition: Ints
    code: Ints
    table: Ints
    last: Ints | None
    id: Ints | None
    items: dict[int, tuple[str, Item]]

    def __len__(self) -> int:
        return len(self.code)

    def pick(self, rows: Ints) -> Picked:
        """Return some of the rows."""
        chosen = self.table.take(rows, axis=0)  # of each row at once, which indexing would not
        first, doubled = chosen[:, FIRST].copy(), chosen[:, QUANTITY]
        last = first if self.last is None else self.last[rows]
        price, maker = chosen[:, PRICE].copy(), (doubled & 1).astype(np.bool_)
        return Picked(first, last, chosen[:, AT].copy(), price, doubled >> 1, maker)

    def trade(self, row: int, symbol: str) -> Trade:
        """Return one row as a value."""
        first, at, price, doubled = self.table[row].tolist()
        last = first if self.last is None else int(self.last[row])
        number = first if self.id is None else int(self.id[row])
        return Trade(symbol, number, first, last, price, doubled >> 1, at, bool(doubled & 1))


class Collected:
    """Room for batches, kept: to allocate it anew each time costs more than to fill it."""

    def __init__(self, rows: int) -> None:
        """`rows` is how many there is room for; memory is taken as they come."""
        self._table = np.empty((rows, 4), np.int64)
        self._partition, self._code, self._last, self._id = (np.empty(rows, np.int64) for _ in range(4))
        self._items: dict[int, tuple[str, Item]] = {}
        self._count, self._are_single = 0, True

    def __len__(self) -> int:
        return self._count

    def add(self, part: Columns) -> None:
        """Put a batch behind those before it; there must be room for it."""
        start, end = self._count, self._count + len(part)
        if self._are_single and not (part.first is part.id and part.last is part.id):
            self._are_single = False
            self._last[:start] = self._id[:start] = self._table[:start, FIRST]
        if not self._are_single:
            self._last[start:end], self._id[start:end] = part.last, part.id
        self._partition[start:end], self._code[start:end] = part.partition, part.code
        rows = self._table[start:end]
        rows[:, FIRST], rows[:, AT], rows[:, PRICE] = part.first, part.at, part.price
        rows[:, QUANTITY] = part.quantity << 1 | part.maker
        self._items.update({start + row: item for row, item in part.items.items()})
        self._count = end

    def take(self) -> Packed:
        """Return all of it, and begin anew: what is added next overwrites it."""
        held = slice(self._count)
        last, id_ = (None, None) if self._are_single else (self._last[held], self._id[held])
        packed = Packed(self._partition[held], self._code[held], self._table[held], last, id_, self._items)
        self.clear()
        return packed

    def clear(self) -> None:
        """Forget all of it."""
        self._items, self._count, self._are_single = {}, 0, True
