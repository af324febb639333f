"""One symbol's features over some months, from the lake's candles to files: a pure function of what it is told and of the lake.

Features look back over a month at most and labels an hour ahead, so more candles are read than rows are made. What comes out
does not depend on where the reading began: a month made alone is the same bytes as one made among all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from ml.calendar.stored import take_up
from ml.data import labels
from ml.data.feature_table.columns import BY, DATA, FACTS, LABELS, TABLE, made_by, schema
from ml.data.feature_table.months import bounds, months_of
from ml.data.universe import outside
from quantstream import features
from quantstream.core.time import DAY, SCORED, utc
from quantstream.lake.partition_files import Part, write_part
from quantstream.lake.quarantine import without
from quantstream.lake.reads import float_frame
from quantstream.lake.schemas import TIME
from quantstream.lake.snapshots import Snapshot, at_version
from quantstream.lake.store import Lake

Away = tuple[tuple[int, int | None], ...]


@dataclass(frozen=True)
class Source:
    """Where candles are read from and features written to, and what all features have in common."""

    url: str
    storage_options: tuple[tuple[str, str], ...]
    version: int  # of the table `candles`
    trailing: int
    precision: str

    @property
    def made_by(self) -> str:
        """Definitions of features and labels."""
        return made_by(self.trailing, self.precision)

    @property
    def lake(self) -> Lake:
        """The lake."""
        return Lake(self.url, dict(self.storage_options) or None)

    @property
    def back(self) -> int:
        """How far before a row its features and labels look, µs."""
        return max(features.WARMUP, self.trailing + features.HOUR) * features.STEP_US


@dataclass(frozen=True)
class Stretch:
    """Months of one symbol to be made: an item of the engine."""

    source: Source
    symbol: str
    months: tuple[str, ...]
    seen: tuple[str, ...]  # of each month
    first: int  # µs: no candle of the symbol is older
    away: Away = ()  # when it was not listed
    before: tuple[str, ...] = ()  # of each month, `made_of` of what is there: equal means nothing to do
    held: tuple[date, ...] = ()  # days whose candles are in quarantine: as if they were not there
    muted: tuple[date, ...] = ()  # days whose features are: they are left out, what looks back on them is not

    def __str__(self) -> str:
        """Name it."""
        return f"{self.symbol} {' '.join(dict.fromkeys((self.months[0], self.months[-1])))}"


@dataclass(frozen=True)
class Months:
    """What a stretch came to: files of the months that are new or others than before, and months without candles."""

    parts: tuple[Part, ...]
    empty: tuple[str, ...]


def make(stretch: Stretch) -> Months:
    """Make the months whose candles are others than before.

    Raises: DataRejected for candles that cannot be, Unavailable.
    """
    take_up(stretch.source.lake)
    candles, source = read(stretch), stretch.source
    made_of = {month: _made_of(candles, month, source.back, stretch.muted) for month in stretch.months}
    before = dict(zip(stretch.months, stretch.before or stretch.months, strict=True))
    wanted = [month for month, checksum in made_of.items() if checksum not in ("", before[month])]
    empty = tuple(month for month, checksum in made_of.items() if not checksum)
    if not wanted:
        return Months((), empty)
    rows, opened_at = rows_of(candles, source), features.opened_at_us(candles)
    month_of_row, is_muted = months_of(opened_at), _is_of(opened_at, stretch.muted)
    seen = dict(zip(stretch.months, stretch.seen, strict=True))
    parts = []
    for month in wanted:
        part = rows.filter(pa.array((month_of_row == month) & ~is_muted))
        facts = {
            "seen": seen[month],
            "made_by": source.made_by,
            "made_of": made_of[month],
            "rows_hash": rows_hash(part),
            "candles_version": source.version,
            "revision": _revision(candles, month),
        }
        parts.append(write_part(source.lake, TABLE, BY, (stretch.symbol, month), part, _in_order(facts)))
    return Months(tuple(parts), empty)


def read(stretch: Stretch) -> pd.DataFrame:
    """Return the candles that the months are made of, but those of days that are held or on which the symbol was not listed."""
    source = stretch.source
    start = bounds(stretch.months[0])[0] - source.back
    end = bounds(stretch.months[-1])[1] + features.HOUR * features.STEP_US
    lake = _pinned(source)
    frame = _usable(lake, stretch, start, end)
    is_cut = stretch.first < start and not (len(frame) and features.opened_at_us(frame)[0] == start)
    if is_cut and len(_usable(lake, stretch, stretch.first, start)):
        frame = pd.concat([_missing(start), frame], ignore_index=True)
    return frame


def rows_of(candles: pd.DataFrame, source: Source) -> pa.Table:
    """Return the table's data columns for each candle."""
    values = features.compute(candles).to_numpy().astype(source.precision)
    targets = labels.compute(candles, source.trailing)
    columns: dict[str, Any] = {
        "opened_at": pa.array(features.opened_at_us(candles)).cast(TIME),
        "close": candles["close"].to_numpy(dtype=np.float64),
        **{name: targets[name].to_numpy() for name in LABELS},
        **{name: np.ascontiguousarray(values[:, i]) for i, name in enumerate(features.NAMES)},
    }
    columns_of = schema(source.precision)
    return pa.table(columns, schema=pa.schema([columns_of.field(name) for name in DATA]))


