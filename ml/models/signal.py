"""Signal: calibrated probabilities of Buy, Hold and Sell from lines and boosted trees, and the action that would pay after costs.

Hold is the default: Buy or Sell only where the expected move, barrier × (probability up − probability down), beats the costs
by a margin that earned money on later data than the model was fitted on. Where no margin did, the signal always says Hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ml.data import labels
from ml.data.dataset import Dataset, Rows, Split, blocks, calibrating, thin
from ml.models import explanations
from ml.models.base import Model
from ml.models.online_correction import Correction, Shift
from ml.models.parts import blend, trees
from ml.models.parts.relative import relative
from quantstream import features
from quantstream.core.errors import DataRejected
from quantstream.core.rolling import Floats

ACTIONS = ("Sell", "Hold", "Buy")
ENOUGH = features.DAY + 1  # candles of history: a day must do, so that a young market has a signal
NAMES = tuple(name for name, definition in features.DEFINITIONS.items() if definition.back <= ENOUGH)
LABEL = "action"
UNIT = "log_rms_24h"  # what the barriers are measured in
SEED = 7
MARGINS = (1.0, 1.5, 2.0, 3.0, 5.0)  # times the costs that an expected move must reach
NEVER = 1.0  # an expected move of 100 % within an hour: always Hold
FEWEST_TAKEN = 50  # actions before their earnings say anything
MOST_AT_ONCE = 400_000  # rows in memory together: of more, the trees learn in batches and the lines from an even share
MOST_PRICED = 400_000  # rows that the margin is chosen on: more symbols at the same times say little more
SURE = 1.64  # standard errors above zero, one-sided 5 %


@dataclass(frozen=True)
class SignalOptions:
    """How much to learn; chosen by hand on candles up to 2023-09, `python -m ml tune` searches for better ones."""

    rounds: int = 250
    depth: int = 3
    eta: float = 0.04
    min_child_weight: float = 300.0
    strength: float = 0.01  # of the logistic regression: inverse of its penalty
    most_rows: int = 150_000


class Touch(Shift):
    """Shifts by how often a barrier was touched of late, against how often that was expected.

    Which one is left alone: two weeks of rising prices say nothing about the next hour.
    """

    def evidence(self, predicted: Floats, outcomes: Floats) -> Floats:
        """Return how quiet it was against what was expected: (2, 2, candles)."""
        return super().evidence(_quiet(predicted), np.where(np.isnan(outcomes), np.nan, outcomes == labels.HOLD))

    def correct(self, predicted: Floats, evidence: Sequence[Floats], rows: int) -> Floats:
        """Return them with another probability of Hold, and the others in proportion."""
        share = super().correct(_quiet(predicted), evidence, rows)[:, 1]
        moves: Floats = predicted * ((1 - share) / np.maximum(1 - predicted[:, labels.HOLD], 1e-12))[:, None]
        moves[:, labels.HOLD] = share
        return moves


def _quiet(predicted: Floats) -> Floats:
    """Probabilities that a barrier is touched, and that none is: (rows, 2)."""
    return np.stack([1 - predicted[:, labels.HOLD], predicted[:, labels.HOLD]], axis=1)


@dataclass
class SignalModel(Model):
    """A calibrated blend over the three actions."""

    kind: ClassVar[str] = "signal"
    outcomes: ClassVar[tuple[str, ...]] = (LABEL,)
    correction: ClassVar[Correction | None] = Touch(labels.HORIZON[LABEL])
    blend: blend.Blend
    needed: float = NEVER  # expected log return that an action must promise
    names: tuple[str, ...] = NAMES

    def predict(self, windows: Floats) -> Floats:
        """Return (rows, 3): probabilities of Sell, Hold, Buy."""
        return self.blend.probabilities(self.inputs(windows))

    def inputs(self, windows: Floats) -> Floats:
        """Return (rows, names): what the ensemble reads."""
        return _inputs(windows[:, -1])

    def actions(self, windows: Floats, probabilities: Floats) -> list[str]:
        """Return the action of each row whose expected move is large enough, else Hold."""
        edge = expected(windows[:, -1], probabilities)
        return ["Buy" if gain > self.needed else "Sell" if -gain > self.needed else "Hold" for gain in edge]

    def reasons(self, windows: Floats, actions: list[str]) -> list[list[str]]:
        """Return for each row the features that speak most for its action."""
        rows = windows[:, -1]
        share = self.blend.contributions(self.inputs(windows))
        return [
            explanations.strongest(self.names, rows[i], share[i, ACTIONS.index(action)], action)
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
    log_rms = rows[:, NAMES.index(UNIT)]
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
    if len(np.unique(data.labels[LABEL][split.fit])) < len(ACTIONS):
        raise DataRejected(
            "the candles hold no Buy, no Sell or no Hold to learn from: the market hardly moved; add history"
        )
    held = thin(calibrating(split, data.labels[LABEL], len(ACTIONS)), options.most_rows, SEED)
    later = data.matrix(held, NAMES)
    early = _ensemble(data, split.fit, options)
    chosen = blend.fit(early, _inputs(later), data.labels[LABEL][held], len(ACTIONS))
    priced = thin(split.calibrate, MOST_PRICED, SEED)
    needed = margin(_edge(data, chosen, priced), data.labels["return_1h"][priced])
    both = np.concatenate([split.fit, split.calibrate])
    return SignalModel(blend.settle(chosen, lambda: _ensemble(data, both, options)), needed)


def _edge(data: Dataset, chosen: blend.Blend, rows: Rows) -> Floats:
    found = data.matrix(rows, NAMES)
    return expected(found, chosen.probabilities(_inputs(found)))


def _inputs(rows: Floats) -> Floats:
    """Volatilities relative to the day's, and the day's as it is: in calm markets the costs set the barrier."""
    inputs, place = relative(rows, NAMES, UNIT), NAMES.index(UNIT)
    inputs[:, place] = rows[:, place]
    return inputs


def _ensemble(data: Dataset, among: Rows, options: SignalOptions) -> blend.Ensemble:
    rows = thin(np.sort(among), options.most_rows, SEED)
    table, actual = _taught(data, thin(rows, MOST_AT_ONCE, SEED))
    settings: dict[str, Any] = {
        "objective": "multi:softprob",
        "num_class": len(ACTIONS),
        "max_depth": options.depth,
        "eta": options.eta,
        "min_child_weight": options.min_child_weight,
    }
    if len(rows) == len(table):
        forest = trees.fit(table, actual, NAMES, options.rounds, SEED, **settings)
    else:
        parts = partial(_taught, data)
        forest = trees.fit_batches(
            lambda: map(parts, blocks(rows, MOST_AT_ONCE)), NAMES, options.rounds, SEED, **settings
        )
    lines = blend.straight(table, actual, len(ACTIONS), options.strength)
    return blend.Ensemble(lines, (blend.Member(forest),))


def _taught(data: Dataset, rows: Rows) -> tuple[Floats, Floats]:
    """What the ensemble reads of some rows, and the action that would have paid."""
    return _inputs(data.matrix(rows, NAMES)), data.labels[LABEL][rows]
