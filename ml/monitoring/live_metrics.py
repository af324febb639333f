"""How right the versions were over the newest day: realised losses with their bounds, by version and symbol and pooled.

The bounds are those of a bootstrap over blocks of four hours of all symbols at once: neighbouring rows share most of their hour.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml.evaluation import bootstrap
from ml.monitoring.joining import newest
from quantstream.core.rolling import Floats
from quantstream.core.time import HOUR
from quantstream.lake.schemas import OUTCOMES, TIME
from quantstream.lake.snapshots import snapshot
from quantstream.lake.store import Lake
from quantstream.lake.table_facts import contents

WINDOW = timedelta(days=1)
STEP = timedelta(minutes=5)
BLOCK = 4 * HOUR
COLUMNS = ["symbol", "opened_at", "scored_at", "model", "version", "role", "measures", "loss", "known_at"]


@dataclass(frozen=True)
class Version:
    """A version in a role: as the table has it."""

    model: str
    version: str
    role: str


@dataclass
class Live:
    """One version's figures: rows and losses by symbol, sums by block, and the mean of each measure where it is known."""

    rows: dict[str, int] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)  # sums
    blocks: dict[int, tuple[float, int]] = field(default_factory=dict)  # by their beginning: sum and rows
    measures: dict[str, tuple[float, int]] = field(default_factory=dict)  # sum and how many are known
    times: set[int] = field(default_factory=set)  # of the candles, µs

    @property
    def candles(self) -> int:
        """How many candles of one symbol or more it was held against."""
        return len(self.times)

    @property
    def loss(self) -> float:
        """The mean loss; NaN without rows."""
        return sum(self.losses.values()) / self.count if self.rows else float("nan")

    @property
    def count(self) -> int:
        """Rows."""
        return sum(self.rows.values())

    @property
    def bounds(self) -> tuple[float, float]:
        """The 95 % bounds of the mean loss."""
        if not self.blocks:
            return float("nan"), float("nan")
        total, size = (np.array(part, dtype=np.float64) for part in zip(*self.blocks.values(), strict=True))
        return bootstrap.interval(np.arange(len(total)), lambda w: float(w @ total) / max(float(w @ size), 1.0))

    def by_symbol(self) -> dict[str, float]:
        """Return each symbol's mean loss."""
        return {symbol: self.losses[symbol] / rows for symbol, rows in sorted(self.rows.items())}

    def means(self) -> dict[str, float]:
        """Return the mean of each measure over the rows where it is known."""
        return {name: total / known for name, (total, known) in sorted(self.measures.items()) if known}

    def add(self, rows: pa.Table) -> None:
        """Add rows of one symbol and this version, each once."""
        symbol, loss = str(rows["symbol"][0]), _floats(rows["loss"])
        at = rows["opened_at"].cast(pa.int64()).to_numpy()
        self.rows[symbol] = self.rows.get(symbol, 0) + len(loss)
        self.losses[symbol] = self.losses.get(symbol, 0.0) + float(loss.sum())
        self.times |= set(at.tolist())
        for block in np.unique(at // BLOCK).tolist():
            part, before = loss[at // BLOCK == block], self.blocks.get(block, (0.0, 0))
            self.blocks[block] = before[0] + float(part.sum()), before[1] + len(part)
        maps = rows["measures"].combine_chunks()
        names, values = np.array(maps.keys.to_pylist()), _floats(maps.items)
        for name in np.unique(names).tolist():
            known = values[(names == name) & np.isfinite(values)]
            total, count = self.measures.get(name, (0.0, 0))
            self.measures[name] = total + float(known.sum()), count + len(known)


@dataclass
class Day:
    """The newest day of outcomes: its end, each version's figures, and when each of its candles was scored (our clock)."""

    until: datetime
    versions: dict[Version, Live] = field(default_factory=dict)
    scored: dict[int, datetime] = field(default_factory=dict)

    def candles_since(self, at: datetime) -> int:
        """Return how many candles were scored since a time of our clock."""
        return sum(one >= at for one in self.scored.values())


def newest_day(lake: Lake, since: Mapping[Version, datetime] | None = None) -> Day | None:
    """Return the figures of each version over the newest day that there are outcomes of; None without any.

    `since` says of a version when it came to its role (our clock): what it scored before is left out. Raises: Unavailable.
    """
    if not (lake.has(OUTCOMES) and (extents := lake.extent(OUTCOMES))):
        return None
    until = max(newest for _, newest in extents.values()) + STEP
    day = Day(until)
    for rows in outcomes(lake, until - WINDOW, until):
        for at, scored_at in zip(
            rows["opened_at"].cast(pa.int64()).to_pylist(), rows["scored_at"].to_pylist(), strict=True
        ):
            day.scored[at] = max(day.scored.get(at, scored_at), scored_at)
        for which, part in _versions(rows):
            if since and which in since:
                part = part.filter(pc.greater_equal(part["scored_at"], pa.scalar(since[which], TIME)))
            if part.num_rows:
                day.versions.setdefault(which, Live()).add(part)
    return day


def outcomes(
    lake: Lake, start: datetime, until: datetime, symbols: Collection[str] | None = None
) -> Iterator[pa.Table]:
    """Yield the newest outcomes of each symbol's candles of `[start, until)`, or of some symbols'. Raises: Unavailable."""
    if not lake.has(OUTCOMES):
        return
    there = snapshot(lake, [OUTCOMES])
    first = f"{start:%Y-%m}"
    for symbol, months in sorted(contents(there.table(OUTCOMES)).items()):
        if max(months) >= first and (symbols is None or symbol in symbols):
            rows = newest(there.read(OUTCOMES, [symbol], start, until, COLUMNS))
            if rows.num_rows:
                yield rows


def alarm_rate(lake: Lake, day: datetime) -> float:
    """Return how many of 100,000 trades of a day (UTC) were called strange; NaN where there were none. Raises: Unavailable."""
    name = f"{day:%Y-%m-%d}"
    trades = sum(parts.get(name, (0, 0))[0] for parts in _parts(lake, "trades"))
    alarms = sum(parts.get(name, (0, 0))[0] for parts in _parts(lake, "anomalies"))
    return 1e5 * alarms / trades if trades else float("nan")


def _parts(lake: Lake, table: str) -> Iterator[Mapping[str, tuple[int, int]]]:
    yield from contents(lake.table(table)).values() if lake.has(table) else ()


def _versions(rows: pa.Table) -> Iterator[tuple[Version, pa.Table]]:
    for found in rows.group_by(["model", "version", "role"]).aggregate([]).to_pylist():
        is_this = pc.scalar(True)
        for name, value in found.items():
            is_this = is_this & (pc.field(name) == value)
        yield Version(**found), rows.filter(is_this)


def _floats(column: pa.Array) -> Floats:
    return np.asarray(column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy())
