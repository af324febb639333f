"""A run of imports: some files are fetched ahead while one is imported; what fails alone is named, and the others go on."""

from __future__ import annotations

import asyncio
import tempfile
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar

from quantstream.binance.archive import ArchiveFile, Series, files_between
from quantstream.binance.rest import BlockingRest, open_session
from quantstream.core.candle_builder import DEFAULT_LATENESS
from quantstream.core.errors import BadRecord, DataRejected, Fenced, Misconfigured, QuantStreamError, Unavailable
from quantstream.core.time import SCORED, micros
from quantstream.lake.schemas import expect_columns
from quantstream.lake.store import Lake
from streaming.backfill.download import Downloader, Fetched, NoRoom
from streaming.backfill.folder import folder_beside, waiting_files
from streaming.backfill.holes import holes_of
from streaming.backfill.imports import Done, KlineImport, midnight
from streaming.backfill.ledger import Ledger
from streaming.backfill.reports import Order, Progress, SeriesReport

LATE = timedelta(
    days=62
)  # after so long a month that the archive does not have will not come any more, and REST need not be asked
NEW = timedelta(
    days=3
)  # REST tells trades of days that the archive may not have yet; a month of them would be without end
Outcome = Fetched | DataRejected | None


class Importer(Protocol):
    """What brings the files of one series into the lake, and may hold some for a commit that they share."""

    def add(self, file: ArchiveFile, fetched: Fetched, at: int) -> tuple[int, list[Done]]:
        """Take a file in; return its rows, and what is in the lake now."""
        ...

    def add_answers(self, file: ArchiveFile, at: int) -> tuple[int, list[Done]] | None:
        """Take in what REST has of a file; None when that is nothing."""
        ...

    def flush(self, at: int) -> list[Done]:
        """Write what waits; return what is in the lake now."""
        ...


Answer = TypeVar("Answer")
TABLES = {"klines": "candles", "aggTrades": "trades", "trades": "trades"}


class Run:
    """Imports series into a lake."""

    def __init__(
        self,
        lake: Lake,
        base: str,
        rest: BlockingRest,
        intervals: Sequence[str] = (SCORED,),
        lateness: int = DEFAULT_LATENESS,
        say: Callable[[str], None] = lambda text: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        folder: Path | None = None,
        history: BlockingRest | None = None,
    ) -> None:
        """`base` is the archive's address, empty where there is none; `rest` is asked for what it does not have yet, `history`
        for single trades of the past.

        Of trades candles of these `intervals` are made, by the live builder with its `lateness` (µs). Files wait in `folder`.
        """
        self.lake, self.base, self.rest, self.say, self.now = lake, base, rest, say, now
        self.history = history or rest
        self.intervals, self.lateness = intervals, lateness
        self.folder = folder or folder_beside(lake.url, Path(tempfile.gettempdir()))
        self.refused = set[Series]()  # by REST, for good
        self.away = "" if base else "there is no archive"  # why the archive is not asked any more

    async def run(self, order: Order) -> list[SeriesReport]:
        """Import what is not there yet.

        Raises: Unavailable when archive, exchange or lake are away, or there is no room: what was imported stays, and is not
        repeated. Misconfigured.
        """
        reports = {series: SeriesReport(series) for series in order.series}
        with waiting_files(self.folder) as folder:
            importers, files = dict[Series, Importer](), list[ArchiveFile]()
            for series, report in reports.items():
                importers[series], wanted = await asyncio.to_thread(self._begun, series, order, report, folder)
                files += wanted
            progress = Progress(sum(file.length for file in files), self.say)
            async with open_session(self.base) as session:
                downloader = Downloader(session, self.base, folder)
                async with aclosing(self._fetched(downloader, files, order.connections)) as fetched:
                    await self._import(fetched, importers, reports, progress)
        for series, report in reports.items():
            report.holes = await asyncio.to_thread(holes_of, self.lake, series, order.first, order.after)
        return list(reports.values())

    def _begun(
        self, series: Series, order: Order, report: SeriesReport, folder: Path
    ) -> tuple[Importer, list[ArchiveFile]]:
        """Return what imports a series, and the files of it that are to come."""
        self._check_lake(series)
        ledger = Ledger(self.lake, TABLES[series.kind], series)
        if series.kind == "klines":
            importer = KlineImport(self.lake, ledger, self.rest)
            has = importer.look(order.first, order.after, micros(self.now()))
            return importer, list(self._wanted(order, ledger, report, has))
        from streaming.backfill.trade_files import TradeImport  # takes what is compiled along, which klines need not

        candles = Ledger(self.lake, "candles", series)
        by_trades = TradeImport(
            *(self.lake, ledger, candles, self.intervals, self.lateness), self.rest, self.history, folder
        )
        return by_trades, list(self._wanted(order, ledger, report, by_trades.look(micros(self.now()))))

    def _check_lake(self, series: Series) -> None:
        """Raise Misconfigured before anything is fetched for a lake that cannot take it."""
        for name in {TABLES[series.kind], "candles"}:
            table = self.lake.table(name)
            expect_columns(name, table)
            for other in series.other_markets():
                if self.lake.progress(name, other.application, table) is not None:
                    raise Misconfigured(
                        f"the lake {self.lake.url} holds {series.symbol} of {other.market}, another instrument than that of "
                        f"{series.market}; name a lake of its own with QUANTSTREAM_LAKE"
                    )

    def _wanted(
        self, order: Order, ledger: Ledger, report: SeriesReport, has: Callable[[ArchiveFile], bool]
    ) -> Iterator[ArchiveFile]:
        """Yield the files that are not done; single days of a month that was begun by days, or is not over."""
        for file in files_between(ledger.series, order.first, order.after):
            for one in file.days() if ledger.begun(file) or not self._is_over(file) else [file]:
                if ledger.has(one):
                    report.done_before += 1
                elif has(one):
                    report.present_before += 1
                else:
                    yield one

    async def _import(
        self,
        fetched: AsyncIterator[tuple[ArchiveFile, Outcome]],
        importers: Mapping[Series, Importer],
        reports: Mapping[Series, SeriesReport],
        progress: Progress,
    ) -> None:
        """Import files, one series after the other; whatever ends it, what was read of one is written."""
        series: Series | None = None
        try:
            async for file, outcome in fetched:
                if series is not None and series != file.series:
                    await self._flush(importers[series], reports[series])
                series = file.series
                progress.add(file, await self._one(importers[series], reports[series], file, outcome))
        finally:
            if series is not None:
                await self._flush(importers[series], reports[series])

    async def _flush(self, importer: Importer, report: SeriesReport) -> None:
        for done in await asyncio.to_thread(_fenced, report.series, importer.flush, micros(self.now())):
            report.add(done.entry, done.reasons)

    async def _fetched(
        self, downloader: Downloader, files: Sequence[ArchiveFile], ahead: int
    ) -> AsyncGenerator[tuple[ArchiveFile, Outcome], None]:
        """Yield files in their order, some of them fetched ahead; the days of a month that is not there as a month yet."""
        waiting, coming = deque[tuple[ArchiveFile, asyncio.Task[Outcome]]](), iter(files)
        try:
            while True:
                while len(waiting) < ahead and (file := next(coming, None)) is not None:
                    waiting.append((file, asyncio.ensure_future(self._fetch(downloader, file))))
                if not waiting:
                    return
                file, task = waiting.popleft()
                outcome = await task
                if outcome is None and file.is_monthly and self._may_come(file) and not self.away:
                    async with aclosing(self._fetched(downloader, list(file.days()), ahead)) as days:
                        async for day in days:
                            yield day
                else:
                    yield file, outcome
        finally:
            for _, task in waiting:
                task.cancel()
            await asyncio.gather(*(task for _, task in waiting), return_exceptions=True)

    async def _fetch(self, downloader: Downloader, file: ArchiveFile) -> Outcome:
        """Return a file, None for one that the archive does not have, or cannot give while REST can."""
        if not self._is_over(file) or (self.away and self._by_rest(file)):
            return None
        try:
            return await downloader.fetch(file)
        except DataRejected as error:
            return error
        except Unavailable as error:
            if not self._by_rest(file) or isinstance(error, NoRoom):
                raise
            if not self.away:
                self.away = str(error)
                self.say(f"{error}; REST is asked instead")
            return None

    def _is_over(self, file: ArchiveFile) -> bool:
        return midnight(file.after) <= micros(self.now())

    def _may_come(self, file: ArchiveFile) -> bool:
        return file.after >= (self.now() - LATE).date()

    def _by_rest(self, file: ArchiveFile) -> bool:
        """Tell whether REST may be asked for what the archive does not give."""
        if file.series.kind != "klines":
            return file.after >= (self.now() - NEW).date()
        return self._may_come(file) or not self.base

    async def _one(self, importer: Importer, report: SeriesReport, file: ArchiveFile, outcome: Outcome) -> int:
        """Import one file; return its rows."""
        at = micros(self.now())
        try:
            if isinstance(outcome, DataRejected):
                raise outcome
            if outcome is not None:
                found = await asyncio.to_thread(_fenced, report.series, importer.add, file, outcome, at)
            elif (
                self._by_rest(file)
                and file.series not in self.refused
                and (answered := await asyncio.to_thread(_fenced, report.series, importer.add_answers, file, at))
            ):
                found = answered
                report.by_rest += 1
            else:
                report.absent.append(file)
                return 0
        except (BadRecord, DataRejected) as error:
            report.failed.append(str(error))
            return 0
        except Misconfigured as error:  # a symbol that the exchange does not know (any more)
            report.absent.append(file)
            report.reasons.append(str(error))
            self.refused.add(file.series)
            return 0
        finally:
            if isinstance(outcome, Fetched):
                outcome.path.unlink(missing_ok=True)
        for done in found[1]:
            report.add(done.entry, done.reasons)
        return found[0]


def _fenced(series: Series, act: Callable[..., Answer], *given: Any) -> Answer:
    """Act, and say who else does. Raises: QuantStreamError."""
    try:
        return act(*given)
    except Fenced:
        raise QuantStreamError(
            f"another import of {series} is under way; let it finish, then start again: nothing is repeated"
        ) from None
