"""Signal: calibrated probabilities of Buy, Hold and Sell from lines and boosted trees, and the action that would pay after costs.

Hold is the default: Buy or Sell only where the expected move, barrier × (probability up − probability down), beats the costs
by a margin that earned money on later data than the model was fitted on. Where no margin did, the signal always says Hold.
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
MARGINS = (1.0, 1.5, 2.0, 3.0, 5.0)  # times the costs that an expected move must reach
NEVER = 1.0  # an expected move of 100 % within an hour: always Hold
FEWEST_TAKEN = 50  # actions before their earnings say anything
SURE = 1.64  # standard errors above zero, one-sided 5 %


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
    needed: float = NEVER  # expected log return that an action must promise
    names: tuple[str, ...] = NAMES

    def predict(self, windows: Floats) -> Floats:
        """Return (rows, 3): probabilities of Sell, Hold, Buy."""
        return self.blend.probabilities(windows[:, -1])

    def actions(self, windows: Floats, probabilities: Floats) -> list[str]:
        """Return the action of each row whose expected move is large enough, else Hold."""
        edge = expected(windows[:, -1], probabilities)
        return ["Buy" if gain > self.needed else "Sell" if -gain > self.needed else "Hold" for gain in edge]

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
        return {**self.blend.write(folder), "needed": self.needed}

    @classmethod
    def read(cls, folder: Path, state: dict[str, Any]) -> SignalModel:
        """Read the blend."""
        return cls(blend.read(folder, state, NAMES), float(state["needed"]))


def expected(rows: Floats, probabilities: Floats) -> Floats:
    """Return the expected log return of buying at each row, before costs: (rows,)."""
    log_rms = rows[:, NAMES.index("log_rms_24h")]
    edge: Floats = labels.barrier(np.exp(log_rms)) * (probabilities[:, labels.BUY] - probabilities[:, labels.SELL])
    return edge


def margin(edge: Floats, moved: Floats) -> float:
    """Return the smallest expected move that paid after costs on rows that moved by `moved`, `NEVER` when none did.

    Neighbouring rows share eleven of their twelve candles: a twelfth of them counts as independent.
    """
    for needed in (factor * labels.COST for factor in MARGINS):
        taken = (np.abs(edge) > needed) & np.isfinite(moved)
        earned = np.sign(edge[taken]) * moved[taken] - labels.COST
        if len(earned) < FEWEST_TAKEN:
            break
        if earned.mean() > SURE * earned.std() / np.sqrt(len(earned) / labels.HORIZON[LABEL]):
            return needed
    return NEVER


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
    later = data.matrix(held, NAMES)
    mixed = blend.fit([lines], forest, later, data.labels[LABEL][held], len(ACTIONS))
    return SignalModel(mixed, margin(expected(later, mixed.probabilities(later)), data.labels["return_1h"][held]))
