"""Risk: the calibrated probability that the coming hour moves abnormally, times 100.

The mean of two opinions on the log odds, a logistic regression on all features (hard to beat, never wild) and boosted trees
(they see the season and the interactions), then calibrated on later data.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ml import reasons
from ml.dataset import Dataset, Split, thin
from ml.models import logistic, trees
from ml.models.base import Model
from quantstream import features
from quantstream.errors import DataRejected
from quantstream.windows import Floats

NAMES = features.NAMES
LABEL = "abnormal"
SEED = 11
FILE = "trees.ubj"


@dataclass(frozen=True)
class RiskOptions:
    """How much to learn."""

    rounds: int = 200
    depth: int = 4
    most_rows: int = 600_000


@dataclass
class RiskModel(Model):
    """Two opinions and a calibrator on their mean log odds."""

    kind: ClassVar[str] = "risk"
    linear: logistic.Logistic
    trees: trees.Trees
    calibrator: logistic.Logistic
    names: tuple[str, ...] = NAMES

    def predict(self, windows: Floats) -> Floats:
        """Return (rows,): probability of an abnormal hour."""
        return self.calibrator.probabilities(_opinion(self.linear, self.trees, windows[:, -1]))[:, 1]

    def reasons(self, windows: Floats) -> list[list[str]]:
        """Return for each row the features that speak most for an abnormal hour."""
        rows = windows[:, -1]
        share = self.trees.contributions(rows)
        return [
            reasons.strongest(self.names, row, part, "an abnormal hour") for row, part in zip(rows, share, strict=True)
        ]

    @property
    def requirements(self) -> tuple[str, ...]:
        """Names of the packages it needs to be served."""
        return (*super().requirements, "xgboost")

    def write(self, folder: Path) -> dict[str, Any]:
        """Write the trees."""
        self.trees.save(folder / FILE)
        return {"linear": self.linear.state(), "calibrator": self.calibrator.state()}

    @classmethod
    def read(cls, folder: Path, state: dict[str, Any]) -> RiskModel:
        """Read the trees."""
        return cls(
            logistic.from_state(state["linear"]),
            trees.load(folder / FILE, NAMES),
            logistic.from_state(state["calibrator"]),
        )


def log_odds(probability: Floats) -> Floats:
    """Return the logit, kept finite."""
    inside = np.clip(probability, 1e-6, 1 - 1e-6)
    odds: Floats = np.log(inside / (1 - inside))
    return odds


def _opinion(linear: logistic.Logistic, forest: trees.Trees, rows: Floats) -> Floats:
    straight = linear.logits(rows)
    return ((straight[:, 1] - straight[:, 0] + log_odds(forest.predict(rows))) / 2)[:, None]


def fit(data: Dataset, split: Split, options: RiskOptions = RiskOptions()) -> RiskModel:
    """Fit on the split's first part, calibrate on its second.

    Raises: DataRejected when abnormal hours, or normal ones, are absent.
    """
    rows = thin(split.fit, options.most_rows, SEED)
    actual = data.labels[LABEL][rows]
    if len(np.unique(actual)) < 2:
        raise DataRejected("the candles hold no abnormal hour to learn from; add history")
    columns = data.matrix(rows, NAMES)
    linear = logistic.fit(columns, actual)
    forest = trees.fit(
        columns, actual, NAMES, options.rounds, SEED, objective="binary:logistic", max_depth=options.depth, eta=0.05
    )
    opinion = _opinion(linear, forest, data.matrix(split.calibrate, NAMES))
    return RiskModel(linear, forest, logistic.fit(opinion, data.labels[LABEL][split.calibrate]))
