"""Risk: the calibrated probability that the coming hour moves abnormally, times 100.

A blend of a logistic regression, on all features or on the HAR terms alone, and of boosted trees: what a history of this
length supports decides itself on later data.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ml import reasons
from ml.dataset import Dataset, Rows, Split, thin
from ml.models import blend, logistic, trees
from ml.models.base import Model, columns
from quantstream import features
from quantstream.errors import DataRejected
from quantstream.windows import Floats

NAMES = features.NAMES
HAR = ("log_rms_1h", "log_rms_6h", "log_rms_24h", "log_rms_7d", "log_threshold_30d")  # Corsi 2009, and the threshold
LABEL = "abnormal"
SEED = 11


@dataclass(frozen=True)
class RiskOptions:
    """How much to learn."""

    rounds: int = 200
    depth: int = 4
    most_rows: int = 600_000


@dataclass
class RiskModel(Model):
    """A calibrated blend over ordinary and abnormal."""

    kind: ClassVar[str] = "risk"
    blend: blend.Blend
    names: tuple[str, ...] = NAMES

    def predict(self, windows: Floats) -> Floats:
        """Return (rows,): probability of an abnormal hour."""
        return self.blend.probabilities(windows[:, -1])[:, 1]

    def reasons(self, windows: Floats) -> list[list[str]]:
        """Return for each row the features that speak most for an abnormal hour."""
        rows = windows[:, -1]
        share = self.blend.contributions(rows)[:, 1]
        return [
            reasons.strongest(self.names, row, part, "an abnormal hour") for row, part in zip(rows, share, strict=True)
        ]

    @property
    def requirements(self) -> tuple[str, ...]:
        """Names of the packages it needs to be served."""
        return (*super().requirements, "xgboost")

    def write(self, folder: Path) -> dict[str, Any]:
        """Write the blend."""
        return self.blend.write(folder)

    @classmethod
    def read(cls, folder: Path, state: dict[str, Any]) -> RiskModel:
        """Read the blend."""
        return cls(blend.read(folder, state, NAMES))


def har_logit(data: Dataset, rows: Rows) -> logistic.Logistic:
    """Return the baseline: logistic regression on the standardised HAR terms, as weights over all `NAMES`."""
    plain = logistic.fit(data.matrix(rows, HAR), data.labels[LABEL][rows])
    places = columns(HAR)
    mean, scale, weights = np.zeros(len(NAMES)), np.ones(len(NAMES)), np.zeros((2, len(NAMES)))
    mean[places], scale[places], weights[:, places] = plain.mean, plain.scale, plain.weights
    return logistic.Logistic(mean, scale, weights, plain.intercept)


def fit(data: Dataset, split: Split, options: RiskOptions = RiskOptions()) -> RiskModel:
    """Fit on the split's first part, mix and calibrate on its second.

    Raises: DataRejected when abnormal hours, or normal ones, are absent.
    """
    rows = thin(split.fit, options.most_rows, SEED)
    actual = data.labels[LABEL][rows]
    if len(np.unique(actual)) < 2:
        raise DataRejected("the candles hold no abnormal hour to learn from; add history")
    table = data.matrix(rows, NAMES)
    lines = [logistic.fit(table, actual), logistic.fit(table, actual, strength=0.003), har_logit(data, rows)]
    forest = trees.fit(
        table, actual, NAMES, options.rounds, SEED, objective="binary:logistic", max_depth=options.depth, eta=0.05
    )
    held = split.calibrate
    return RiskModel(blend.fit(lines, forest, data.matrix(held, NAMES), data.labels[LABEL][held], 2))
