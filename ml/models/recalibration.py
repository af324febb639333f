"""A probability corrected by its own last outcomes: its logit is moved by a line, level and slope, not by a level alone.

Between regimes a model errs not only in how often, but in how sure it is: a calm month makes large risks look larger than they
are. So the newest logit z becomes z + a + b (z − z₀), with a and b one Newton step of the logistic regression that a trailing
window of known outcomes asks for (Cox 1958), held back by the belief that nothing is wrong. The window is that of
`ml.models.online_correction`; sums are added as in `quantstream.core.rolling`: the newest row alone equals the whole series to
the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml.models.online_correction import CAUTION, FARTHEST, WINDOW
from quantstream.core.rolling import Floats, window_sum

CENTRE = float(np.log(0.1 / 0.9))  # z₀: one hour in ten is abnormal by definition
STIFFNESS = 300.0  # weight of the belief that the slope is right, in units of p (1 − p) z²
STEEPEST = 0.3  # of the slope's change: beyond that the model is wrong, not its calibration
LEAST = 1e-9  # no probability is nearer to 0 or 1: its logit would be infinite


def leaned(predicted: Floats, outcomes: Floats, ahead: int, rows: int | None = None) -> Floats:
    """Return the last `rows` probabilities (all without it) corrected by the outcomes known at their candle's close.

    `predicted` (candles,) lie on consecutive candles of one symbol, NaN where there was none, as `outcomes` (candles,), 0 or 1,
    each known `ahead` candles later.
    """
    size = len(predicted)
    count = size if rows is None else rows
    found = misses(predicted, outcomes)
    known = np.concatenate([np.zeros((len(found), max(WINDOW + count - size, 0) + ahead)), found], axis=1)
    known = known[:, : known.shape[1] - ahead]  # what is known at each candle, and no outcomes before the first
    return _lean(predicted[size - count :], window_sum(known[:, -(WINDOW + count - 1) :], WINDOW, count))


def leaned_now(predicted: Floats, found: Sequence[Floats], ahead: int) -> Floats:
    """Return the newest probabilities of many symbols, (symbols,), as `leaned` would.

    `found` are the `misses` of each symbol's last `ml.models.online_correction.REACH + 1` candles, the newest last.
    """
    ends = [one.shape[1] - ahead for one in found]
    windows = np.stack([one[:, end - WINDOW : end] for one, end in zip(found, ends, strict=True)])
    return _lean(predicted, window_sum(windows, WINDOW, 1)[..., 0].T)


def misses(predicted: Floats, outcomes: Floats) -> Floats:
    """Return the gradient and the curvature of the line's log likelihood at each candle: (5, candles), 0 where not known.

    In the rows: the miss, the miss times the logit's distance from `CENTRE`, and p (1 − p) times that distance to the powers 0
    to 2.
    """
    p, x = _safe(predicted), _distance(predicted)
    missed = outcomes - p
    known = np.isfinite(missed)
    missed, x = np.where(known, missed, 0.0), np.where(known, x, 0.0)
    weight = np.where(known, p * (1 - p), 0.0)
    return np.stack([missed, missed * x, weight, weight * x, weight * x * x])


def _safe(predicted: Floats) -> Floats:
    return np.clip(predicted, LEAST, 1 - LEAST)


def _distance(predicted: Floats) -> Floats:
    p = _safe(predicted)
    distance: Floats = np.log(p / (1 - p)) - CENTRE
    return distance


def _lean(predicted: Floats, sums: Floats) -> Floats:
    """`sums` of the `misses`: (5, rows)."""
    level, tilt, mass, first, second = sums
    mass, second = mass + CAUTION, second + STIFFNESS
    determinant = mass * second - first * first  # above zero: Cauchy and Schwarz, and both beliefs
    shift = np.clip((second * level - first * tilt) / determinant, -FARTHEST, FARTHEST)
    slope = np.clip((mass * tilt - first * level) / determinant, -STEEPEST, STEEPEST)
    newest = _distance(predicted)
    corrected: Floats = 1 / (1 + np.exp(-(CENTRE + newest + shift + slope * newest)))
    return corrected
