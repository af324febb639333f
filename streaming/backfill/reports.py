"""What is asked of a run of imports, and what it says: of each series, and now and then of how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date

from quantstream.binance.archive import ArchiveFile, Series
from quantstream.lake.imports import Entry
from streaming.backfill.holes import Hole

SAID_EVERY = 5.0  # seconds between two words of progress
NAMED = 50  # reasons that a report keeps of a series


@dataclass(frozen=True)
class Order:
    """What is to be imported: some series over the days `[first, after)`, with so many connections."""

    series: Sequence[Series]
    first: date
    after: date
    connections: int = 8


@dataclass
class SeriesReport:
    """What became of one series: files and rows by outcome, days that are not there, and why files or rows were refused."""

    series: Series
    files: int = 0
    done_before: int = 0
    present_before: int = 0  # files of which the lake had all, whoever brought it
    rows: int = 0
    stored: int = 0
    present: int = 0
    left: int = 0  # the live path's, which goes on
    duplicates: int = 0
    refused: int = 0
    by_rest: int = 0  # files that the archive does not have yet
    absent: list[ArchiveFile] = field(default_factory=list)
    holes: list[Hole] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)  # files
    reasons: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether all that was asked for is in the lake, or the live path's."""
        return not (self.absent or self.failed or self.refused or self.reasons or self.holes)

    def add(self, entry: Entry, reasons: Sequence[str]) -> None:
        """Note an imported file."""
        self.files += 1
        for name in ("rows", "stored", "present", "left", "duplicates", "refused"):
            setattr(self, name, getattr(self, name) + getattr(entry, name))
        self.reasons += reasons[: NAMED - len(self.reasons)]


class Progress:
    """Says now and then how far a run is, how fast, and how long it will take."""

    def __init__(self, days: int, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        """`days` of files are to come: a month's file is about as much as its days' files."""
        self.days, self.say, self.clock = days, say, clock
        self.begun = self.said = clock()
        self.done = self.rows = 0

    def add(self, file: ArchiveFile, rows: int) -> None:
        """Note a file."""
        self.done, self.rows, now = self.done + file.length, self.rows + rows, self.clock()
        if now - self.said >= SAID_EVERY:
            self.said, elapsed = now, max(now - self.begun, 1e-9)
            left = elapsed / self.done * (self.days - self.done)
            self.say(
                f"{file.series}, {file.first}: {self.done:,} of {self.days:,} days, {self.rows:,} rows, "
                f"{self.rows / elapsed:,.0f} rows/s, about {_span(left)} to go"
            )


def _span(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )
