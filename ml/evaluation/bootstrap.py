"""How sure a figure is: bootstrap over whole days, and the Diebold–Mariano test on daily means.

Five-minute rows overlap and volatility clusters, so rows are no independent draws. Days are drawn, of all symbols at once,
because symbols move together. Where there are too few days to draw from, quarters of days are: an interval from three days would
be a guess of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import erfc, sqrt

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata  # type: ignore[import-untyped]

from quantstream.core.rolling import Floats
from quantstream.core.time import DAY, HOUR

DRAWS = 300
BOUNDS = (0.025, 0.975)
SEED = 17
LAGS = 5  # days over which losses are taken as correlated
FEWEST_DAYS = 10  # below it quarters of days are drawn
QUARTER = 6 * HOUR  # µs; longer than an outcome takes, and than a burst of volatility mostly lasts
Days = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Blocks:
    """Which block of time each row belongs to, counted from 0 without gaps, and what a block is."""

    of_row: Days
    are: str  # days, quarters of a day

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self.of_row.max()) + 1 if len(self.of_row) else 0

    def __str__(self) -> str:
        """Say how many of what."""
        return f"{self.count} {self.are}"


@dataclass(frozen=True)
class Compared:
    """How much higher one model's loss is than another's on the same rows, relative to the other's: mean and 95 % bounds."""

    ours: float
    theirs: float
    excess: float
    low: float
    high: float
    blocks: str

    def __str__(self) -> str:
        """Say by how much, with the interval: `1.2 % below (95 % interval −3.0 % to +0.6 %)`; "that of X" follows."""
        if self.ours == self.theirs:
            return "the same as"
        side = "above" if self.excess > 0 else "below"
        known = np.isfinite((self.low, self.high)).all()
        interval = f" (95 % interval {self.low * 100:+.1f} % to {self.high * 100:+.1f} %)" if known else ""
        return f"{abs(self.excess) * 100:.1f} % {side}{interval}".replace("-", "−")

    @property
    def is_surely_worse(self) -> bool:
        """Whether even the lower bound is above zero."""
        return self.low > 0

    @property
    def is_surely_better(self) -> bool:
        """Whether even the upper bound is below zero."""
        return self.high < 0


