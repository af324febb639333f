"""Which files of a series are in the lake already: kept beside the table, under the progress that each commit of rows makes.

A commit that brings a file's last rows says so in the same transaction. So a run that was killed repeats nothing, and of two runs
of one symbol the slower one is refused.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pyarrow as pa

from quantstream.binance.archive import ArchiveFile, Series
from quantstream.core.errors import Unavailable
from quantstream.lake.imports import Entry, Imported, decoder
from quantstream.lake.store import Lake, Step

SHARED = "imports/"  # before a symbol: the name of the progress that every import of it moves


class Ledger:
    """The done files of one series, and the one way to write rows of it."""

    def __init__(self, lake: Lake, table: str, series: Series) -> None:
        """Read what is kept. Raises: Unavailable."""
        self.lake, self.table, self.series = lake, table, series
        self.reached = lake.progress(table, series.application)
        raw = lake.state(table, series.application, self.reached) if self.reached is not None else b"{}"
        if raw is None:
            raise Unavailable(f"another import of {series} goes on in this moment; let it finish and try again")
        self.kept = decoder.decode(raw)
        self.shared: int | None = None

    def begin(self) -> None:
        """Note where all imports of this symbol stand, before it is looked at what the table has. Raises: Unavailable."""
        self.shared = self.lake.progress(self.table, self._all)

    @property
    def _all(self) -> str:
        return f"{SHARED}{self.series.symbol}"

    def has(self, file: ArchiveFile) -> bool:
        """Tell whether a file was imported; a month also when all of its days were."""
        done = self.kept.files
        return file.name in done or (file.is_monthly and all(day.name in done for day in file.days()))

    def begun(self, file: ArchiveFile) -> bool:
        """Tell whether some day of a month was imported by itself."""
        return file.is_monthly and any(day.name in self.kept.files for day in file.days())

    def last(self, file: ArchiveFile) -> tuple[int, int]:
        """Return the ids with which the file before one ended, where it is done: of its last row, and of its last trade."""
        for before in file.before():
            if (entry := self.kept.files.get(before.name)) is not None:
                return entry.last
        return (-1, -1)

    def commit(self, rows: pa.Table, name: str, entries: Mapping[str, Entry]) -> None:
        """Append rows of one or several files, with the entries of those whose last they are; `name` is for who reads the log.

        Raises: Fenced when another run wrote of this symbol since `begin`, be it another series of it; Unavailable.
        """
        kept = Imported({**self.kept.files, **entries}, self.kept.rows + rows.num_rows)
        application, reached, shared = self.series.application, _next(self.reached), _next(self.shared)
        progress = {application: Step(self.reached, reached), self._all: Step(self.shared, shared)}
        self.lake.append(self.table, rows, progress, {application: msgspec.json.encode(kept)}, {"archive": name})
        self.reached, self.shared, self.kept = reached, shared, kept


def _next(reached: int | None) -> int:
    return 0 if reached is None else reached + 1
