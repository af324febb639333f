"""A batch of records of the trades topic as columns: what `parse_record` says of each of them, thousands at a time.

Whoever handles a market's bursts cannot afford an object per trade. Plain trades become columns straight from their bytes, in a
compiled loop (`quantstream.decode.records`); all others, heartbeats included, go through
`quantstream.binance.wire.parse_record` one by one. The two agree on every record there is; a property test holds them to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from quantstream.binance.wire import parse_record
from quantstream.core.errors import BadRecord
from quantstream.core.trade import Trade
from quantstream.decode import records
from quantstream.decode.arrays import Flags, Ints, Text
from quantstream.decode.records import PADDING
from quantstream.decode.symbol_index import SymbolTable

MOST_UNITS = 10**18  # prices and quantities beyond it do not fit a column
Item = Trade | int | BadRecord  # a trade, the time of a heartbeat, or why it is neither


@dataclass
class TradeColumns:
    """Records in order of arrival. `items` holds those that are no plain trade, with their key; their columns are zero.

    `code` numbers the keys (`SymbolTable.names`), −1 for one without a number. Prices and quantities in 10⁻⁸, `at` in µs.
    Of trades `by_id` only the `id` runs without a gap, as in `Trade`.
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
    by_id: Flags
    items: dict[int, tuple[str, Item]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.code)

    def item(self, row: int, names: Sequence[str]) -> tuple[str, Item]:
        """Return what a row holds, with its key; `names` are those of the codes."""
        return self.items.get(row) or (names[self.code[row]], self.trade(row, names[self.code[row]]))

    def trade_at(self, row: int, names: Sequence[str]) -> Trade:
        """Return the trade of a row, be it in the columns or beside them."""
        _, trade = self.item(row, names)
        assert isinstance(trade, Trade)
        return trade

    def by_symbol(self, rows: Ints) -> Iterator[tuple[Ints, int]]:
        """Yield the rows (ascending, each with a code) of each symbol, in its partition, with its code."""
        if not len(rows):
            return
        width = int(self.code.max()) + 1
        key = self.partition[rows] * width + self.code[rows]
        small = key.astype(np.uint16) if int(key.max()) < 1 << 16 else key  # numpy sorts 16 bits by counting
        places = np.argsort(small, kind="stable")
        starts = np.flatnonzero(np.diff(small[places], prepend=-1))
        codes = (key[places[starts]] % width).tolist()
        yield from zip(np.split(rows[places], starts[1:]), codes, strict=True)

    def between(self, start: int, end: int) -> TradeColumns:
        """Return the rows `[start, end)` of columns without items."""
        names = ("partition", "code", "id", "first", "last", "price", "quantity", "at", "maker", "by_id")
        return TradeColumns(*(getattr(self, name)[start:end] for name in names))

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
            bool(self.by_id[row]),
        )


class Parser:
    """Turns records into columns; remembers the symbols that it has seen."""

    def __init__(self) -> None:
        self.symbols = SymbolTable()

    def parse(
        self, values: Sequence[bytes], keys: Sequence[bytes | None], partitions: Sequence[int] | Ints
    ) -> TradeColumns:
        """Return the columns of records with these values and keys, from these partitions."""
        texts, names = _joined(values), _joined(keys)
        columns = self._read(texts, names, partitions)
        if columns is None:  # a zero byte in one of them: it is no trade's, and no symbol's
            texts, names = _joined(_without_zeros(values)), _joined(_without_zeros(keys))
            columns = self._read(texts, names, partitions)
        assert columns is not None
        strangers = np.flatnonzero(columns.code < 0).tolist()
        if strangers and self.symbols.learn({keys[row] or b"" for row in strangers}):
            columns = self._read(texts, names, partitions)
            assert columns is not None
        for row in np.flatnonzero(columns.at == 0).tolist():
            self._one(columns, row, values[row], (keys[row] or b"").decode(errors="replace"))
        return columns

    def _read(self, texts: Text, keys: Text, partitions: Sequence[int] | Ints) -> TradeColumns | None:
        """Return the columns of all plain trades, zeros for other records; None when texts or keys are not as many."""
        count, symbols = len(partitions), self.symbols
        code, table = np.empty(count, np.int64), np.zeros((6, count), np.int64)
        maker, by_id = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
        read = records.read.over(
            texts, keys, symbols.slots, symbols.texts, code, table, maker, by_id, np.zeros(records.FIELDS, np.int64)
        )
        if not read(count, len(texts) - len(PADDING), len(keys) - len(PADDING), len(symbols.slots)):
            return None
        number, first, last, price, quantity, at = table
        partition = np.asarray(partitions, np.int64)
        return TradeColumns(partition, code, number, first, last, price, quantity, at, maker, by_id)

    def _one(self, columns: TradeColumns, row: int, raw: bytes, key: str) -> None:
        try:
            item: Item = parse_record(raw, key)
        except BadRecord as error:
            columns.items[row] = key, error
            return
        is_plain = isinstance(item, Trade) and max(item.price, item.quantity) <= MOST_UNITS
        if not isinstance(item, Trade) or not is_plain or columns.code[row] < 0:
            columns.items[row] = key, item
            return
        columns.id[row], columns.first[row], columns.last[row] = item.id, item.first_trade_id, item.last_trade_id
        columns.price[row], columns.quantity[row] = item.price, item.quantity
        columns.at[row], columns.maker[row], columns.by_id[row] = item.traded_at, item.buyer_is_maker, item.by_id


def _joined(texts: Sequence[bytes | None]) -> Text:
    """Return texts one after the other, a zero byte after each."""
    try:
        joined = b"\0".join([*texts, PADDING[1:]])  # type: ignore[list-item]
    except TypeError:  # a record without a key
        joined = b"\0".join([*(text or b"" for text in texts), PADDING[1:]])
    return np.frombuffer(joined, np.uint8)


def _without_zeros(texts: Sequence[bytes | None]) -> list[bytes]:
    return [b"" if text is None or b"\0" in text else text for text in texts]
