"""The signal's directions judged: where the usual hour goes, where its tails lean, and what buying is expected to earn.

Each is held against what it speaks of. Both are ranked against the next hour's return, whose middle the usual direction is about;
the tails also against the barrier that was touched, for of the middle they know nothing: there they may well be turned round.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml import measures
from ml.data import labels
from ml.data.dataset import Dataset, Rows
from ml.evaluation import bootstrap
from ml.evaluation.bootstrap import Blocks
from ml.evaluation.judgement import Chosen, over, windows_of
from ml.models.signal import LABEL, UNIT, SignalModel
from quantstream.core.rolling import Floats
from quantstream.setting_groups import BP

SIDES = ("_low", "_high")


@dataclass(frozen=True)
class Directions:
    """What a signal says of judged rows, (rows,) each, and what came; what it does not say is None."""

    tails: Floats  # P(Buy) − P(Sell)
    usual: Floats | None  # the chance that who buys ends higher
    expected: Floats | None  # log return of buying
    moved: Floats  # the next hour's log return, NaN where unknown
    action: Floats  # which barrier was touched
    came: Floats  # log return of buying and leaving at the barrier, else after the hour

    def figures(self, part: Chosen) -> dict[str, float]:
        """Return the figures of some rows."""
        known = part & np.isfinite(self.moved)
        moved, touched = self.moved[known], self.action[part] - labels.HOLD
        found = {
            "rank_ic_1h_tails": measures.rank_correlation(moved, self.tails[known]),
            "rank_ic_action_tails": measures.rank_correlation(touched, self.tails[part]),
        }
        told = known & (self.came != 0)
        if self.usual is None or self.expected is None or not told.any():
            return found
        expected, came = self.expected[known], self.came[known]
        found["rank_ic_1h"] = measures.rank_correlation(moved, self.usual[known])
        found["ece_usual"] = measures.calibration_error((self.came[told] > 0).astype(np.float64), self.usual[told])
        found["expected_gap_bp"] = float((expected - came).mean() * BP)
        found["expected_slope"] = _ratio(float(expected @ came), float(expected @ expected))
        return found

    def bounds(self, blocks: Blocks) -> dict[str, float]:
        """Return the 95 % bounds of what `figures` claims, drawn by whole blocks of time."""
        known = np.isfinite(self.moved)
        block = np.unique(blocks.of_row[known], return_inverse=True)[1].astype(np.intp)
        said = {"rank_ic_1h": self.usual, "rank_ic_1h_tails": self.tails, "rank_ic_action_tails": self.tails}
        found = {
            name: bootstrap.rank_correlation_bounds(self._actual(name)[known], score[known], block)
            for name, score in said.items()
            if score is not None
        }
        if self.expected is not None:
            found |= _bounds_of_expected(self.expected[known], self.came[known], block)
        return {f"{name}{side}": end for name, both in found.items() for side, end in zip(SIDES, both, strict=True)}

    def _actual(self, name: str) -> Floats:
        return self.action if "action" in name else self.moved


def _bounds_of_expected(expected: Floats, came: Floats, block: bootstrap.Days) -> dict[str, tuple[float, float]]:
    with_it, itself, gap, rows = (
        np.bincount(block, each) for each in (expected * came, expected**2, (expected - came) * BP, np.ones(len(came)))
    )
    return {
        "expected_slope": bootstrap.interval(
            block, lambda weight: _ratio(float(weight @ with_it), float(weight @ itself))
        ),
        "expected_gap_bp": bootstrap.interval(block, lambda weight: _ratio(float(weight @ gap), float(weight @ rows))),
    }


def _ratio(above: float, below: float) -> float:
    return above / max(below, 1e-300)


def directions_of(model: SignalModel, data: Dataset, rows: Rows, probability: Floats) -> Directions:
    """Return what a signal that says these probabilities, (rows, 3), says of judged rows, and what came of them."""
    said = over(np.arange(len(rows)), lambda some: _said(model, data, rows[some], probability[some]))
    moved, action = data.labels["return_1h"][rows], data.labels[LABEL][rows]
    touched, is_known = action - labels.HOLD, model.middle is not None
    return Directions(
        tails=probability[:, labels.BUY] - probability[:, labels.SELL],
        usual=said[:, 1] if is_known else None,
        expected=said[:, 2] if is_known else None,
        moved=moved,
        action=action,
        came=np.where(touched == 0, moved, touched * said[:, 0]),
    )


def _said(model: SignalModel, data: Dataset, rows: Rows, probability: Floats) -> Floats:
    """The barrier, the chance of ending higher and the expected return, NaN where the model says none: (rows, 3)."""
    windows = windows_of(model, data, rows)
    unknown = np.full(len(rows), np.nan)
    width = labels.barrier(np.exp(data.matrix(rows, (UNIT,))[:, 0]))
    said = (model.usually_up(windows, probability), model.expected(windows, probability))
    return np.stack([width, *(unknown if one is None else one for one in said)], axis=1)
