"""What readers ask of the lake: rows of a table, the newest revision of each candle, trades; at once or, where large, in batches.

The batches come in order of symbol and time in memory that goes neither by symbols nor by years: the table's log says where
how many rows lie, and so much is read at a time. All is Arrow, which pandas, Polars and DuckDB take as it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.dataset import Dataset

from quantstream.lake.known_at import Undated, known_rows, since_of
from quantstream.lake.quarantine import Partition, without
from quantstream.lake.schemas import QUARANTINED, SHADOW_SCORES, TIME, TIME_COLUMN
from quantstream.lake.table_facts import FileFilter, TableFiles

AT_ONCE = 200_000  # rows of which batches are made at a time: of trades some 30 MB, and as much again to sort them
BATCH = 32_768  # rows
READ_AHEAD = {"batch_size": BATCH, "batch_readahead": 1, "fragment_readahead": 1}
NEWEST = ("symbol", "opened_at", "revision", "is_complete")  # of a candle the last row in this order counts
TIES = {
    "trades": ["id"],
    "candles": ["interval", "revision"],
    "scores": ["interval", "revision"],
    SHADOW_SCORES: ["interval", "revision"],
    "anomalies": ["trade_id"],
}


@dataclass(frozen=True)
class Asked:
    """Which rows of a table: of some symbols (None: all), with the time column in `[start, end)`, as they were known."""

    symbols: Sequence[str] | None = None
    start: datetime | None = None
    end: datetime | None = None
    interval: str | None = None  # of candles and scores; candles of one are the newest revisions
    as_of: datetime | None = None
    undated: Undated = "refuse"

    def files(self, partitions: Sequence[str]) -> list[FileFilter]:
        """Return what the files in question fulfil: of thousands of symbols and days only those asked for are looked at."""
        found: list[FileFilter] = []
        if self.symbols is not None and "symbol" in partitions:
            found.append(("symbol", "in", list(self.symbols)))
        for operator, at in ((">=", self.start), ("<=", self.end)):
            if at is not None:
                found.append(("date", operator, at.date()))
                if "month" in partitions:
                    found.append(("month", operator, f"{at:%Y-%m}"))
        return found

    def rows(self, name: str) -> Any:
        """Return what the rows in question fulfil."""
        keep: Any = pc.scalar(True)
        if self.symbols is not None:
            keep = keep & pc.field("symbol").isin(pa.array(list(self.symbols), pa.string()))
        if self.start is not None:
            keep = keep & (pc.field(TIME_COLUMN[name]) >= pa.scalar(self.start, TIME))
        if self.end is not None:
            keep = keep & (pc.field(TIME_COLUMN[name]) < pa.scalar(self.end, TIME))
        return keep & (pc.field("interval") == self.interval) if self.interval is not None else keep


class Reads(ABC):
    """The reading half of the lake's door."""

    @abstractmethod
    def table(self, name: str) -> Any:
        """Open a table at its newest version. Raises: Unavailable."""

    @abstractmethod
    def held(self, name: str, as_of: datetime | None = None) -> frozenset[Partition]:
        """Return the partitions of a table that are in quarantine, or were then. Raises: Unavailable."""

    @abstractmethod
    def table_at(self, name: str, version: int | None) -> Any:
        """Open a table at a version, None for the newest. Raises: Unavailable; DataRejected when there is no such version."""

    @abstractmethod
    def _reading(self, name: str) -> AbstractContextManager[None]:
        """Translate what goes wrong in reading a table's files to Unavailable."""

    def _data(self, name: str, table: Any, files: Sequence[FileFilter]) -> Dataset:
        """Return the files of a table that may pass all filters."""
        return table.to_pyarrow_dataset(file_pruning_predicate=list(files) or None)

    def read(
        self,
        name: str,
        symbols: Iterable[str] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        columns: Sequence[str] | None = None,
        version: int | None = None,
        as_of: datetime | None = None,
        undated: Undated = "refuse",
    ) -> pa.Table:
        """Return the rows of some symbols with the time column in `[start, end)`, by symbol and time: all that are stored.

        With `as_of` only those of candles and scores that were known then (by our clock); `undated` says what of rows that do
        not tell. Raises: Unavailable when they cannot be read; DataRejected as `known_at.known_rows` does.
        """
        asked = Asked(None if symbols is None else list(symbols), start, end, None, as_of, undated)
        rows = self._rows(name, self.table_at(name, version), asked, columns)
        order = [key for key in ("symbol", TIME_COLUMN[name]) if key in rows.column_names]
        return rows.sort_by([(key, "ascending") for key in order]) if order else rows

    def candles(
        self,
        symbols: Iterable[str] | None = None,
        interval: str = "5m",
        start: datetime | None = None,
        end: datetime | None = None,
        version: int | None = None,
        as_of: datetime | None = None,
        undated: Undated = "refuse",
        with_quarantined: bool = False,
    ) -> pa.Table:
        """Return the newest revision of each candle, ordered by symbol and opening time; of equals, a complete one.

        With `as_of` the newest that was known then, as `read` says. Days in quarantine (with `as_of`: then) are left out, unless
        one asks for them.
        """
        asked = Asked(None if symbols is None else list(symbols), start, end, interval, as_of, undated)
        rows = newest_revisions(self._rows("candles", self.table_at("candles", version), asked))
        return rows if with_quarantined else without(rows, "candles", self.held("candles", as_of))

    def candle_frame(
        self,
        symbols: Iterable[str] | None = None,
        interval: str = "5m",
        start: datetime | None = None,
        end: datetime | None = None,
        version: int | None = None,
        as_of: datetime | None = None,
        undated: Undated = "refuse",
        with_quarantined: bool = False,
    ) -> pd.DataFrame:
        """Return `candles` as a frame of floats for features and charts: exactness ends here."""
        return float_frame(self.candles(symbols, interval, start, end, version, as_of, undated, with_quarantined))

    def trades(
        self,
        symbols: Iterable[str] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        version: int | None = None,
        with_quarantined: bool = False,
    ) -> pa.Table:
        """Return the trades of `[start, end)`, ordered by symbol, time and id; days in quarantine are left out as of candles."""
        asked = Asked(None if symbols is None else list(symbols), start, end)
        rows = ordered("trades", self._rows("trades", self.table_at("trades", version), asked))
        return rows if with_quarantined else without(rows, "trades", self.held("trades"))

    def scores(
        self,
        symbols: Iterable[str] | None = None,
        interval: str = "5m",
        start: datetime | None = None,
        end: datetime | None = None,
        version: int | None = None,
        as_of: datetime | None = None,
        with_quarantined: bool = False,
    ) -> pa.Table:
        """Return the scores of candles opened in `[start, end)`, by symbol and time, days in quarantine left out as of candles.

        With `as_of` only those that were made by then.
        """
        asked = Asked(None if symbols is None else list(symbols), start, end, interval, as_of)
        rows = ordered("scores", self._rows("scores", self.table_at("scores", version), asked))
        return rows if with_quarantined else without(rows, "scores", self.held("scores", as_of))

    def batches(
        self, name: str, asked: Asked, version: int | None = None, with_quarantined: bool = False
    ) -> pa.RecordBatchReader:
        """Return the same rows in batches, read while one goes through them; memory goes neither by symbols nor by time.

        Of candles of one interval they are the newest revisions, else all that are stored; the table is as it is now. Reading
        raises what `read` does.
        """
        table = self.table_at(name, version)
        held = self.held(name, asked.as_of) if name in QUARANTINED and not with_quarantined else frozenset()
        schema: pa.Schema = self._data(name, table, [("symbol", "in", [""])]).schema
        return pa.RecordBatchReader.from_batches(schema, self._in_turn(name, table, asked, held, schema))

    def _in_turn(
        self, name: str, table: Any, asked: Asked, held: frozenset[Partition], schema: pa.Schema
    ) -> Iterator[pa.RecordBatch]:
        if "symbol" not in table.metadata().partition_columns:  # so few rows that they come together
            yield from ordered(name, self._rows(name, table, asked)).cast(schema).to_batches(BATCH)
            return
        with self._reading(name):
            files = TableFiles(table)
        for part in parts(asked, files):
            with self._reading(name):
                found = files.passing(part.files(table.metadata().partition_columns))
                rows = found.to_table(filter=part.rows(name), **READ_AHEAD)
            rows = _known(rows, table, part)
            is_newest = name == "candles" and asked.interval is not None
            rows = newest_revisions(rows) if is_newest else ordered(name, rows)
            yield from without(rows, name, held).cast(schema).to_batches(BATCH)

    def _rows(self, name: str, table: Any, asked: Asked, columns: Sequence[str] | None = None) -> pa.Table:
        with self._reading(name):
            data = self._data(name, table, asked.files(table.metadata().partition_columns))
            rows = data.to_table(filter=asked.rows(name), columns=list(columns) if columns else None)
        return _known(rows, table, asked)


