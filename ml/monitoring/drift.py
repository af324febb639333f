"""Whether the newest day is distributed as the days before it were: of each feature and of each of a model's outputs.

Rows of one day are no independent draws: volatility clusters, windows overlap, symbols move together. A test that takes them as
such (Kolmogorov–Smirnov's own p, say) calls every day a drift. So the block is the whole day, of all symbols at once. How far
each day of the reference lies from the others (Wasserstein distance) says what is ordinary; the newest day's distance is held
against that, by Student's t for one more draw. What is slow by nature (a month's volatility) lies far off every day, and is no
news. Many features are asked at once: Benjamini & Hochberg 1995 keeps the share of false alarms among them. Libraries of drift
(Evidently, Alibi Detect, river) offer tests of independent rows only; scipy has the pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats  # type: ignore[import-untyped]

from quantstream.core.rolling import Floats
from quantstream.core.time import DAY

LEVELS = np.linspace(0.02, 0.98, 25)  # a distribution is these quantiles of it
FEWEST_DAYS = 10  # of the reference: with fewer nobody knows what is ordinary
FALSE_SHARE = 0.05  # of what is called drifted, how much may be so by chance
LEAST = 2.0  # times the distance of an ordinary day: less is no matter, however sure
SMALLEST = 1e-9
Times = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Shift:
    """What is distributed otherwise: its distance in times that of an ordinary day, and how likely that is by chance."""

    name: str
    times: float
    p: float  # adjusted for all that were asked

    def __str__(self) -> str:
        """Say it."""
        return f"{self.name} ({self.times:.1f} times as far off as on an ordinary day)"


@dataclass(frozen=True)
class Reference:
    """What is ordinary: (days, names, LEVELS) quantiles of each day, in the order of time; NaN where a day has none."""

    names: tuple[str, ...]
    days: Floats

    @classmethod
    def of(cls, names: Sequence[str], at: Times, values: Floats) -> Reference:
        """Return the reference of (rows, names) values at some times (µs); NaN counts nowhere."""
        blocks, of_row = whole_blocks(at, DAY)
        return cls(tuple(names), np.stack([quantiles(values[of_row == one]) for one in blocks.tolist()]))


def whole_blocks(at: Times, length: int) -> tuple[Times, Times]:
    """Return the blocks of time (µs) of which rows are there, but those that are cut short, and each row's block."""
    of_row = at // length
    blocks, counts = np.unique(of_row, return_counts=True)
    return blocks[counts >= counts.max(initial=0) / 2], of_row


def quantiles(values: Floats) -> Floats:
    """Return the distribution of each column of (rows, names) values: (names, LEVELS), NaN where nothing is known."""
    found = np.full((values.shape[1], len(LEVELS)), np.nan)
    whole = np.isfinite(values).all(axis=0)
    if len(values) and whole.any():
        found[whole] = np.quantile(values[:, whole], LEVELS, axis=0).T
    for i in np.flatnonzero(~whole):
        known = values[np.isfinite(values[:, i]), i]
        if len(known):
            found[i] = np.quantile(known, LEVELS)
    return found


def shifts(reference: Reference, newest: Floats) -> list[Shift]:
    """Return what is distributed otherwise in the newest day, (names, LEVELS), the farthest first; nothing of too few days."""
    found, p, times = list[int](), list[float](), list[float]()
    for i in range(len(newest)):
        days = reference.days[:, i][np.isfinite(reference.days[:, i]).all(axis=1)]
        if len(days) >= FEWEST_DAYS and np.isfinite(newest[i]).all():
            chance, ratio = _asked(days, newest[i])
            found, p, times = [*found, i], [*p, chance], [*times, ratio]
    adjusted = stats.false_discovery_control(p) if p else []
    result = [
        Shift(reference.names[i], ratio, float(chance))
        for i, ratio, chance in zip(found, times, adjusted, strict=True)
        if chance <= FALSE_SHARE and ratio >= LEAST
    ]
    return sorted(result, key=lambda one: (-one.times, one.name))


def _asked(days: Floats, newest: Floats) -> tuple[float, float]:
    """Return the one-sided p of the newest day's distance as one more of the days', and how many times an ordinary one it is.

    The distance between two distributions is the mean distance of their quantiles, the middle of many days the mean of theirs.
    """
    total, count = days.sum(axis=0), len(days)
    usual = np.abs(days - (total - days) / (count - 1)).mean(axis=1)
    ordinary = max(float(np.sqrt(np.mean(usual**2))), SMALLEST)
    ratio = float(np.abs(newest - total / count).mean()) / ordinary
    return float(2 * stats.t.sf(ratio / np.sqrt(1 + 1 / count), count - 1)), ratio