def is_made_of(candles: pd.DataFrame, stretch: Stretch, parts: Sequence[Part]) -> bool:
    """Tell whether parts of a stretch's months were made of just these candles, as `read` returns them."""
    back, told = stretch.source.back, {part.key[1]: part.facts["made_of"] for part in parts}
    return all(told.get(month) == _made_of(candles, month, back, stretch.muted) for month in stretch.months)


def rows_hash(rows: pa.Table) -> str:
    """Return a checksum of the data columns' values."""
    found = hashlib.blake2b(digest_size=16)
    for name in DATA:
        column = rows[name].combine_chunks()
        column = column.cast(pa.int64()) if name == "opened_at" else column
        found.update(np.ascontiguousarray(column.to_numpy(zero_copy_only=False)).tobytes())
    return found.hexdigest()


def _usable(lake: Lake, stretch: Stretch, start: int, end: int) -> pd.DataFrame:
    """Return the candles of a time but those left out, by what the plan knew of them and not by what is held by now."""
    rows = lake.candles([stretch.symbol], SCORED, utc(start), utc(end), with_quarantined=True)
    kept = without(rows, "candles", [(stretch.symbol, day) for day in stretch.held])
    return outside(float_frame(kept), stretch.away)


def _is_of(opened_at: npt.NDArray[np.int64], days: Sequence[date]) -> npt.NDArray[np.bool_]:
    """Tell of each time (µs) whether it is of one of these days."""
    return np.isin(opened_at // DAY, [(day - date(1970, 1, 1)).days for day in days])


def _missing(at: int) -> pd.DataFrame:
    """A candle that is not there, which tells that the history began before it: a window over it lacks a few, and is not cut."""
    return pd.DataFrame(
        {
            "opened_at": pd.Series([at]).astype("datetime64[us]").dt.tz_localize("UTC"),
            **{name: [np.nan] for name in features.COLUMNS},
            "revision": [0],
        }
    )


def _made_of(candles: pd.DataFrame, month: str, back: int, muted: Sequence[date] = ()) -> str:
    """A checksum of what a month's rows depend on, whatever else was read; empty where the month has none."""
    at = features.opened_at_us(candles) if len(candles) else np.zeros(0, np.int64)
    start, end = bounds(month)
    if not ((at >= start) & (at < end) & ~_is_of(at, muted)).any():
        return ""
    first, last = np.searchsorted(at, (start - back, end + features.HOUR * features.STEP_US))
    part = candles.iloc[int(first) : int(last)]
    part = part[part["close"].notna()]
    found = hashlib.blake2b(np.bool_(at[0] <= start - back).tobytes(), digest_size=16)
    found.update(features.opened_at_us(part).tobytes())
    for name in features.COLUMNS:
        if name in part.columns:
            found.update(part[name].to_numpy(dtype=np.float64, na_value=np.nan).tobytes())
    for day in sorted(muted):
        if str(day).startswith(month):
            found.update(str(day).encode())
    return found.hexdigest()


def _revision(candles: pd.DataFrame, month: str) -> int:
    months = months_of(features.opened_at_us(candles))
    return int(candles["revision"].to_numpy()[months == month].max())


def _in_order(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: facts[name] for name in FACTS}


@lru_cache(maxsize=4)
def _pinned(source: Source) -> Snapshot:
    """The candles at their version, opened once in a process."""
    return at_version(source.lake, "candles", source.version)
