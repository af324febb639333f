"""A batch of records of the trades topic as columns: what `parse_record` says of each of them, thousands at a time.

Whoever handles a market's bursts cannot afford an object per trade. Records in a shape seen before (`streaming.shapes`) become
columns straight from their bytes; all others, heartbeats included, go through `streaming.binance.parse_record` one by one. The
two agree on every record there is; a property test holds them to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import numpy as np

from quantstream.errors import BadRecord
from quantstream.market import MAX_QUOTE, Trade
from streaming import shapes
from streaming.binance import parse_record
from streaming.digits import Flags, Ints, Page, plain

MOST_UNITS = 10**18  # prices and quantities beyond it do not fit a column
MOST_QUOTE = MAX_QUOTE / 10  # beyond it `Trade` itself decides, exactly
MOST_SHAPES = 8  # kept; a topic has as many as kinds of producers
TRIES = 8  # records of a batch that match no shape are looked at for a new one
FEWEST = 32  # records: fewer are quicker one by one
MOST_SYMBOLS = 100_000
SYMBOL_BYTES = 16  # longer keys are taken one by one
NAMES = ("partition", "code", "id", "first", "last", "price", "quantity", "at", "maker")
SINGLE_NAMES = tuple(name for name in NAMES if name not in ("first", "last"))  # enough where each record is one trade
Item = Trade | int | BadRecord  # a trade, the time of a heartbeat, or why it is neither


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


class SymbolTable:
    """Numbers for keys, and how each is printed."""

    def __init__(self) -> None:
        self.codes: dict[bytes, int] = {}
        self.names: list[str] = []
        self.length, self.head, self.tail = (np.zeros(0, kind) for kind in (np.int64, np.uint64, np.uint64))

    def number(self, keys: Sequence[bytes | None]) -> Ints:
        """Return the code of each key."""
        codes = np.fromiter(map(self.codes.get, keys, repeat(-1)), np.int64, len(keys))  # type: ignore[arg-type]
        if codes.size and codes.min() < 0:
            self._learn({keys[row] or b"" for row in np.flatnonzero(codes < 0).tolist()})
            codes = np.fromiter(map(self.codes.get, keys, repeat(-1)), np.int64, len(keys))  # type: ignore[arg-type]
        return codes

    def _learn(self, keys: set[bytes]) -> None:
        for key in sorted(keys):
            if 0 < len(key) <= SYMBOL_BYTES and key.isalnum() and len(self.codes) < MOST_SYMBOLS:
                self.codes[key] = len(self.names)
                self.names.append(key.decode("ascii"))
        printed = [name.encode().ljust(SYMBOL_BYTES, b"\0") for name in self.names]
        words = np.frombuffer(b"".join(printed), "<u8").reshape(-1, 2)
        self.head, self.tail = words[:, 0].copy(), words[:, 1].copy()
        self.length = np.array([len(name) for name in self.names], np.int64)

    def printed_at(self, page: Page, starts: Ints, ends: Ints, codes: Ints) -> Flags:
        """Return where the page prints the symbol of `codes`, all of which are numbers of this table."""
        length = ends - starts
        ok = length == self.length[codes]
        unused = ((8 - np.clip(length, 0, 8)) * 8).astype(np.uint64)
        ok &= page.words[starts] << unused == self.head[codes] << unused
        if length.size and int(length.max()) > 8:
            unused = ((8 - np.clip(length - 8, 0, 8)) * 8).astype(np.uint64)
            ok &= page.words[starts + 8] << unused == self.tail[codes] << unused
        return np.asarray(ok, np.bool_)


class Parser:
    """Turns records into columns; remembers the shapes and the symbols that it has seen."""

    def __init__(self) -> None:
        self.symbols = SymbolTable()
        self.shapes: list[shapes.Shape] = []

    def parse(self, values: Sequence[bytes], keys: Sequence[bytes | None], partitions: Sequence[int]) -> Columns:
        """Return the columns of records with these values and keys, from these partitions."""
        codes = self.symbols.number(keys)
        columns = _empty(np.array(partitions, np.int64), codes)
        left = np.arange(len(values))
        if len(values) >= FEWEST:
            left = self._by_shape(values, columns)
        for row in left.tolist():
            self._one(columns, row, values[row], (keys[row] or b"").decode(errors="replace"))
        if np.array_equal(columns.id, columns.first) and np.array_equal(columns.id, columns.last):
            columns.first = columns.last = columns.id
        return columns

    def _by_shape(self, values: Sequence[bytes], columns: Columns) -> Ints:
        """Fill the columns of every record of a known shape, or of one that can be learnt; return the rows left over."""
        page = Page(values)
        candidates = plain(page) & (columns.code >= 0)
        left = np.flatnonzero(candidates)
        for shape in self.shapes:
            left = self._take(shape, page, left, columns) if len(left) else left
        for chosen in left[:: max(len(left) // TRIES, 1)].tolist()[:TRIES] if len(left) >= FEWEST else ():
            learnt = shapes.learn(values[chosen]) if columns.at[chosen] == 0 else None
            if learnt is None or learnt.skeleton in {shape.skeleton for shape in self.shapes}:
                continue
            self.shapes = [learnt, *self.shapes][:MOST_SHAPES]
            left = self._take(learnt, page, left, columns)
        for shape in self.shapes:
            left = self._take(shape, page, left, columns, careful=True) if len(left) >= FEWEST else left
        return np.flatnonzero(columns.at == 0)

    def _take(self, shape: shapes.Shape, page: Page, rows: Ints, columns: Columns, careful: bool = False) -> Ints:
        found = shapes.read(shape, page, rows, careful)
        at = found.rows
        if found.symbol_starts is not None and found.symbol_ends is not None:
            good = self.symbols.printed_at(page, found.symbol_starts, found.symbol_ends, columns.code[at])
            found = found if good.all() else found.only(good)
            at = found.rows
        is_sane = found.price.astype(np.float64) * found.quantity.astype(np.float64) < MOST_QUOTE
        if not is_sane.all():
            found = found.only(is_sane)
            at = found.rows
        columns.id[at], columns.first[at], columns.last[at] = found.id, found.first, found.last
        columns.price[at], columns.quantity[at] = found.price, found.quantity
        columns.at[at], columns.maker[at] = found.at, found.maker
        return np.asarray(rows[columns.at[rows] == 0], np.int64)

    def _one(self, columns: Columns, row: int, raw: bytes, key: str) -> None:
        try:
            item: Item = parse_record(raw, key)
        except BadRecord as error:
            columns.items[row] = key, error
            return
        if not isinstance(item, Trade) or columns.code[row] < 0 or max(item.price, item.quantity) > MOST_UNITS:
            columns.items[row] = key, item
            return
        columns.id[row], columns.first[row], columns.last[row] = item.id, item.first_trade_id, item.last_trade_id
        columns.price[row], columns.quantity[row] = item.price, item.quantity
        columns.at[row], columns.maker[row] = item.traded_at, item.buyer_is_maker


def _empty(partitions: Ints, codes: Ints) -> Columns:
    id_, first, last, price, quantity, at = (np.zeros(len(codes), np.int64) for _ in range(6))
    maker = np.zeros(len(codes), np.bool_)
    return Columns(partitions, codes, id_, first, last, price, quantity, at, maker)


class Collected:
    """Batches put together, in arrays that are kept: to allocate new ones each time costs more than to fill them."""

    def __init__(self, rows: int) -> None:
        """`rows` is how many there is room for; memory is taken as they come."""
        self._columns: dict[str, Any] = {
            name: np.empty(rows, np.bool_ if name == "maker" else np.int64) for name in NAMES
        }
        self._items: dict[int, tuple[str, Item]] = {}
        self._count, self._are_single = 0, True

    def __len__(self) -> int:
        return self._count

    def add(self, part: Columns) -> None:
        """Put a batch behind those before it; there must be room for it."""
        start, end = self._count, self._count + len(part)
        if self._are_single and not (part.first is part.id and part.last is part.id):
            self._are_single = False
            for name in ("first", "last"):
                self._columns[name][:start] = self._columns["id"][:start]
        for name in SINGLE_NAMES if self._are_single else NAMES:
            self._columns[name][start:end] = getattr(part, name)
        self._items.update({start + row: item for row, item in part.items.items()})
        self._count = end

    def take(self) -> Columns:
        """Return all of it, and begin anew: what is added next overwrites it."""
        whole: dict[str, Any] = {name: column[: self._count] for name, column in self._columns.items()}
        if self._are_single:
            whole["first"] = whole["last"] = whole["id"]
        columns = Columns(**whole, items=self._items)
        self.clear()
        return columns

    def clear(self) -> None:
        """Forget all of it."""
        self._items, self._count, self._are_single = {}, 0, True
