"""Risk: the calibrated probability that the coming hour moves abnormally, times 100.

The same candles are looked at in two ways. One reads volatilities relative to the threshold that decides what is abnormal, the
other how unusual they are for their month: where regimes change the two err differently, and their mean errs less. In each,
lines say how much the coming hour will move; half of the say have trees that learn what is left of the size, half trees that
learn what is left of yes or no. Nothing of this is chosen on the calibration part, which is one regime only; a history of some
weeks has lines alone, one of some days lines on the HAR terms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ml.data import labels
from ml.data.dataset import Dataset, Rows, Split, calibrating, thin
from ml.models import explanations
from ml.models.base import Model, columns
from ml.models.online_correction import Correction
from ml.models.parts import blend, logistic, size_lines, trees
from ml.models.parts.relative import PREFIXES, relative
from ml.models.recalibration import Lean
from quantstream import features
from quantstream.core.errors import DataRejected
from quantstream.core.rolling import Floats

NAMES = features.NAMES
HAR = ("log_rms_1h", "log_rms_6h", "log_rms_24h", "log_rms_7d", "log_threshold_30d")  # Corsi 2009, and the threshold
UNIT = "log_threshold_30d"
UNUSUAL = "_unusual_30d"
VIEWS = {
    "levels": tuple(name for name in NAMES if not name.endswith(UNUSUAL)),
    "unusual": tuple(
        name for name in NAMES if not name.startswith(PREFIXES) or name == "log_seasonal_range_weekly_28d"
    ),
}
LABEL = "abnormal"
SIZE = "log_rms_next_1h"
SEED = 11
LIMIT = 3.0  # of the log volatility against the threshold: farther off is far
STILL = float(np.log(features.RMS_FLOOR))  # the threshold of a market that has not moved
MEASURED = np.array([name.startswith(PREFIXES) or name.endswith(UNUSUAL) for name in NAMES], dtype=np.float64)


@dataclass(frozen=True)
class RiskOptions:
    """How much to learn; chosen by hand on candles up to 2023-09, `python -m ml tune` searches for better ones."""

    rounds: int = 300
    depth: int = 3
    eta: float = 0.04
    min_child_weight: float = 300.0
    penalty: float = 3_000.0  # of the lines' squared weights: as much as a day of ten symbols
    lines_from: int = 12_000  # rows: fewer teach no more than the HAR terms
    trees_from: int = 40_000  # rows: fewer teach trees their own weeks by heart
    most_rows: int = 200_000


@dataclass
class RiskModel(Model):
    """Ensembles that tell ordinary from abnormal, mixed for each view, and the calibration of their mean."""

    kind: ClassVar[str] = "risk"
    outcomes: ClassVar[tuple[str, ...]] = (LABEL,)
    correction: ClassVar[Correction | None] = Lean(labels.HORIZON[LABEL])
    mixes: dict[str, blend.Mix]  # by the view's name
    calibrator: logistic.Logistic
    names: tuple[str, ...] = NAMES

    def predict(self, windows: Floats) -> Floats:
        """Return (rows,): probability of an abnormal hour."""
        return self.calibrator.probabilities(_mean_logit(self.mixes, self.inputs(windows)))[:, 1]

    def inputs(self, windows: Floats) -> Floats:
        """Return (rows, names): what the ensembles read."""
        return _inputs(windows[:, -1])

    def reasons(self, windows: Floats) -> list[list[str]]:
        """Return for each row the features that speak most for an abnormal hour."""
        rows, share = windows[:, -1], self.contributions(self.inputs(windows))
        return [
            explanations.strongest(self.names, row, part, "an abnormal hour")
            for row, part in zip(rows, share, strict=True)
        ]

    def contributions(self, inputs: Floats) -> Floats:
        """Return each feature's part in the views' mean logit of an abnormal hour, before calibration: (rows, names)."""
        parts = np.zeros(inputs.shape)
        for view, one in self.mixes.items():
            found = one.contributions(inputs[:, columns(VIEWS[view])])
            parts[:, columns(VIEWS[view])] += (found[:, 1] - found[:, 0]) / len(self.mixes)
        return parts

    @property
    def requirements(self) -> tuple[str, ...]:
        """Names of the packages it needs to be served."""
        return (*super().requirements, "xgboost")

    def write(self, folder: Path) -> dict[str, Any]:
        """Write the mixes."""
        mixes = {view: one.write(folder, f"{view}_") for view, one in self.mixes.items()}
        return {"mixes": mixes, "calibrator": self.calibrator.state()}

    @classmethod
    def read(cls, folder: Path, state: dict[str, Any]) -> RiskModel:
        """Read the mixes."""
        mixes = {
            view: blend.read_mix(folder, one, VIEWS[view], f"{view}_") for view, one in sorted(state["mixes"].items())
        }
        return cls(mixes, logistic.from_state(state["calibrator"]))


def har_logit(data: Dataset, rows: Rows) -> logistic.Logistic:
    """Return the baseline: logistic regression on the standardised HAR terms, as weights over all `NAMES`."""
    plain = logistic.fit(data.matrix(rows, HAR), data.labels[LABEL][rows])
    places = columns(HAR)
    mean, scale, weights = np.zeros(len(NAMES)), np.ones(len(NAMES)), np.zeros((2, len(NAMES)))
    mean[places], scale[places], weights[:, places] = plain.mean, plain.scale, plain.weights
    return logistic.Logistic(mean, scale, weights, plain.intercept)


def fit(data: Dataset, split: Split, options: RiskOptions = RiskOptions()) -> RiskModel:
    """Fit on the split's first part and calibrate on its second, then fit anew on both.

    Raises: DataRejected when abnormal hours, or normal ones, are absent.
    """
    if len(np.unique(data.labels[LABEL][split.fit])) < 2:
        raise DataRejected("the candles hold no abnormal hour to learn from; add history")
    held = thin(calibrating(split, data.labels[LABEL], 2), options.most_rows, SEED)
    later, actual = _inputs(data.matrix(held, NAMES)), data.labels[LABEL][held]
    both = np.concatenate([split.fit, split.calibrate])
    form = _former(len(both), options)
    calibrator = logistic.fit(_mean_logit(form(_taught(data, split.fit, options)), later), actual)
    return RiskModel(form(_taught(data, both, options)), calibrator)


def _former(rows: int, options: RiskOptions) -> Callable[[_Taught], dict[str, blend.Mix]]:
    """Return how so many rows are learnt from."""
    if rows < options.lines_from:
        return lambda taught: {"levels": _lines(taught, "levels", HAR, options)}
    one = _lines if rows < options.trees_from else _mixed
    return lambda taught: {view: one(taught, view, names, options) for view, names in VIEWS.items()}


def _mean_logit(mixes: Mapping[str, blend.Mix], inputs: Floats) -> Floats:
    """Return the views' mean logit of an abnormal hour, (rows, 1)."""
    logits = [one.mixed(inputs[:, columns(VIEWS[view])]) for view, one in mixes.items()]
    return sum((one[:, 1:] - one[:, :1] for one in logits), np.zeros((len(inputs), 1))) / len(mixes)


