"""What is left of an edge after many were tried: wider intervals, and the deflated Sharpe ratio. Pure.

Whoever tries many candidates and reports the best reports luck, too. For figures with bootstrap bounds the right correction of
one claim out of `tried` is Bonferroni's (Dunn 1961, JASA 56:52–64): each interval at 1 − 0.05/tried, so that all hold at once
with 95 %, however the candidates depend on each other. For a Sharpe ratio it is the deflated one (Bailey & López de Prado 2014,
Journal of Portfolio Management 40:5): the chance that the true one is above what the best of `tried` worthless ones would show.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import e, isfinite, sqrt

from scipy.stats import norm  # type: ignore[import-untyped]

LEVEL = 0.05  # that a claim is false
EULER = 0.5772156649015329
LOW, HIGH = "_low", "_high"


def stretch(tried: int) -> float:
    """Return how many times wider an interval becomes: the normal quantile at 0.05 / tried over that at 0.05.

    Bootstrap draws are too few for quantiles so far out; their tail is taken as the normal one's.
    """
    return float(norm.isf(LEVEL / 2 / max(tried, 1)) / norm.isf(LEVEL / 2))


def deflated(pooled: Mapping[str, float], tried: int) -> dict[str, list[float]]:
    """Return the 95 % bounds of each figure that has some, (low, high), widened about its value for so many that were tried."""
    factor, found = stretch(tried), {}
    for name, value in pooled.items():
        low, high = pooled.get(name + LOW), pooled.get(name + HIGH)
        if low is not None and high is not None and all(map(isfinite, (value, low, high))):
            found[name] = [value - factor * (value - low), value + factor * (high - value)]
    return found


def expected_best(tried: int, spread: float) -> float:
    """Return the Sharpe ratio that the best of `tried` worthless strategies shows; `spread` is their standard deviation."""
    if tried < 2:
        return 0.0
    return spread * float((1 - EULER) * norm.isf(1 / tried) + EULER * norm.isf(1 / (tried * e)))


def deflated_sharpe(
    sharpe: float, periods: int, tried: int, spread: float | None = None, skew: float = 0.0, kurtosis: float = 3.0
) -> float:
    """Return the probability that the true Sharpe ratio is above what luck alone shows after so many trials.

    `sharpe` is per period, not annualised, of `periods` returns of this skewness and kurtosis (a normal's is 3). `spread` is the
    standard deviation of the trials' own Sharpe ratios; where it is not known, that of a worthless one's, 1 / √periods.
    """
    if periods < 2:
        return float("nan")
    luck = expected_best(tried, 1 / sqrt(periods) if spread is None else spread)
    variance = 1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe**2
    return float(norm.cdf((sharpe - luck) * sqrt(periods - 1) / sqrt(variance))) if variance > 0 else float("nan")
