"""A file of klines into the lake: its candles and the note that they are there are one commit."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.compute as pc

from quantstream.binance.archive import ArchiveFile
from quantstream.binance.klines import fetch_klines
from quantstream.binance.rest import BlockingRest
from quantstream.core.errors import BadRecord
from quantstream.lake.imports import Entry
from quantstream.lake.schemas import KNOWN_AT, TIME, candle_rows
from quantstream.lake.store import Lake, micros
from streaming.backfill.download import Fetched
from streaming.backfill.kline_files import KlineFile, read_klines
from streaming.backfill.ledger import Ledger


def midnight(day: date) -> int:
    """Return when a day begins, µs."""
    return micros(datetime(day.year, day.month, day.day, tzinfo=UTC))


class KlineImport:
    """Imports the files of one series of klines."""

    def __init__(self, lake: Lake, ledger: Ledger, rest: BlockingRest) -> None:
        """`rest` is asked for days that the archive does not have yet."""
        self.lake, self.ledger, self.rest = lake, ledger, rest

    def add(self, file: ArchiveFile, fetched: Fetched, at: int) -> tuple[Entry, list[str]]:
        """Write the candles of a file that the lake does not have; return the entry, and why rows were refused. `at` is now, µs.

        Raises: BadRecord for a damaged file; Fenced when another run imports the same series; Unavailable.
        """
        series = file.series
        read = read_klines(fetched.path, series.symbol, series.interval, midnight(file.first), midnight(file.after))
        return self._store(file, read, fetched.sha256, at), read.reasons

    def add_answers(self, file: ArchiveFile, at: int) -> tuple[Entry, list[str]] | None:
        """Write what REST has of the days of a file that the archive does not have yet; None when that is nothing.

        Raises: Misconfigured for a symbol that the exchange does not know; DataRejected; Fenced; Unavailable.
        """
        series, odd = file.series, list[BadRecord]()
        start, end = midnight(file.first), midnight(file.after)
        candles = list(fetch_klines(self.rest, series.symbol, series.interval, start, end, odd.append))
        if not candles and not odd:
            return None
        read = KlineFile(candle_rows(candles), rows=len(candles) + len(odd))
        for error in odd:
            read.refuse(f"{series.symbol}: {error}")
        return self._store(file, read, "", at), read.reasons

    def _store(self, file: ArchiveFile, read: KlineFile, sha256: str, at: int) -> Entry:
        new = absent_candles(self.lake, file, read.candles, file.series.interval)
        present = read.candles.num_rows - new.num_rows
        entry = Entry(sha256, read.rows, new.num_rows, present, read.duplicates, read.refused, at)
        self.ledger.commit(dated(new, at), file, entry)
        return entry


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
