"""Which files of a series are in the lake already: kept beside the table, under the progress that each commit of rows makes.

A commit that brings a file's rows says so in the same transaction. So a run that was killed repeats nothing, and of two runs of
one series the slower one is refused.
"""

from __future__ import annotations

import msgspec

from quantstream.binance.archive import ArchiveFile, Series
from quantstream.core.errors import Unavailable
from quantstream.lake.store import Lake, Step


class Entry(msgspec.Struct, frozen=True):
    """What became of one file: its checksum (empty: REST told), its rows by outcome, and when that was (µs)."""

    sha256: str
    rows: int
    stored: int
    present: int
    duplicates: int
    refused: int
    at: int


decoder = msgspec.json.Decoder(dict[str, Entry])


class Ledger:
    """The done files of one series, by name."""

    def __init__(self, lake: Lake, table: str, series: Series) -> None:
        """Read what is kept. Raises: Unavailable."""
        self.lake, self.table, self.series = lake, table, series
        self.reached = lake.progress(table, series.application)
        raw = lake.state(table, series.application, self.reached) if self.reached is not None else b"{}"
        if raw is None:
            raise Unavailable(f"another import of {series} goes on in this moment; let it finish and try again")
        self.done = decoder.decode(raw)

    def has(self, file: ArchiveFile) -> bool:
        """Tell whether a file was imported; a month also when all of its days were."""
        return file.name in self.done or (file.is_monthly and all(day.name in self.done for day in file.days()))

    def begun(self, file: ArchiveFile) -> bool:
        """Tell whether some day of a month was imported by itself."""
        return file.is_monthly and any(day.name in self.done for day in file.days())

    def note(self, file: ArchiveFile, entry: Entry) -> tuple[dict[str, Step], dict[str, bytes]]:
        """Return the progress and the state with which a file's rows are committed; `committed` makes them ours."""
        following = self.reached + 1 if self.reached is not None else 0
        state = msgspec.json.encode(self.done | {file.name: entry})
        return {self.series.application: Step(self.reached, following)}, {self.series.application: state}

    def committed(self, file: ArchiveFile, entry: Entry) -> None:
        """Take note that the commit was made."""
        self.reached = self.reached + 1 if self.reached is not None else 0
        self.done[file.name] = entry
