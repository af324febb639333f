"""A run of imports: some files are fetched ahead while one is imported; what fails alone is named, and the others go on."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from quantstream.binance.archive import ArchiveFile, Series, files_between
from quantstream.binance.rest import BlockingRest, open_session
from quantstream.core.candle_builder import DEFAULT_LATENESS
from quantstream.core.errors import BadRecord, DataRejected, Fenced, Misconfigured, QuantStreamError
from quantstream.core.time import SCORED
from quantstream.lake.imports import Entry
from quantstream.lake.store import Lake, micros
from streaming.backfill.download import Downloader, Fetched
from streaming.backfill.holes import Hole, holes_of
from streaming.backfill.imports import KlineImport
from streaming.backfill.ledger import Ledger
from streaming.backfill.trade_files import TradeImport

SAID_EVERY = 5.0  # seconds between two words of progress
NAMED = 50  # reasons that a report keeps of a series
LATE = timedelta(
    days=62
)  # after so long a month that the archive does not have will not come any more, and REST need not be asked


Outcome = Fetched | DataRejected | None


@dataclass
class SeriesReport:
    """What became of one series: files and rows by outcome, days that are not there, and why files or rows were refused."""

    series: Series
    files: int = 0
    done_before: int = 0
    rows: int = 0
    stored: int = 0
    present: int = 0
    duplicates: int = 0
    refused: int = 0
    by_rest: int = 0  # days that the archive does not have yet
    absent: list[ArchiveFile] = field(default_factory=list)
    holes: list[Hole] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)  # files
    reasons: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether all that was asked for is in the lake."""
        return not (self.absent or self.failed or self.refused or self.reasons or self.holes)

    def add(self, entry: Entry, reasons: Sequence[str]) -> None:
        """Note an imported file."""
        self.files += 1
        for name in ("rows", "stored", "present", "duplicates", "refused"):
            setattr(self, name, getattr(self, name) + getattr(entry, name))
        self.reasons += reasons[: NAMED - len(self.reasons)]


@dataclass(frozen=True)
class Order:
    """What is to be imported: some series over the days `[first, after)`, with so many connections."""

    series: Sequence[Series]
    first: date
    after: date
    connections: int = 4


class Progress:
    """Says now and then how far a run is, how fast, and how long it will take."""

    def __init__(self, files: int, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        """`files` are those to come."""
        self.files, self.say, self.clock = files, say, clock
        self.begun = self.said = clock()
        self.done = self.rows = 0

    def add(self, file: ArchiveFile, rows: int) -> None:
        """Note a file."""
        self.done, self.rows, now = self.done + 1, self.rows + rows, self.clock()
        if now - self.said >= SAID_EVERY:
            self.said, elapsed = now, max(now - self.begun, 1e-9)
            self.files = max(self.files, self.done)  # a month that comes as days is many
            left = elapsed / self.done * (self.files - self.done)
            self.say(
                f"{file.series}, {file.first}: {self.done:,} of {self.files:,} files, {self.rows:,} rows, "
                f"{self.rows / elapsed:,.0f} rows/s, about {_span(left)} to go"
            )


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
    ) -> None:
        """`base` is the archive's address; `rest` is asked for klines that it does not have yet.

        Of trades candles of these `intervals` are made, by the live builder with its `lateness` (µs).
        """
        self.lake, self.base, self.rest, self.say, self.now = lake, base, rest, say, now
        self.intervals, self.lateness = intervals, lateness

    async def run(self, order: Order) -> list[SeriesReport]:
        """Import what is not there yet.

        Raises: Unavailable when archive, exchange or lake are away, or there is no room: what was imported stays, and is not
        repeated. Misconfigured.
        """
        reports = {series: SeriesReport(series) for series in order.series}
        importers = {series: await asyncio.to_thread(self._importer, series) for series in order.series}
        files = [file for series in order.series for file in _wanted(order, importers[series].ledger, reports[series])]
        progress = Progress(len(files), self.say)
        with tempfile.TemporaryDirectory(prefix="quantstream-backfill-") as folder:
            async with open_session(self.base) as session:
                downloader = Downloader(session, self.base, Path(folder))
                async for file, fetched in self._fetched(downloader, files, order.connections):
                    series = file.series
                    progress.add(file, await self._one(importers[series], reports[series], file, fetched))
        for series, report in reports.items():
            report.holes = await asyncio.to_thread(holes_of, self.lake, series, order.first, order.after)
        return list(reports.values())

    def _importer(self, series: Series) -> KlineImport | TradeImport:
        if series.kind == "klines":
            return KlineImport(self.lake, Ledger(self.lake, "candles", series), self.rest)
        ledgers = Ledger(self.lake, "trades", series), Ledger(self.lake, "candles", series)
        return TradeImport(self.lake, *ledgers, self.intervals, self.lateness)

    async def _fetched(
        self, downloader: Downloader, files: Sequence[ArchiveFile], ahead: int
    ) -> AsyncIterator[tuple[ArchiveFile, Outcome]]:
        """Yield files in their order, some of them fetched ahead; the days of a month that is not there as a month yet."""

        async def fetch(file: ArchiveFile) -> Outcome:
            try:
                return await downloader.fetch(file)
            except DataRejected as error:
                return error

        waiting, coming = deque[tuple[ArchiveFile, asyncio.Task[Outcome]]](), iter(files)
        try:
            while True:
                while len(waiting) < ahead and (file := next(coming, None)) is not None:
                    waiting.append((file, asyncio.ensure_future(fetch(file))))
                if not waiting:
                    return
                file, task = waiting.popleft()
                outcome = await task
                if outcome is None and file.is_monthly and self._may_come(file):
                    async for day in self._fetched(downloader, list(file.days()), ahead):
                        yield day
                else:
                    yield file, outcome
        finally:
            for _, task in waiting:
                task.cancel()
            await asyncio.gather(*(task for _, task in waiting), return_exceptions=True)

    def _may_come(self, file: ArchiveFile) -> bool:
        return file.after >= (self.now() - LATE).date()

    async def _one(
        self, importer: KlineImport | TradeImport, report: SeriesReport, file: ArchiveFile, outcome: Outcome
    ) -> int:
        """Import one file; return its rows."""
        at = micros(self.now())
        try:
            if isinstance(outcome, DataRejected):
                raise outcome
            if outcome is not None:
                found = await asyncio.to_thread(importer.add, file, outcome, at)
            elif (
                isinstance(importer, KlineImport)
                and self._may_come(file)
                and (answered := await asyncio.to_thread(importer.add_answers, file, at))
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
            report.reasons += [str(error)] if str(error) not in report.reasons else []
            return 0
        except Fenced:
            raise QuantStreamError(
                f"another import of {file.series} is under way; let it finish, then start again: nothing is repeated"
            ) from None
        finally:
            if isinstance(outcome, Fetched):
                outcome.path.unlink(missing_ok=True)
        report.add(*found)
        return found[0].rows


def _wanted(order: Order, ledger: Ledger, report: SeriesReport) -> Iterator[ArchiveFile]:
    """Yield the files that are not done; single days of a month that was begun by days."""
    for file in files_between(ledger.series, order.first, order.after):
        for one in file.days() if ledger.begun(file) else [file]:
            if ledger.has(one):
                report.done_before += 1
            else:
                yield one


def _span(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )
