"""A file of trades into the lake: its rows into the table of trades, and the candles that the live builder makes of them.

Rows go in portions, so a month of a busy symbol needs no more memory than a quiet day. Candles are written first and the file's
entry with its last rows: a run that was killed in between finds its candles and rows, and adds only what is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantstream.binance.archive import ArchiveFile
from quantstream.core.candle import NO_TRADE_ID, Candle
from quantstream.core.decimals import DECIMALS, units_decimal
from quantstream.core.errors import DataRejected
from quantstream.core.time import DAY
from quantstream.core.trade import Trade
from quantstream.decode.arrays import Flags, Ints
from quantstream.decode.columns import TradeColumns
from quantstream.lake.imports import ORIGIN, Entry
from quantstream.lake.schemas import SCHEMAS, TIME, candle_rows
from quantstream.lake.store import Lake, utc
from streaming.backfill.download import Fetched
from streaming.backfill.imports import Done, absent_candles, dated, midnight
from streaming.backfill.ledger import Ledger
from streaming.offline.ordered_trades import Disorder, OrderedSymbol
from streaming.offline.row_account import Account
from streaming.recordings.found import Block, LeftOut, Refused, Row
from streaming.recordings.readers import Given, read_found
from streaming.sink.trade_rows import units

PORTION = 500_000  # rows of a commit
SCHEMA = pa.schema([field for field in SCHEMAS["trades"] if field.name != "date"])


class TradeImport:
    """Imports the files of one series of trades, one after the other; days that follow each other share one builder."""

    def __init__(self, lake: Lake, ledger: Ledger, candles: Ledger, intervals: Sequence[str], lateness: int) -> None:
        """`ledger` is that of the trades, `candles` that of the candles made of them; `lateness` in µs as the live builder's."""
        self.lake, self.ledger, self.candles = lake, ledger, candles
        self.intervals, self.lateness = tuple(intervals), lateness
        self.account = Account()
        self._builder: OrderedSymbol | None = None
        self._stands_at = 0  # µs: up to here the builder has all

    def flush(self, at: int) -> list[Done]:
        """Write what waits: nothing does."""
        return []

    def add(self, file: ArchiveFile, fetched: Fetched, at: int) -> tuple[int, list[Done]]:
        """Import a file; return its rows, and what is in the lake now. `at` is now, µs.

        Raises: BadRecord for a damaged file, DataRejected for rows in another order than that of their ids; Fenced; Unavailable.
        """
        self.account = account = Account()
        builder, made = self._begun(file, midnight(file.first)), list[Candle]()
        known, portion = StoredIds(self.lake, file), _Portion(self.ledger, file)
        present = 0
        try:
            for columns in self._columns(file, fetched):
                made += builder.block(columns) if isinstance(columns, TradeColumns) else builder.trade(columns)
                rows = _table(file.series.symbol, columns)
                refused = account.refused
                new = known.without(rows, account)
                present += rows.num_rows - new.num_rows - (account.refused - refused)  # those are there in part
                portion.add(new)
        except Disorder:
            self._builder = None
            raise DataRejected(f"{file.name}: its rows are not in the order of their ids and times") from None
        end = midnight(file.after)
        made += builder.builder.heartbeat(end + self.lateness)
        self._stands_at = end
        self._write_candles(file, made, at)
        last = builder.id, builder.last
        entry = Entry(fetched.sha256, account.rows, portion.rows, present, 0, account.refused, at, last)
        portion.commit(entry)
        return entry.rows, [Done(file, entry, list(account.names()))]

    def _write_candles(self, file: ArchiveFile, made: Sequence[Candle], at: int) -> None:
        """Write the candles that the lake does not have."""
        newest = {(candle.interval, candle.opened_at): candle for candle in made}
        for interval in self.intervals:
            rows = candle_rows([newest[key] for key in sorted(newest) if key[0] == interval])
            new = absent_candles(self.lake, file, rows, interval)
            if new.num_rows:
                self.candles.commit(dated(new, at), file.name, {})

    def _begun(self, file: ArchiveFile, start: int) -> OrderedSymbol:
        """Return the builder that stands at the beginning of a file's days: the one before, or one that goes on from the lake."""
        if self._builder is not None and self._stands_at == start:
            self._builder.account = self.account
            return self._builder
        symbol = file.series.symbol
        self._builder = found = OrderedSymbol(symbol, self.intervals, self.lateness, self.account, is_sorted=False)
        number, last = self.ledger.last(file)
        closes = _closes(self.lake, symbol, self.intervals, start) if last != NO_TRADE_ID else {}
        if len(closes) == len(self.intervals):
            found.go_on(closes, start, number, last)
        else:
            found.builder.heartbeat(start - 1)  # the file has all from here on
        return found

    def _columns(self, file: ArchiveFile, fetched: Fetched) -> Iterator[TradeColumns | Trade]:
        """Yield what a file holds of its days, and put the rest down in the account."""
        account, name, start, end = self.account, file.name, midnight(file.first), midnight(file.after)
        for found in read_found(fetched.path, Given()):
            if isinstance(found, Block):
                account.rows += len(found.columns)
                inside = (found.columns.at >= start) & (found.columns.at < end)
                if strange := int(np.count_nonzero(~inside)):
                    account.refuse(name, f"{strange} rows of another time than the file's", strange)
                    yield from (found.columns.trade(row, found.symbol) for row in np.flatnonzero(inside).tolist())
                else:
                    yield found.columns
            elif isinstance(found, Row):
                account.rows += 1
                yield found.trade
            elif isinstance(found, Refused):
                account.rows += 1
                account.refuse(f"{name}, line {found.line}", found.reason)
            elif isinstance(found, LeftOut):
                account.rows += 1
                account.left_out[found.kind] += 1


