"""Files of klines into the lake: candles and the note that they are there are one commit.

A window is written once: not when the lake has it, and not when the live path is about to write it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantstream.binance.archive import ArchiveFile, Series
from quantstream.binance.klines import fetch_klines
from quantstream.binance.rest import BlockingRest
from quantstream.core.errors import BadRecord
from quantstream.core.time import INTERVALS, LATEST, micros, utc, window_start
from quantstream.decode.arrays import Ints
from quantstream.lake.imports import Entry, lived_since
from quantstream.lake.schemas import KNOWN_AT, TIME, candle_rows
from quantstream.lake.store import Lake
from streaming.backfill.download import Fetched
from streaming.backfill.kline_files import KlineFile, read_klines
from streaming.backfill.ledger import Ledger

MOST_HELD, LONGEST_HELD = 100_000, 5.0  # candles, and seconds, that wait for a commit that they share


def midnight(day: date) -> int:
    """Return when a day begins, µs."""
    return micros(datetime(day.year, day.month, day.day, tzinfo=UTC))


@dataclass(frozen=True)
class Done:
    """A file that is in the lake: its entry, and why rows of it were refused or are missing."""

    file: ArchiveFile
    entry: Entry
    reasons: list[str]


class KlineImport:
    """Imports the files of one series of klines; small ones share a commit."""

    def __init__(
        self, lake: Lake, ledger: Ledger, rest: BlockingRest, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`rest` is asked for days that the archive does not have yet."""
        self.lake, self.ledger, self.rest, self.clock = lake, ledger, rest, clock
        self.waiting = list[tuple[ArchiveFile, KlineFile, str]]()
        self._since = 0.0  # when the first of them came

    def look(self, first: date, after: date, now: int) -> Callable[[ArchiveFile], bool]:
        """Return what tells whether the lake has each window of a file within the days `[first, after)` that is over at `now`.

        Whoever brought them; `now` in µs. Raises: Unavailable.
        """
        known = self._stored(self.ledger.series, first, after)

        def has(file: ArchiveFile) -> bool:
            start, end = self._span(file, now)
            low, high = np.searchsorted(known, [start, end])
            return int(high - low) >= (end - start) // self._length

        return has

    def add(self, file: ArchiveFile, fetched: Fetched, at: int) -> tuple[int, list[Done]]:
        """Take in the candles of a file that the lake does not have; return its rows, and what is in the lake now.

        `at` is now, µs. Raises: BadRecord for a damaged file; Fenced when another run imports the same series; Unavailable.
        """
        series = file.series
        read = read_klines(fetched.path, series.symbol, series.interval, midnight(file.first), midnight(file.after))
        return read.rows, self._take(file, read, fetched.sha256, at)

    def add_answers(self, file: ArchiveFile, at: int) -> tuple[int, list[Done]] | None:
        """Take in what REST has of the windows of a file that are over and not in the lake; None when that is nothing.

        Raises: Misconfigured for a symbol that the exchange does not know; DataRejected; Fenced; Unavailable.
        """
        series, odd = file.series, list[BadRecord]()
        start, end = self._span(file, at)
        stored = self._stored(series, file.first, file.after)
        lacking = np.setdiff1d(np.arange(start, end, self._length), stored)
        if not len(lacking):
            return 0, []
        first, last = int(lacking[0]), int(lacking[-1]) + self._length
        candles = list(fetch_klines(self.rest, series.symbol, series.interval, first, last, odd.append))
        if not candles and not odd and not len(stored):
            return None
        read = KlineFile(candle_rows(candles), rows=len(candles) + len(odd))
        for error in odd:
            read.refuse(f"{series.symbol}: {error}")
        return read.rows, self._take(file, read, "", at)

    def flush(self, at: int) -> list[Done]:
        """Write what waits; return what is in the lake now. Raises: Fenced, Unavailable."""
        if not self.waiting:
            return []
        done, new, entries = list[Done](), list[pa.Table](), dict[str, Entry]()
        self.ledger.begin()
        series = self.ledger.series
        stored = self._stored(
            series, min(one[0].first for one in self.waiting), max(one[0].after for one in self.waiting)
        )
        left_from = lived_since(self.lake, [series.symbol], at).get(series.symbol, LATEST)
        for file, read, sha256 in self.waiting:
            opened = read.candles["opened_at"].cast(pa.int64()).to_numpy()
            is_there = np.isin(opened, stored)
            is_left = ~is_there & (opened > left_from - self._length)
            rows = read.candles.filter(pa.array(~is_there & ~is_left))
            counts = (rows.num_rows, int(is_there.sum()), read.duplicates, read.refused)
            entry = Entry(sha256, read.rows, *counts, at, left=int(is_left.sum()))
            if not entry.left and midnight(file.after) <= at:
                entries[file.name] = entry
            new.append(rows)
            done.append(Done(file, entry, read.reasons))
        rows = pa.concat_tables(new)
        if rows.num_rows or entries:
            self.ledger.commit(dated(rows, at), self.waiting[-1][0].name, entries)
        self.waiting = []
        return done

    def _take(self, file: ArchiveFile, read: KlineFile, sha256: str, at: int) -> list[Done]:
        if not self.waiting:
            self._since = self.clock()
        self.waiting.append((file, read, sha256))
        held = sum(read.candles.num_rows for _, read, _ in self.waiting)
        return self.flush(at) if held >= MOST_HELD or self.clock() - self._since >= LONGEST_HELD else []

    def _stored(self, series: Series, first: date, after: date) -> Ints:
        """Return when the windows of the days `[first, after)` opened of which the lake has a candle."""
        start, end = (utc(midnight(day)) for day in (first, after))
        rows = self.lake.read("candles", [series.symbol], start, end, columns=["opened_at", "interval"])
        rows = rows.filter(pc.equal(rows["interval"], series.interval))
        return np.unique(rows["opened_at"].cast(pa.int64()).to_numpy())

    def _span(self, file: ArchiveFile, now: int) -> tuple[int, int]:
        """Return from when to when the windows of a file open that are over."""
        return midnight(file.first), max(
            midnight(file.first), min(midnight(file.after), window_start(now, self._length))
        )

    @property
    def _length(self) -> int:
        return INTERVALS[self.ledger.series.interval]


def dated(candles: pa.Table, at: int) -> pa.Table:
    """Return candles that became known at `at`, µs."""
    known = pa.repeat(pa.scalar(at, pa.int64()), candles.num_rows).cast(TIME)
    return candles.set_column(candles.column_names.index(KNOWN_AT), KNOWN_AT, known)


def absent_candles(lake: Lake, file: ArchiveFile, candles: pa.Table, interval: str) -> pa.Table:
    """Return the candles of a file whose windows the lake has nothing of. Raises: Unavailable."""
    start, end = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (file.first, file.after))
    stored = lake.read("candles", [file.series.symbol], start, end, columns=["opened_at", "interval"])
    stored = stored.filter(pc.equal(stored["interval"], interval))
    if not stored.num_rows:
        return candles
    return candles.filter(pc.invert(pc.is_in(candles["opened_at"], stored["opened_at"].combine_chunks())))