def _inputs(rows: Floats) -> Floats:
    """Volatilities relative to the threshold; after a month without any move all are at its floor, and yet far from abnormal."""
    inputs = relative(rows, NAMES, UNIT)
    inputs[rows[:, NAMES.index(UNIT)] <= STILL] -= MEASURED * LIMIT
    return inputs


@dataclass(frozen=True)
class _Taught:
    """Rows to learn from: what is seen of them, whether the hour was abnormal, and how large it was against the threshold."""

    table: Floats
    actual: Floats
    size: Floats


def _taught(data: Dataset, among: Rows, options: RiskOptions) -> _Taught:
    rows = thin(np.sort(among), options.most_rows, SEED)
    raw = data.matrix(rows, NAMES)
    size = np.clip(data.labels[SIZE][rows] - raw[:, NAMES.index(UNIT)], -LIMIT, LIMIT)
    return _Taught(_inputs(raw), data.labels[LABEL][rows], size)


def _lines(taught: _Taught, view: str, names: Sequence[str], options: RiskOptions) -> blend.Mix:
    """Lines of a view on some of its features, the others unseen."""
    seen = np.where(np.isin(VIEWS[view], names), taught.table[:, columns(VIEWS[view])], 0.0)
    found, _ = size_lines.fit(seen, taught.size, taught.actual, options.penalty)
    return blend.Mix(blend.Ensemble(found.lines, ()), (1.0,))


def _mixed(taught: _Taught, view: str, names: Sequence[str], options: RiskOptions) -> blend.Mix:
    """Lines, trees on what they leave of yes or no, and trees on what they leave of the size.

    Lines and the latter trees together expect a size. Half of its logit, and half of the logit that lines and the former trees
    give, are the lines' whole say (but for the two slopes) and half of each of the trees'.
    """
    table = taught.table[:, columns(tuple(names))]
    found, expected = size_lines.fit(table, taught.size, taught.actual, options.penalty)
    settings: dict[str, Any] = {
        "eta": options.eta,
        "min_child_weight": options.min_child_weight,
        "max_depth": options.depth,
    }
    fit_trees = partial(trees.fit, table, names=tuple(names), rounds=options.rounds, seed=SEED, **settings)
    rest = fit_trees(targets=taught.actual, base=found.slope * expected + found.offset, objective="binary:logistic")
    size = fit_trees(targets=taught.size, base=expected, objective="reg:squarederror")
    slope, _ = size_lines.as_logit(expected + size.margins(table), taught.actual)
    members = (blend.Member(rest), blend.Member(size, slope))
    return blend.Mix(blend.Ensemble(found.lines, members), (0.5 + 0.5 * slope / found.slope, 0.5, 0.5))
