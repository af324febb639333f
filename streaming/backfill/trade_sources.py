"""Trades of some days, whole columns where it can be: as a file has them, sorted in bounded memory, or as REST tells them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from quantstream.binance.archive import Series
from quantstream.binance.rest import BlockingRest
from quantstream.binance.wire import parse_trade, split_rows
from quantstream.core.decimals import units_decimal
from quantstream.core.time import to_millis
from quantstream.core.trade import Trade
from quantstream.decode.columns import MOST_UNITS, TradeColumns
from quantstream.lake.imports import ORIGIN
from quantstream.lake.schemas import SCHEMAS, TIME
from streaming.offline.external_sort import Rows, Sorter, columns_of, is_plain, row_of, rows_of, trade_of
from streaming.offline.merge_rows import Reconciler
from streaming.offline.row_account import Account
from streaming.recordings.found import Block, LeftOut, Refused, Row
from streaming.recordings.readers import Given, read_found
from streaming.sink.trade_rows import units

Item = TradeColumns | Trade
SCHEMA = pa.schema([field for field in SCHEMAS["trades"] if field.name != "date"])
PAGE = 1000  # rows of one answer
PLAIN = ("id", "first_trade_id", "last_trade_id", "price", "quantity", "traded_at", "buyer_is_maker")


class Stretch:
    """The trades of one symbol within `[start, end)`, µs, and the account of all rows that were read for them.

    Those from `cut` on are the live path's: they are counted as `left` and not given out.
    """

    def __init__(self, name: str, symbol: str, start: int, end: int, cut: int, folder: Path) -> None:
        """`name` is what sentences call it by; what does not fit the memory goes to `folder`."""
        self.name, self.symbol, self.start, self.end, self.cut, self.folder = name, symbol, start, end, cut, folder
        self.account, self.left = Account(folder=folder), 0

    def of_file(self, path: Path) -> Iterator[Item]:
        """Yield what a file holds of them, in its order. Raises: BadRecord for a damaged file."""
        for found in read_found(path, Given()):
            if isinstance(found, Block):
                yield from self._within(found.columns)
            elif isinstance(found, Row):
                yield from self.one(found.trade)
            elif isinstance(found, Refused):
                self.account.rows += 1
                self.account.refuse(f"{self.name}, line {found.line}", found.reason)
            elif isinstance(found, LeftOut):
                self.account.rows += 1
                self.account.left_out[found.kind] += 1

    def _within(self, columns: TradeColumns) -> Iterator[Item]:
        self.account.rows += len(columns)
        at = columns.at
        is_strange, is_left = (at < self.start) | (at >= self.end), (at >= self.cut) & (at < self.end)
        if strange := int(np.count_nonzero(is_strange)):
            self.account.refuse(self.name, f"{strange} rows of another time than the file's", strange)
        self.left += int(np.count_nonzero(is_left))
        given = np.flatnonzero(~is_strange & ~is_left)
        if len(given) == len(columns):
            yield columns
        else:
            yield from (columns.trade(row, self.symbol) for row in given.tolist())

    def one(self, trade: Trade) -> Iterator[Item]:
        """Yield one trade if it is of them."""
        self.account.rows += 1
        if not self.start <= trade.traded_at < self.end:
            self.account.refuse(self.name, "1 row of another time than the file's")
        elif trade.traded_at >= self.cut:
            self.left += 1
        else:
            yield trade

    def in_order(self, items: Iterator[Item], after: int) -> Iterator[Item]:
        """Yield trades that come in any order by their ids, those beyond `after`; the others were told before.

        Of rows that tell the same one counts, of rows that contradict each other none.
        """
        with (
            tempfile.TemporaryFile(dir=self.folder, prefix="sorting-") as heap,
            tempfile.TemporaryFile(dir=self.folder, prefix="sorted-") as kept,
        ):
            sorter, line = Sorter(heap), 0
            for item in items:
                if isinstance(item, TradeColumns):
                    sorter.add(rows_of(item, 0, 0, line))
                else:
                    sorter.add_one(row_of(item, 0, 0, line))
                line += len(item) if isinstance(item, TradeColumns) else 1
            reconciler = Reconciler(kept, self.account, [self.symbol], [self.name])
            for batch in sorter.merged():
                is_new = batch["first"] > after
                self.account.duplicates += int(np.count_nonzero(~is_new))
                reconciler.take(batch[is_new])
            for _, rows in reconciler.ordered():
                yield from self._items(rows)

    def _items(self, rows: Rows) -> Iterator[Item]:
        plain = is_plain(rows)
        edges = [0, *(np.flatnonzero(np.diff(plain)) + 1).tolist(), len(rows)]
        for begin, end in pairwise(edges):
            if begin < end and plain[begin]:
                yield columns_of(rows[begin:end])
            else:
                yield from (trade_of(row, self.symbol) for row in rows[begin:end])


@contextmanager
def kept_pages(pages: Iterable[Sequence[Trade]], folder: Path) -> Iterator[Callable[[], Iterator[list[Trade]]]]:
    """Give what reads pages of trades as often as one likes: they are kept on disk meanwhile, for REST is asked once."""
    with tempfile.TemporaryFile(dir=folder, prefix="answers-") as file:
        for page in pages:
            file.write(json.dumps([msgspec.structs.astuple(trade) for trade in page]).encode() + b"\n")

        def read() -> Iterator[list[Trade]]:
            file.seek(0)
            at = 0
            while line := file.readline():
                at = file.tell()
                yield [Trade(*fields) for fields in json.loads(line)]
                file.seek(at)  # another reader may have gone on meanwhile

        yield read


def over_rest(rest: BlockingRest, history: BlockingRest, series: Series, start: int, end: int) -> Iterator[list[Trade]]:
    """Yield what REST has of a series' trades within `[start, end)`, µs, in order of id, a page at a time.

    `history` is asked for single trades of the past. Raises: Unavailable, Misconfigured.
    """

    def read(raw: bytes) -> list[Trade]:
        return [parse_trade(row, series.symbol) for row in split_rows(raw)]

    def page(client: BlockingRest, path: str, **query: int) -> list[Trade]:
        asked: dict[str, Any] = {"symbol": series.symbol, "limit": PAGE, **query}
        return client.ask(path, read, asked)

    rows = page(rest, "/aggTrades", startTime=to_millis(start))
    client, path = (rest, "/aggTrades") if series.kind == "aggTrades" else (history, "/historicalTrades")
    if rows and series.kind == "trades":
        rows = page(client, path, fromId=rows[0].first_trade_id)
    while rows:
        if inside := [trade for trade in rows if start <= trade.traded_at < end]:
            yield inside
        if len(rows) < PAGE or rows[-1].traded_at >= end:
            return
        rows = page(client, path, fromId=rows[-1].id + 1)


def items_of(trades: list[Trade]) -> Iterator[Item]:
    """Yield trades as columns, or one by one where a number does not fit."""
    if any(trade.price >= MOST_UNITS or trade.quantity >= MOST_UNITS for trade in trades):
        yield from trades
        return
    number, first, last, price, quantity, at = (
        np.array([getattr(trade, name) for trade in trades], np.int64) for name in PLAIN[:-1]
    )
    none, maker = np.zeros(len(trades), np.int64), np.array([trade.buyer_is_maker for trade in trades], np.bool_)
    yield TradeColumns(none, none, number, first, last, price, quantity, at, maker, np.zeros(len(trades), np.bool_))


def table_of(symbol: str, columns: Item) -> pa.Table:
    """Return trades as rows of the table; when they were received nobody knows."""
    if isinstance(columns, Trade):
        return _one(columns)
    count = len(columns)
    return pa.table(
        {
            "symbol": pa.repeat(symbol, count),
            "id": columns.id,
            "first_trade_id": columns.first,
            "last_trade_id": columns.last,
            "price": units(columns.price),
            "quantity": units(columns.quantity),
            "traded_at": pa.array(columns.at).cast(TIME),
            "buyer_is_maker": columns.maker,
            "received_at": pa.nulls(count, TIME),
            "origin": pa.repeat(ORIGIN, count),
        },
        schema=SCHEMA,
    )


def _one(trade: Trade) -> pa.Table:
    """Return the row of one trade, however large."""
    plain = ("symbol", "id", "first_trade_id", "last_trade_id", "traded_at", "buyer_is_maker")
    row = {name: getattr(trade, name) for name in plain}
    row |= {"price": units_decimal(trade.price), "quantity": units_decimal(trade.quantity), "origin": ORIGIN}
    return pa.Table.from_pylist([row], schema=SCHEMA)
