"""Standardised logistic regression as plain numbers: the baseline, a part of the risk score, and the calibrator of trees.

Fitted by scikit-learn, kept as arrays so that it saves as JSON and predicts one row without overhead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantstream.core.rolling import Floats


@dataclass(frozen=True)
class Logistic:
    """Multinomial logistic regression on standardised columns; `weights` is (classes, columns)."""

    mean: Floats
    scale: Floats
    weights: Floats
    intercept: Floats

    def logits(self, columns: Floats) -> Floats:
        """Return (rows, classes), summed column by column so that rows do not influence each other's rounding."""
        standard = (columns - self.mean) / self.scale
        result = np.tile(self.intercept, (len(columns), 1))
        for i in range(standard.shape[1]):
            result += standard[:, i : i + 1] * self.weights[:, i]
        return result

    def probabilities(self, columns: Floats) -> Floats:
        """Return (rows, classes)."""
        return softmax(self.logits(columns))

    def state(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "mean": self.mean.tolist(),
            "scale": self.scale.tolist(),
            "weights": self.weights.tolist(),
            "intercept": self.intercept.tolist(),
        }


def from_state(state: dict[str, Any]) -> Logistic:
    """Return what `state` printed."""
    return Logistic(
        **{name: np.array(state[name], dtype=np.float64) for name in ("mean", "scale", "weights", "intercept")}
    )


def fit(columns: Floats, classes: Sequence[int] | Floats, count: int = 2, strength: float = 1.0) -> Logistic:
    """Fit on (rows, columns) and class numbers below `count`; `strength` is the inverse of the L2 penalty.

    A class that never occurs gets a probability near zero.
    """
    from sklearn.linear_model import LogisticRegression

    mean, scale = columns.mean(axis=0), columns.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    actual = np.asarray(classes).astype(int)
    present = np.unique(actual)
    weights, intercept = np.zeros((count, columns.shape[1])), np.full(count, -20.0)
    if len(present) == 1:
        intercept[present] = 0.0
        return Logistic(mean, scale, weights, intercept)
    fitted = LogisticRegression(C=strength, max_iter=1000).fit((columns - mean) / scale, actual)
    if len(present) == 2:  # scikit-learn keeps one row of weights, for the second class
        weights[present[1]], intercept[present] = fitted.coef_[0], (0.0, fitted.intercept_[0])
    else:
        weights[present], intercept[present] = fitted.coef_, fitted.intercept_
    return Logistic(mean, scale, weights, intercept)


def softmax(logits: Floats) -> Floats:
    """Return probabilities over the last axis."""
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: Floats = raised / raised.sum(axis=-1, keepdims=True)
    return shares