def days_of(opened_at: npt.NDArray[np.int64]) -> Days:
    """Return each row's day, counted from 0 without gaps."""
    return np.unique(opened_at // DAY, return_inverse=True)[1].astype(np.intp)


def blocks_of(at: npt.NDArray[np.int64]) -> Blocks:
    """Return the blocks that rows at these times (µs) are drawn by."""
    days = days_of(at)
    if len(at) and int(days.max()) + 1 >= FEWEST_DAYS:
        return Blocks(days, "days")
    return Blocks(np.unique(at // QUARTER, return_inverse=True)[1].astype(np.intp), "quarters of a day")


def compared(ours: Floats, theirs: Floats, blocks: Blocks, floor: float = 1e-12) -> Compared:
    """Return how two models' losses on the same rows, (rows,) each, compare: paired, drawn by whole blocks.

    `floor` is the least mean loss that an excess is told relative to: the loss of a detector may be nothing at all.
    """
    mine, other, rows = (_by_day(blocks.of_row, each) for each in (ours, theirs, np.ones(len(ours))))

    def excess(weight: Floats) -> float:
        return float(weight @ (mine - other)) / max(float(weight @ other), floor * float(weight @ rows), 1e-300)

    # of a single block nothing is sure
    low, high = interval(blocks.of_row, excess) if blocks.count > 1 else (float("-inf"), float("inf"))
    return Compared(float(ours.mean()), float(theirs.mean()), excess(np.ones(blocks.count)), low, high, str(blocks))


def interval(days: Days, statistic: Callable[[Floats], float]) -> tuple[float, float]:
    """Return the 95 % bounds of a statistic of the days' weights (how often each day was drawn)."""
    count = int(days.max()) + 1
    rng = np.random.default_rng(SEED)
    drawn = [statistic(rng.multinomial(count, np.full(count, 1 / count)).astype(np.float64)) for _ in range(DRAWS)]
    low, high = np.nanquantile(drawn, BOUNDS) if np.isfinite(drawn).any() else (np.nan, np.nan)
    return float(low), float(high)


def mean_gain(ours: Floats, theirs: Floats, days: Days) -> dict[str, float]:
    """Return by how much each row's loss is lower than a baseline's: mean, 95 % bounds, Diebold–Mariano statistic and p."""
    gain = theirs - ours
    total, size = _by_day(days, gain), _by_day(days, np.ones(len(days)))
    low, high = interval(days, lambda weight: float(weight @ total) / max(float(weight @ size), 1.0))
    statistic, p = diebold_mariano(total / size)
    return {"": float(gain.mean()), "_low": low, "_high": high, "_dm": statistic, "_p": p}


def skill(ours: Floats, theirs: Floats, days: Days) -> dict[str, float]:
    """Return 1 − our loss / the baseline's with its 95 % bounds."""
    mine, other = _by_day(days, ours), _by_day(days, theirs)
    low, high = interval(days, lambda weight: 1 - float(weight @ mine) / max(float(weight @ other), 1e-300))
    return {"": 1 - float(mine.sum()) / max(float(other.sum()), 1e-300), "_low": low, "_high": high}


def auc_gain(actual: Floats, ours: Floats, theirs: Floats, days: Days) -> dict[str, float]:
    """Return by how much our AUC is above a baseline's, with 95 % bounds."""
    one, other = _Ranked(actual, ours, days), _Ranked(actual, theirs, days)
    low, high = interval(days, lambda weight: one.auc(weight) - other.auc(weight))
    even = np.ones(int(days.max()) + 1)
    return {"": one.auc(even) - other.auc(even), "_low": low, "_high": high}


def rank_correlation_bounds(actual: Floats, score: Floats, days: Days) -> tuple[float, float]:
    """Return the 95 % bounds of Spearman's correlation; ranks are those of all rows."""
    x, y = rankdata(actual) - (len(actual) + 1) / 2, rankdata(score) - (len(score) + 1) / 2
    parts = [np.bincount(days, values) for values in (x, y, x * x, y * y, x * y, np.ones(len(x)))]

    def statistic(weight: Floats) -> float:
        sx, sy, sxx, syy, sxy, n = (float(weight @ part) for part in parts)
        spread = (sxx - sx * sx / n) * (syy - sy * sy / n) if n else 0.0
        return (sxy - sx * sy / n) / sqrt(spread) if spread > 0 else 0.0

    return interval(days, statistic)


def diebold_mariano(gains: Floats) -> tuple[float, float]:
    """Return the statistic and the two-sided p of zero mean gain (Diebold & Mariano 1995), Newey–West over `LAGS`."""
    centred = gains - gains.mean()
    count = len(gains)
    variance = float(centred @ centred) / count
    for step in range(1, min(LAGS, count - 1) + 1):
        variance += 2 * (1 - step / (LAGS + 1)) * float(centred[step:] @ centred[:-step]) / count
    if variance <= 0:
        return 0.0, 1.0
    statistic = float(gains.mean()) / sqrt(variance / count)
    return statistic, erfc(abs(statistic) / sqrt(2))


def _by_day(days: Days, values: Floats) -> Floats:
    return np.asarray(np.bincount(days, values), dtype=np.float64)


class _Ranked:
    """Rows in order of their score, so that an AUC under new weights is one pass; ties count half by their place."""

    def __init__(self, actual: Floats, score: Floats, days: Days) -> None:
        order = np.argsort(score, kind="stable")
        self.days, self.positive = days[order], actual[order] == 1

    def auc(self, weight: Floats) -> float:
        each = weight[self.days]
        negative = np.where(self.positive, 0.0, each)
        below = np.cumsum(negative)
        positives, negatives = float(each[self.positive].sum()), float(below[-1])
        return (
            float((each * below)[self.positive].sum() / (positives * negatives)) if positives and negatives else np.nan
        )
