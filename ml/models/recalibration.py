"""A probability corrected by its own last outcomes: its logit is moved by a line, level and slope, not by a level alone.

Between regimes a model errs not only in how often, but in how sure it is: a calm month makes large risks look larger than they
are. So the newest logit z becomes z + a + b (z − z₀), with a and b one Newton step of the logistic regression that a trailing
window of known outcomes asks for (Cox 1958), held back by the belief that nothing is wrong. The window is that of
`ml.models.online_correction`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml.models.online_correction import CAUTION, FARTHEST, Correction, sums
from quantstream.core.rolling import Floats

CENTRE = float(np.log(0.1 / 0.9))  # z₀: one hour in ten is abnormal by definition
STIFFNESS = 300.0  # weight of the belief that the slope is right, in units of p (1 − p) z²
STEEPEST = 0.3  # of the slope's change: beyond that the model is wrong, not its calibration
LEAST = 1e-9  # no probability is nearer to 0 or 1: its logit would be infinite


@dataclass(frozen=True)
class Lean(Correction):
    """Probabilities, (…,), of outcomes 0 or 1, whose logits are moved by a line."""

    ahead: int  # candles until an outcome is known

    def evidence(self, predicted: Floats, outcomes: Floats) -> Floats:
        """Return the gradient and the curvature of the line's log likelihood at each candle: (5, candles), 0 where not known.

        In the rows: the miss, the miss times the logit's distance from `CENTRE`, and p (1 − p) times that distance to the
        powers 0 to 2.
        """
        p, x = _safe(predicted), _distance(predicted)
        missed = outcomes[:, 0] - p
        is_known = np.isfinite(missed)
        missed, x = np.where(is_known, missed, 0.0), np.where(is_known, x, 0.0)
        weight = np.where(is_known, p * (1 - p), 0.0)
        return np.stack([missed, missed * x, weight, weight * x, weight * x * x])

    def correct(self, predicted: Floats, evidence: Sequence[Floats], rows: int) -> Floats:
        """Return them leaned."""
        level, tilt, mass, first, second = sums(evidence, self.ahead, rows).T
        mass, second = mass + CAUTION, second + STIFFNESS
        determinant = mass * second - first * first  # above zero: Cauchy and Schwarz, and both beliefs
        shift = np.clip((second * level - first * tilt) / determinant, -FARTHEST, FARTHEST)
        slope = np.clip((mass * tilt - first * level) / determinant, -STEEPEST, STEEPEST)
        newest = _distance(predicted)
        corrected: Floats = 1 / (1 + np.exp(-(CENTRE + newest + shift + slope * newest)))
        return corrected


def _safe(predicted: Floats) -> Floats:
    return np.clip(predicted, LEAST, 1 - LEAST)


def _distance(predicted: Floats) -> Floats:
    p = _safe(predicted)
    distance: Floats = np.log(p / (1 - p)) - CENTRE
    return distance
