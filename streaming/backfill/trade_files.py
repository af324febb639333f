"""A file of trades into the lake: its rows into the table of trades, and the candles that the live builder makes of them.

Rows go in portions, so a month of a busy symbol needs no more memory than a quiet day. Candles are written first and the file's
entry with its last rows: a run that was killed in between finds its candles and rows, and adds only what is missing. Nothing of a
file, or of what REST answers, is written before it is known that its rows are in order; of a file those that are not are sorted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from quantstream.binance.archive import ArchiveFile
from quantstream.binance.rest import BlockingRest
from quantstream.core.candle import NO_TRADE_ID, Candle
from quantstream.core.decimals import DECIMALS
from quantstream.core.errors import DataRejected
from quantstream.core.time import LATEST, SECOND, utc
from quantstream.decode.columns import TradeColumns
from quantstream.lake.imports import Entry, lived_since
from quantstream.lake.schemas import candle_rows
from quantstream.lake.store import Lake
from streaming.backfill.download import Fetched
from streaming.backfill.imports import Done, absent_candles, dated, midnight
from streaming.backfill.ledger import Ledger
from streaming.backfill.stored_ids import StoredIds
from streaming.backfill.trade_sources import SCHEMA, Item, Stretch, items_of, kept_pages, over_rest, table_of
from streaming.offline.ordered_trades import Disorder, OrderedSymbol

PORTION = 500_000  # rows of a commit
SETTLES = 10 * SECOND  # after so long REST tells all trades of a time


class TradeImport:
    """Imports the files of one series of trades, one after the other; days that follow each other share one builder."""

    def __init__(
        self,
        lake: Lake,
        ledger: Ledger,
        candles: Ledger,
        intervals: Sequence[str],
        lateness: int,
        rest: BlockingRest,
        history: BlockingRest,
        folder: Path,
    ) -> None:
        """`ledger` is that of the trades, `candles` that of the candles made of them; `lateness` in µs as the live builder's.

        `rest` is asked for days that the archive does not have yet, and `history` for single trades of them.
        """
        self.lake, self.ledger, self.candles = lake, ledger, candles
        self.intervals, self.lateness = tuple(intervals), lateness
        self.rest, self.history, self.folder = rest, history, folder
        self._builder: OrderedSymbol | None = None
        self._stands_at = 0  # µs: up to here the builder has all

    def look(self, now: int) -> Callable[[ArchiveFile], bool]:
        """Return what tells whether all of a file is the live path's at `now`, µs. Raises: Unavailable."""
        cut = self._cut(now)
        return lambda file: midnight(file.first) >= cut

    def flush(self, at: int) -> list[Done]:
        """Write what waits: nothing does."""
        return []

    def add(self, file: ArchiveFile, fetched: Fetched, at: int) -> tuple[int, list[Done]]:
        """Import a file; return its rows, and what is in the lake now. `at` is now, µs.

        Raises: BadRecord for a damaged file; Fenced; Unavailable.
        """

        def stretch() -> Stretch:
            return self._stretch(file, midnight(file.after), at)

        try:
            found = stretch()
            return self._import(
                file, found, found.of_file(fetched.path), fetched.sha256, at, lambda: stretch().of_file(fetched.path)
            )
        except Disorder:
            self._builder, found = None, stretch()
            after = self.ledger.last(file)[1]
            items = found.in_order(found.of_file(fetched.path), after)
            return self._import(file, found, items, fetched.sha256, at, is_sorted=True)

    def add_answers(self, file: ArchiveFile, at: int) -> tuple[int, list[Done]] | None:
        """Import what REST has of a file's days up to `at`, µs; None when that is nothing.

        Raises: Misconfigured for a symbol that the exchange does not know, or when it does not give out single trades;
        DataRejected; Fenced; Unavailable.
        """
        found = self._stretch(file, min(midnight(file.after), at - SETTLES), at)
        if found.end <= found.start:
            return 0, []
        pages = over_rest(self.rest, self.history, file.series, found.start, min(found.end, found.cut))
        with kept_pages(pages, self.folder) as told:
            if next(told(), None) is None:
                return None

            def items() -> Iterator[Item]:
                for page in told():
                    found.account.rows += len(page)
                    yield from items_of(page)

            def again() -> Iterator[Item]:
                return (item for page in told() for item in items_of(page))

            try:
                return self._import(file, found, items(), "", at, again)
            except Disorder:
                self._builder = None
                raise DataRejected(
                    f"{file.name}: REST tells its trades in another order than that of their ids; nothing was written"
                ) from None

    def _stretch(self, file: ArchiveFile, end: int, at: int) -> Stretch:
        return Stretch(file.name, file.series.symbol, midnight(file.first), end, self._cut(at), self.folder)

    def _cut(self, now: int) -> int:
        symbol = self.ledger.series.symbol
        return lived_since(self.lake, [symbol], now).get(symbol, LATEST)

    def _import(
        self,
        file: ArchiveFile,
        stretch: Stretch,
        items: Iterable[Item],
        sha256: str,
        at: int,
        again: Callable[[], Iterable[Item]] | None = None,
        is_sorted: bool = False,
    ) -> tuple[int, list[Done]]:
        """Write what a stretch brings, and its candles. `again` gives the items anew, to see whether all are in order.

        Raises: Disorder, and then nothing was written.
        """
        account, end = stretch.account, min(stretch.end, stretch.cut)
        self.ledger.begin()
        builder, made = self._begun(file, stretch, is_sorted), list[Candle]()
        probe = builder.probe()
        known, portion, present = StoredIds(self.lake, file), _Portion(self.ledger, file), 0
        for item in items:
            made += builder.block(item) if isinstance(item, TradeColumns) else builder.trade(item)
            rows, refused = table_of(stretch.symbol, item), account.refused
            new = known.without(rows, account)
            present += rows.num_rows - new.num_rows - (account.refused - refused)  # those are there in part
            portion.add(new)
            if portion.is_full:
                if again is not None:
                    _prove(probe, again())
                    again = None
                portion.commit({})
        made += builder.builder.heartbeat(end + self.lateness)
        self._stands_at = end
        self._write_candles(file, made, at)
        last = builder.id, builder.last
        counts = (account.rows, portion.rows, present, account.duplicates, account.refused)
        entry = Entry(sha256, *counts, at, last, stretch.left)
        is_done = not stretch.left and midnight(file.after) <= at
        portion.commit({file.name: entry} if is_done else {})
        return entry.rows, [Done(file, entry, list(account.names()))]

    def _write_candles(self, file: ArchiveFile, made: Sequence[Candle], at: int) -> None:
        """Write the candles that the lake does not have."""
        newest = {(candle.interval, candle.opened_at): candle for candle in made}
        self.candles.begin()
        for interval in self.intervals:
            rows = candle_rows([newest[key] for key in sorted(newest) if key[0] == interval])
            new = absent_candles(self.lake, file, rows, interval)
            if new.num_rows:
                self.candles.commit(dated(new, at), file.name, {})

    def _begun(self, file: ArchiveFile, stretch: Stretch, is_sorted: bool) -> OrderedSymbol:
        """Return the builder that stands at the beginning of a file's days: the one before, or one that goes on from the lake."""
        account, start = stretch.account, stretch.start
        if self._builder is not None and self._stands_at == start and self._builder.is_sorted == is_sorted:
            self._builder.account = account
            return self._builder
        self._builder = found = OrderedSymbol(stretch.symbol, self.intervals, self.lateness, account, is_sorted)
        number, last = self.ledger.last(file)
        closes = _closes(self.lake, stretch.symbol, self.intervals, start) if last != NO_TRADE_ID else {}
        if len(closes) == len(self.intervals):
            found.go_on(closes, start, number, last)
        else:
            found.builder.heartbeat(start - 1)  # the file has all from here on
        return found


def _prove(probe: OrderedSymbol, items: Iterable[Item]) -> None:
    """See that all items are in order, before the first of them is written. Raises: Disorder."""
    for item in items:
        probe.pass_over(item)


class _Portion:
    """Rows that wait to be committed together."""

    def __init__(self, ledger: Ledger, file: ArchiveFile) -> None:
        self.ledger, self.file = ledger, file
        self.waiting, self.rows, self._count = [SCHEMA.empty_table()], 0, 0

    def add(self, rows: pa.Table) -> None:
        """Take rows."""
        self.waiting.append(rows)
        self.rows, self._count = self.rows + rows.num_rows, self._count + rows.num_rows

    @property
    def is_full(self) -> bool:
        """Whether so many rows wait that they should be committed."""
        return self._count >= PORTION

    def commit(self, entries: Mapping[str, Entry]) -> None:
        """Write what waits."""
        rows = pa.concat_tables(self.waiting)
        if rows.num_rows or entries:
            self.ledger.commit(rows, self.file.name, entries)
        self.waiting, self._count = [SCHEMA.empty_table()], 0


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
