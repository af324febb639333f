"""Whether value at risk and expected shortfall held: how often they were exceeded, whether in clusters, and by how much.

The textbook tests (Kupiec 1995, Christoffersen 1998) take each window as drawn independently of all others. Losses of a market
come together, in time and over symbols, so these tests reject too often what is right; the bounds beside them are of a bootstrap
by whole blocks of time, of all symbols at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erfc, sqrt

import numpy as np
import numpy.typing as npt

from ml.evaluation import bootstrap
from quantstream.core.rolling import Floats

Hits = npt.NDArray[np.bool_]
Times = npt.NDArray[np.int64]
FEWEST_BLOCKS = 4  # that bounds are drawn from: of fewer they would be a guess of their own
SMALLEST = 1e-12  # of an expected shortfall: the log of nothing would cost infinitely much


@dataclass(frozen=True)
class Coverage:
    """How a level held over some windows: `low` and `high` bound the share that exceeded it."""

    windows: int
    exceeded: int
    low: float
    high: float
    kupiec_p: float
    christoffersen_p: float
    clustering: float  # how many times as often an exceedance follows on one as it comes at all; 1 without clusters
    shortfall_excess: float  # how far the mean loss beyond is above the expected shortfall, of exceedances as promised
    shortfall_low: float
    shortfall_high: float

    @property
    def share(self) -> float:
        """The share of windows that exceeded it; 1 − level is right."""
        return self.exceeded / self.windows if self.windows else float("nan")

    def holds(self, level: float) -> bool:
        """Tell whether the level's own share lies within the bounds."""
        return self.low <= 1 - level <= self.high


def judge(losses: Floats, value: Floats, shortfall: Floats, level: float, at: Times, step: int, block: int) -> Coverage:
    """Return how a level held.

    `losses`, `value` and `shortfall` are (symbols, times), NaN where nothing was said or is known; `at` are regular times (µs).
    Windows are as long as `step` times. Bounds are drawn by blocks of `block` µs; the textbook tests see windows that do not
    overlap, each `step`-th.
    """
    known = np.isfinite(losses) & np.isfinite(value)
    hits = known & (losses > np.where(known, value, np.inf))
    alone = slice(None, None, step)
    beyond = np.where(hits, losses / np.where(known, shortfall, 1.0), 0.0)
    blocks = np.unique(at // block, return_inverse=True)[1].astype(np.intp)
    windows, exceeded, lost = (
        np.bincount(blocks, part.sum(axis=0)).astype(np.float64) for part in (known, hits, beyond)
    )
    has_some = windows > 0
    windows, exceeded, lost = windows[has_some], exceeded[has_some], lost[has_some]
    promised: Floats = windows * (1 - level)
    bounds = _bounds(exceeded, windows, 0.0)
    excess = _bounds(lost, promised, -1.0)
    count = int(windows.sum())
    return Coverage(
        count,
        int(exceeded.sum()),
        *bounds,
        kupiec(int(hits[:, alone].sum()), int(known[:, alone].sum()), level),
        christoffersen(hits[:, alone], known[:, alone]),
        clustering(hits, known, step),
        float(lost.sum()) / max(float(promised.sum()), SMALLEST) - 1,
        *excess,
    )


def kupiec(exceeded: int, windows: int, level: float) -> float:
    """Return the probability of a share so far from 1 − level by chance, were windows independent (Kupiec 1995); NaN of none."""
    if not windows:
        return float("nan")
    expected = 1 - level
    ratio = _likelihood(exceeded, windows, exceeded / windows) - _likelihood(exceeded, windows, expected)
    return _beyond(2 * ratio)


def christoffersen(hits: Hits, known: Hits) -> float:
    """Return the probability of exceedances so clustered by chance (Christoffersen 1998, independence), (symbols, times).

    NaN where fewer than two exceedances leave nothing to say.
    """
    pairs = known[:, :-1] & known[:, 1:]
    before, after = hits[:, :-1][pairs], hits[:, 1:][pairs]
    counts = [(int((after & side).sum()), int(side.sum())) for side in (before, ~before)]
    total, windows = sum(count for count, _ in counts), sum(count for _, count in counts)
    if total < 2 or not counts[0][1]:
        return float("nan")
    apart = sum(_likelihood(count, size, count / size) for count, size in counts if size)
    return _beyond(2 * (apart - _likelihood(total, windows, total / windows)))


def clustering(hits: Hits, known: Hits, step: int) -> float:
    """Return how many times as often a window is exceeded after one that was, `step` times before, as at all; NaN of none."""
    pairs = known[:, :-step] & known[:, step:] if known.shape[1] > step else known[:, :0]
    before, after = hits[:, : pairs.shape[1]][pairs], hits[:, hits.shape[1] - pairs.shape[1] :][pairs]
    if not before.any() or not after.any():
        return float("nan")
    return float(after[before].mean() / after.mean())


def joint_loss(losses: Floats, value: Floats, shortfall: Floats, level: float) -> Floats:
    """Return each window's FZ0 loss, which both numbers together must earn (Fissler & Ziegel 2016; Patton et al. 2019)."""
    floor = np.maximum(shortfall, SMALLEST)
    beyond = np.maximum(losses - value, 0.0) / ((1 - level) * floor)
    return np.asarray(beyond + value / floor + np.log(floor) - 1)


def _bounds(above: Floats, below: Floats, plus: float) -> tuple[float, float]:
    """The 95 % bounds of a ratio of sums over blocks; NaN where there are too few to draw from."""
    if len(below) < FEWEST_BLOCKS:
        return float("nan"), float("nan")
    return bootstrap.interval(
        np.arange(len(below)), lambda w: float(w @ above) / max(float(w @ below), SMALLEST) + plus
    )


def _likelihood(count: int, size: int, share: float) -> float:
    """Log likelihood of so many of so many at a share; what did not happen costs nothing."""
    parts = ((count, share), (size - count, 1 - share))
    return sum(number * float(np.log(max(each, SMALLEST))) for number, each in parts if number)


def _beyond(statistic: float) -> float:
    """The upper tail of χ² with one degree of freedom."""
    return erfc(sqrt(max(statistic, 0.0) / 2))
