"""Signal: calibrated probabilities of Buy, Hold and Sell from lines and boosted trees, and the action that would pay after costs.

Hold is the default: Buy or Sell only where the expected return, of all three outcomes, beats the costs by a margin that earned
money on later data than the model was fitted on. Where no margin did, the signal always says Hold. The costs are the user's and
come with the question: the model knows none.

The probabilities say which barrier is touched, so Buy less Sell says which way the *tails* lean. Which way the *usual* hour goes
is another matter, for most hours touch none: `usually_up` counts those, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from ml.data import labels
from ml.data.dataset import Dataset, Rows, Split, blocks, calibrating, thin
from ml.models import explanations
from ml.models.base import Model
from ml.models.online_correction import Correction, Shift
from ml.models.parts import blend, middle, thresholds, trees
from ml.models.parts.relative import relative
from quantstream import features
from quantstream.core.errors import DataRejected
from quantstream.core.rolling import Floats

Action = Literal["Buy", "Hold", "Sell"]
ACTIONS: tuple[Action, ...] = ("Sell", "Hold", "Buy")
ENOUGH = features.DAY + 1  # candles of history: a day must do, so that a young market has a signal
NAMES = tuple(name for name, definition in features.DEFINITIONS.items() if definition.back <= ENOUGH)
LABEL = "action"
UNIT = "log_rms_24h"  # what the barriers are measured in
SEED = 7
MOST_AT_ONCE = 400_000  # rows in memory together: of more, the trees learn in batches and the lines from an even share
MOST_PRICED = 400_000  # rows that margins are tried on: more symbols at the same times say little more
MOMENTA = middle.columns(NAMES)


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
    asks: thresholds.Thresholds = field(default_factory=thresholds.Fixed)
    middle: middle.Middle | None = None  # models of before have none, nor has one whose market told nothing of it
    names: tuple[str, ...] = NAMES

    def predict(self, windows: Floats) -> Floats:
        """Return (rows, 3): probabilities of Sell, Hold, Buy."""
        return self.blend.probabilities(self.inputs(windows))

    def inputs(self, windows: Floats) -> Floats:
        """Return (rows, names): what the ensemble reads."""
        return _inputs(windows[:, -1])

    def actions(self, windows: Floats, probabilities: Floats, cost: float) -> list[Action]:
        """Return the action of each row whose expected return is large enough, else Hold.

        `cost` is that of entering and leaving a position, as a share of its price.
        """
        edge, needed = expected(windows[:, -1], probabilities, self.middle), self.asks.needed(cost)
        return ["Buy" if gain > needed else "Sell" if -gain > needed else "Hold" for gain in edge]

    def usually_up(self, windows: Floats, probabilities: Floats) -> Floats | None:
        """Return the chance that who buys ends higher, at a barrier or when the hour is over: (rows,); None where unknown."""
        if self.middle is None:
            return None
        up = self.middle.up(windows[:, -1][:, MOMENTA])
        chance: Floats = probabilities[:, labels.BUY] + probabilities[:, labels.HOLD] * up
        return chance

    def expected(self, windows: Floats, probabilities: Floats) -> Floats | None:
        """Return the expected log return of buying before costs, (rows,); None where the usual hour is not known."""
        return None if self.middle is None else expected(windows[:, -1], probabilities, self.middle)

    def reasons(self, windows: Floats, actions: Sequence[Action]) -> list[list[str]]:
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
        """Write the blend, what following it earned, and the middle."""
        rest = {"middle": self.middle.state()} if self.middle is not None else {}
        return {**self.blend.write(folder), **self.asks.state(), **rest}

    @classmethod
    def read(cls, folder: Path, state: dict[str, Any]) -> SignalModel:
        """Read them; a model of before has one threshold and no middle."""
        usual = middle.from_state(state["middle"]) if "middle" in state else None
        return cls(blend.read(folder, state, NAMES), thresholds.read(state), usual)


def expected(rows: Floats, probabilities: Floats, usual: middle.Middle | None) -> Floats:
    """Return the expected log return of buying at each row, before costs: (rows,).

    Bought now and sold at the barrier that is touched first, or when the hour is over. Without a middle hours that touch none
    count as if they came to nothing.
    """
    lean = probabilities[:, labels.BUY] - probabilities[:, labels.SELL]
    if usual is not None:
        lean = lean + probabilities[:, labels.HOLD] * usual.size * (2 * usual.up(rows[:, MOMENTA]) - 1)
    edge: Floats = labels.barrier(np.exp(rows[:, NAMES.index(UNIT)])) * lean
    return edge


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
    edge = _edge(data, chosen, _middle(data, split.fit, options), priced)
    asks = thresholds.earned(edge, data.labels["return_1h"][priced], data.opened_at[priced])
    both = np.concatenate([split.fit, split.calibrate])
    settled = blend.settle(chosen, lambda: _ensemble(data, both, options))
    return SignalModel(settled, asks, _middle(data, both, options))


def _edge(data: Dataset, chosen: blend.Blend, usual: middle.Middle | None, rows: Rows) -> Floats:
    found = data.matrix(rows, NAMES)
    return expected(found, chosen.probabilities(_inputs(found)), usual)


def _middle(data: Dataset, among: Rows, options: SignalOptions) -> middle.Middle | None:
    """What the hours say that touched no barrier."""
    rows = thin(np.sort(among), min(options.most_rows, MOST_AT_ONCE), SEED)
    rows = rows[data.labels[LABEL][rows] == labels.HOLD]
    width = labels.barrier(np.exp(data.matrix(rows, (UNIT,))[:, 0]))
    return middle.fit(data.matrix(rows, middle.NAMES), data.labels["return_1h"][rows] / width)


def _inputs(rows: Floats) -> Floats:
    """Volatilities relative to the day's, and the day's as it is: in calm markets the barrier is the least one."""
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