def _known(rows: pa.Table, table: Any, asked: Asked) -> pa.Table:
    return rows if asked.as_of is None else known_rows(rows, since_of(table), asked.as_of, asked.undated)


def ordered(name: str, rows: pa.Table) -> pa.Table:
    """Return rows of a table by symbol and time, those of the same time in an order that is always the same."""
    return rows.sort_by([(key, "ascending") for key in ("symbol", TIME_COLUMN[name], *TIES.get(name, ()))])


def parts(asked: Asked, files: TableFiles) -> Iterator[Asked]:
    """Cut what is asked for into parts of a symbol and a time, in order, of about as many rows as are read at once."""
    last = None if asked.end is None else asked.end.date()
    for symbol, periods in files.periods(asked.symbols, asked.start and asked.start.date(), last):
        for start, end, rows in _together(periods):
            since, until = max(start, asked.start or start), min(end, asked.end or end)
            pieces = -(-rows // AT_ONCE) or 1
            step = max((until - since) / pieces, timedelta(microseconds=1))
            edges = [*(since + step * number for number in range(pieces)), until]
            for low, high in pairwise(edges):
                if low < high:
                    yield replace(asked, symbols=[symbol], start=low, end=high)


def _together(periods: Mapping[str, int]) -> Iterator[tuple[datetime, datetime, int]]:
    """Yield stretches of periods that are read together, and their rows."""
    start, end, rows = None, None, 0
    for period, count in periods.items():
        begins, ends = _bounds(period)
        if start is not None and end is not None and rows + count > AT_ONCE:
            yield start, end, rows
            start, rows = None, 0
        start, end, rows = start or begins, ends, rows + count
    if start is not None and end is not None:
        yield start, end, rows


def _bounds(period: str) -> tuple[datetime, datetime]:
    """Return when a day or a month, 2025-11-22 or 2025-11, begins and ends."""
    if len(period) == len("2025-11"):
        return month_bounds(period)
    day = date.fromisoformat(period)
    begins = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return begins, begins + timedelta(days=1)


def month_bounds(month: str) -> tuple[datetime, datetime]:
    """Return when a month, 2025-11, begins and ends."""
    begins = datetime.fromisoformat(f"{month}-01").replace(tzinfo=UTC)
    return begins, (begins + timedelta(days=31)).replace(day=1)


def newest_revisions(rows: pa.Table) -> pa.Table:
    """Return the newest revision of each candle of one interval, in order; of equals, a complete one."""
    rows = rows.sort_by([(name, "ascending") for name in NEWEST])
    if rows.num_rows < 2:
        return rows
    is_last = pc.or_(
        *(pc.not_equal(rows[name].combine_chunks()[:-1], rows[name].combine_chunks()[1:]) for name in NEWEST[:2])
    )
    return rows.filter(pa.concat_arrays([is_last, pa.array([True])]))


def float_frame(rows: pa.Table) -> pd.DataFrame:
    """Return rows as a frame, decimals as floats.

    The way over text rounds correctly (Arrow's direct cast may be one unit off), as `int / 10**8` does live.
    """
    for name in [field.name for field in rows.schema if pa.types.is_decimal(field.type)]:
        rows = rows.set_column(rows.column_names.index(name), name, rows[name].cast(pa.string()).cast(pa.float64()))
    frame: pd.DataFrame = rows.to_pandas()
    return frame
