"""Signal: calibrated probabilities of Buy, Hold and Sell from lines and boosted trees, and the action that would pay after costs.

Hold is the default: Buy or Sell only where the expected move, barrier × (probability up − probability down), beats the costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ml import labels, reasons
from ml.dataset import Dataset, Split, thin
from ml.models import blend, logistic, trees
from ml.models.base import Model
from quantstream import features
from quantstream.errors import DataRejected
from quantstream.windows import Floats

ACTIONS = ("Sell", "Hold", "Buy")
NEEDS_LONGER = ("log_rms_7d", "log_threshold_30d", "log_seasonal_rms_7d")  # so that a day's history is enough
NAMES = tuple(name for name in features.NAMES if name not in NEEDS_LONGER)
LABEL = "action"
SEED = 7


@dataclass(frozen=True)
class SignalOptions:
    """How much to learn."""

    rounds: int = 150
    depth: int = 3
    most_rows: int = 600_000


@dataclass
class SignalModel(Model):
    """A calibrated blend over the three actions."""

    kind: ClassVar[str] = "signal"
    blend: blend.Blend
    names: tuple[str, ...] = NAMES

    def predict(self, windows: Floats) -> Floats:
        """Return (rows, 3): probabilities of Sell, Hold, Buy."""
        return self.blend.probabilities(windows[:, -1])

    def actions(self, windows: Floats, probabilities: Floats) -> list[str]:
        """Return the action of each row that would pay after costs, else Hold."""
        log_rms = windows[:, -1, self.names.index("log_rms_24h")]
        edge = labels.barrier(np.exp(log_rms)) * (probabilities[:, labels.BUY] - probabilities[:, labels.SELL])
        return ["Buy" if gain > labels.COST else "Sell" if -gain > labels.COST else "Hold" for gain in edge]

    def reasons(self, windows: Floats, actions: list[str]) -> list[list[str]]:
        """Return for each row the features that speak most for its action."""
        rows = windows[:, -1]
        share = self.blend.contributions(rows)
        return [
            reasons.strongest(self.names, rows[i], share[i, ACTIONS.index(action)], action)
            for i, action in enumerate(actions)
        ]

    @property
    def requirements(self) -> tuple[str, ...]:
        """Names of the packages it needs to be served."""
        return (*super().requirements, "xgboost")

    def write(self, folder: Path) -> dict[str, Any]:
        """Write the blend."""
        return self.blend.write(folder)

    @classmethod
    def read(cls, folder: Path, state: dict[str, Any]) -> SignalModel:
        """Read the blend."""
        return cls(blend.read(folder, state, NAMES))


def fit(data: Dataset, split: Split, options: SignalOptions = SignalOptions()) -> SignalModel:
    """Fit on the split's first part, mix and calibrate on its second.

    Raises: DataRejected when the market never moved enough for one of the three actions.
    """
    rows = thin(split.fit, options.most_rows, SEED)
    actual, columns = data.labels[LABEL][rows], data.matrix(rows, NAMES)
    if len(np.unique(actual)) < len(ACTIONS):
        raise DataRejected(
            "the candles hold no Buy, no Sell or no Hold to learn from: the market hardly moved; add history"
        )
    lines = logistic.fit(columns, actual, len(ACTIONS))
    forest = trees.fit(
        columns,
        actual,
        NAMES,
        options.rounds,
        SEED,
        objective="multi:softprob",
        num_class=len(ACTIONS),
        max_depth=options.depth,
        eta=0.05,
    )
    held = split.calibrate
    return SignalModel(blend.fit([lines], forest, data.matrix(held, NAMES), data.labels[LABEL][held], len(ACTIONS)))
