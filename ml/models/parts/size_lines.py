"""Straight lines on how much the coming hour will move, read as a logit of whether that is abnormal.

How far an hour went says more than on which side of a threshold it fell, so a regression on the size (ridge: Hoerl & Kennard
1970) learns more from the same rows than a logistic one on yes or no, and carries farther into years that it was not fitted on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml.models.parts import blend, logistic
from quantstream.core.rolling import Floats


@dataclass(frozen=True)
class SizeLines:
    """Lines whose logit is `slope` times the size that they expect, plus `offset`."""

    lines: logistic.Logistic
    slope: float
    offset: float


def fit(rows: Floats, sizes: Floats, classes: Floats, penalty: float) -> tuple[SizeLines, Floats]:
    """Fit on (rows, columns), the actual sizes and whether they were abnormal; return the lines and their predictions.

    Rows are as `ml.models.parts.blend` shows them to lines. `penalty` is that of the squared weights of standardised columns.
    """
    from sklearn.linear_model import Ridge

    mean, scale, standard = blend.seen(rows)
    found = Ridge(alpha=penalty, solver="cholesky").fit(standard, sizes)
    expected = found.predict(standard)
    slope, offset = as_logit(expected, classes)
    weights = slope * found.coef_ / 2
    edge = (slope * float(found.intercept_) + offset) / 2
    lines = logistic.Logistic(mean, scale, np.stack([-weights, weights]), np.array([-edge, edge]))
    return SizeLines(lines, slope, offset), expected


def as_logit(expected: Floats, classes: Floats) -> tuple[float, float]:
    """Return slope and offset of the logit of class 1 in an expected size: (rows,) each."""
    fitted = logistic.fit(expected[:, None], classes)
    slope = float((fitted.weights[1] - fitted.weights[0])[0] / fitted.scale[0])
    return slope, float(fitted.intercept[1] - fitted.intercept[0]) - slope * float(fitted.mean[0])
