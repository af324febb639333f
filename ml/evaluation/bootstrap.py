"""How sure a figure is: bootstrap over whole days, and the Diebold–Mariano test on daily means.

Five-minute rows overlap and volatility clusters, so rows are no independent draws. Days are drawn, of all symbols at once,
because symbols move together.
"""

from __future__ import annotations

from collections.abc import Callable
from math import erfc, sqrt

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata  # type: ignore[import-untyped]

from quantstream.core.rolling import Floats
from quantstream.core.time import DAY

DRAWS = 300
BOUNDS = (0.025, 0.975)
SEED = 17
LAGS = 5  # days over which losses are taken as correlated
Days = npt.NDArray[np.intp]


def days_of(opened_at: npt.NDArray[np.int64]) -> Days:
    """Return each row's day, counted from 0 without gaps."""
    return np.unique(opened_at // DAY, return_inverse=True)[1].astype(np.intp)


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