class _Portion:
    """Rows that wait to be committed together."""

    def __init__(self, ledger: Ledger, file: ArchiveFile) -> None:
        self.ledger, self.file = ledger, file
        self.waiting, self.rows, self._count = [SCHEMA.empty_table()], 0, 0

    def add(self, rows: pa.Table) -> None:
        """Take rows; commit what waits when it is much."""
        self.waiting.append(rows)
        self.rows, self._count = self.rows + rows.num_rows, self._count + rows.num_rows
        if self._count >= PORTION:
            self.commit()

    def commit(self, entry: Entry | None = None) -> None:
        """Write what waits."""
        entries = {self.file.name: entry} if entry else {}
        self.ledger.commit(pa.concat_tables(self.waiting), self.file.name, entries)
        self.waiting, self._count = [SCHEMA.empty_table()], 0


class StoredIds:
    """The trades that the lake has already of a file's days, day by day."""

    def __init__(self, lake: Lake, file: ArchiveFile) -> None:
        self.lake, self.symbol = lake, file.series.symbol
        days = {str(part["date"]) for part in lake.table("trades").partitions() if part["symbol"] == self.symbol}
        self.days = {midnight(day.first) for day in file.days() if str(day.first) in days}
        self._day, self._spans = -1, (np.empty(0, np.int64), np.empty(0, np.int64))

    def without(self, rows: pa.Table, account: Account) -> pa.Table:
        """Return the rows that the lake does not have; one that it has in part is refused."""
        if not self.days or not rows.num_rows:
            return rows
        day = rows["traded_at"].cast(pa.int64()).to_numpy() // DAY * DAY
        parts = list[pa.Table]()
        for at in np.unique(day).tolist():
            part = rows.filter(pa.array(day == at))
            parts.append(part.filter(pa.array(self._is_new(part, at, account))) if at in self.days else part)
        return pa.concat_tables(parts)

    def _is_new(self, rows: pa.Table, at: int, account: Account) -> Flags:
        first, last = (rows[name].to_numpy() for name in ("first_trade_id", "last_trade_id"))
        begins, ends = self._stored(at)
        following = np.searchsorted(
            begins, last, side="right"
        )  # how many stored spans begin at or before the row's end
        reached = np.where(following > 0, ends[np.maximum(following - 1, 0)] if len(ends) else -1, -1)
        is_new: Flags = reached < first
        covering = np.where(following > 0, begins[np.maximum(following - 1, 0)] if len(begins) else 0, 0)
        torn = ~is_new & ~((covering <= first) & (last <= reached))
        for row in np.flatnonzero(torn).tolist():
            account.refuse(self.symbol, f"of the trades {first[row]} to {last[row]} the lake has some already")
        return is_new

    def _stored(self, at: int) -> tuple[Ints, Ints]:
        """Return the spans of ids that the lake has of the day that begins at `at`, joined, in order."""
        if self._day != at:
            names = ["first_trade_id", "last_trade_id"]
            rows = self.lake.read("trades", [self.symbol], utc(at), utc(at + DAY), columns=names)
            rows = rows.sort_by("first_trade_id")
            first, last = (rows[name].to_numpy() for name in names)
            begins = np.flatnonzero(np.concatenate([[True], first[1:] > np.maximum.accumulate(last)[:-1] + 1]))
            ends = np.maximum.accumulate(last)[np.append(begins[1:], len(last)) - 1]
            self._day, self._spans = at, (first[begins], ends)
        return self._spans


def _table(symbol: str, columns: TradeColumns | Trade) -> pa.Table:
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


def _closes(lake: Lake, symbol: str, intervals: Iterable[str], at: int) -> dict[str, int]:
    """Return the close of the last candle before `at` (µs) of each interval that has one."""
    rows = lake.read("candles", [symbol], utc(at) - timedelta(days=1), utc(at), columns=None)
    found: dict[str, int] = {}
    for interval in intervals:
        mine = rows.filter(pc.equal(rows["interval"], interval)).sort_by(
            [("opened_at", "ascending"), ("revision", "ascending")]
        )
        if mine.num_rows:
            found[interval] = int(mine["close"][-1].as_py().scaleb(DECIMALS))
    return found
