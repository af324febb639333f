"""The table `drift_blocks`: how strange each quarter of a day was to a version, and what betting on that has come to.

It is the state between two looks. Whatever of it is lost is computed anew, from the features that the version names and from
candles, to the same numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml.data.feature_table.reading import load_some
from ml.monitoring.blocks.martingale import ALPHA, BLOCK, cannot_tell, evidence, of_reference, pooled, strangeness
from ml.monitoring.drift import Times, quantiles, whole_blocks
from ml.monitoring.feature_drift import LEAD, REACH, READ_BY
from quantstream import features
from quantstream.core.errors import DataRejected, Misconfigured
from quantstream.core.rolling import Floats
from quantstream.core.time import DAY, SCORED, micros, utc
from quantstream.lake.schemas import DRIFT_BLOCKS, SCHEMAS
from quantstream.lake.store import Lake

FIELDS = [each for each in SCHEMAS[DRIFT_BLOCKS] if each.name != "date"]
MOST = 30 * DAY // BLOCK  # live blocks that one look computes: after a longer pause the older ones are not asked about
BY_THE_CLOCK = ("−1 to 1", "0 or 1")  # units of features that no market changes


@dataclass(frozen=True)
class Version:
    """A version that serves, what it was fitted on, and until when (µs) it knew anything."""

    name: str
    number: str
    kind: str
    features_version: int
    known_until: int


@dataclass(frozen=True)
class Evidence:
    """What betting 1 against "all is as ever" came to at most, over how many live blocks, and what lay farthest off last."""

    capital: float
    blocks: int
    farthest: str = ""
    silent: str = ""  # why nothing was bet

    @property
    def is_alarm(self) -> bool:
        """Whether it is as much as ever comes about by chance with `ALPHA` at most."""
        return self.capital >= 1 / ALPHA

    def __str__(self) -> str:
        """Say it."""
        return (
            self.silent
            or f"{self.capital:.3g} to 1 over {self.blocks} quarters of days, {1 / ALPHA:.0f} to 1 is an alarm"
        )


@dataclass(frozen=True)
class Block:
    """One block as the table has it."""

    at: int
    is_reference: bool
    strangeness: float
    farthest: str


def watched(kind: str) -> tuple[str, ...]:
    """Return the features of a kind that look back over less than a block, and not at the clock: neighbours share few candles."""
    return tuple(
        name
        for name in READ_BY[kind]
        if features.DEFINITIONS[name].back < BLOCK // features.STEP_US
        and features.DEFINITIONS[name].unit not in BY_THE_CLOCK
    )


def drift_evidence(lake: Lake, version: Version, symbols: Sequence[str], until: datetime, now: datetime) -> Evidence:
    """Return the evidence of drift up to a time, after the blocks that are new were written to the table.

    Raises: DataRejected when features or candles are not there any more, Unavailable.
    """
    blocks = _kept(lake, version)
    last = max((one.at for one in blocks if not one.is_reference), default=_first(version.known_until) - BLOCK)
    end = micros(until) // BLOCK * BLOCK
    start = max(last + BLOCK, end - MOST * BLOCK)
    has_reference = any(one.is_reference for one in blocks)
    new: list[Block] = []
    if start < end or not has_reference:
        fitted = _reference(lake, version, symbols)
        new = [] if has_reference else fitted.blocks()
        new += fitted.live(lake, start, end) if start < end else []
    blocks = sorted([*blocks, *new], key=lambda one: (not one.is_reference, one.at))
    known = [one for one in blocks if np.isfinite(one.strangeness)]
    live = [one for one in known if not one.is_reference]
    seed = int.from_bytes(hashlib.blake2b(f"{version.name}/{version.number}".encode(), digest_size=8).digest())
    values, reference = np.array([one.strangeness for one in known]), len(known) - len(live)
    capital = evidence(values, reference, seed)
    _keep(lake, version, new, dict(zip((one.at for one in live), capital.tolist(), strict=True)), now)
    return Evidence(
        float(capital.max(initial=1.0)), len(live), live[-1].farthest if live else "", cannot_tell(values[:reference])
    )


@dataclass(frozen=True)
class _Reference:
    """The blocks of the days that a version was fitted on: (blocks,), (blocks, names, levels)."""

    names: tuple[str, ...]
    symbols: Sequence[str]
    at: Times
    values: Floats

    @property
    def phases(self) -> Times:
        return np.asarray(self.at % (DAY // BLOCK), dtype=np.int64)

    def blocks(self) -> list[Block]:
        found = of_reference(self.values, self.phases)
        return [Block(int(at) * BLOCK, True, float(one), "") for at, one in zip(self.at, found, strict=True)]

    def live(self, lake: Lake, start: int, end: int) -> list[Block]:
        at, values = _rows_of(lake, self.symbols, self.names, start, end)
        whole, of_row = whole_blocks(at, BLOCK)
        found = []
        for block in whole.tolist():
            each = strangeness(self.values, self.phases, quantiles(values[of_row == block]), block % (DAY // BLOCK))
            farthest = self.names[int(np.nanargmax(each))] if np.isfinite(each).any() else ""
            found.append(Block(block * BLOCK, False, pooled(each), farthest))
        return found


def _reference(lake: Lake, version: Version, symbols: Sequence[str]) -> _Reference:
    names, until = watched(version.kind), version.known_until
    try:
        fitted = load_some(lake, version.features_version, symbols, until - REACH, until)
    except Misconfigured as error:
        raise DataRejected(str(error)) from error
    rows = np.flatnonzero((fitted.opened_at >= until - REACH) & (fitted.opened_at < until)).astype(np.intp)
    if not len(rows):
        raise DataRejected(f"features version {version.features_version} has no rows before {utc(until)}")
    at, values = fitted.opened_at[rows], fitted.matrix(rows, names)
    whole, of_row = whole_blocks(at, BLOCK)
    found = np.stack([quantiles(values[of_row == one]) for one in whole.tolist()])
    return _Reference(names, fitted.symbols, whole, found)


def _rows_of(lake: Lake, symbols: Sequence[str], names: Sequence[str], start: int, end: int) -> tuple[Times, Floats]:
    """Return times (rows,) and features (rows, names) of the candles of `[start, end)` (µs)."""
    found: list[tuple[Times, Floats]] = []
    for symbol in symbols:
        candles = lake.candle_frame([symbol], SCORED, utc(start - LEAD), utc(end))
        if not len(candles) or features.opened_at_us(candles)[-1] < start:
            continue
        series = features.series_of(candles)
        places = int((series.at[-1] - start) // features.STEP_US) + 1
        values = features.newest([series], places, names)[0]
        at = series.at[-1] - np.arange(places - 1, -1, -1) * features.STEP_US
        is_there = np.isfinite(values).any(axis=1)
        found.append((at[is_there], values[is_there]))
    if not found:
        raise DataRejected(f"there are no candles of {', '.join(symbols)} between {utc(start)} and {utc(end)}")
    return np.concatenate([at for at, _ in found]), np.concatenate([values for _, values in found])


def _first(known_until: int) -> int:
    return -(-known_until // BLOCK) * BLOCK


def _kept(lake: Lake, version: Version) -> list[Block]:
    if not lake.has(DRIFT_BLOCKS):
        return []
    rows, found = lake.read(DRIFT_BLOCKS), dict[int, Block]()
    is_its = pc.and_(pc.equal(rows["model"], version.name), pc.equal(rows["version"], version.number))
    for row in rows.filter(is_its).to_pylist():  # in order of writing: of two looks at once the first one's counts
        at = micros(row["block"])
        found.setdefault(at, Block(at, row["is_reference"], row["strangeness"], row["farthest"] or ""))
    return list(found.values())


def _keep(lake: Lake, version: Version, new: Sequence[Block], capital: dict[int, float], now: datetime) -> None:
    rows: list[dict[str, Any]] = [
        {
            "written_at": now,
            "model": version.name,
            "version": version.number,
            "block": utc(one.at),
            "is_reference": one.is_reference,
            "strangeness": one.strangeness,
            "farthest": one.farthest,
            "capital": capital.get(one.at),
        }
        for one in new
    ]
    if rows:
        lake.append(DRIFT_BLOCKS, pa.Table.from_pylist(rows, pa.schema(FIELDS)))
