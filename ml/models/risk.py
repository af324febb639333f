"""Risk: the calibrated probability that the coming hour moves abnormally, times 100.

Two opinions count half each: a logistic regression with trees that learn only what it leaves over, and trees on the coming
hour's volatility, which says more than yes or no. All read volatilities relative to the threshold that decides what is abnormal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ml import labels, metrics, reasons, recalibration
from ml.dataset import Dataset, Rows, Split, calibrating, thin
from ml.models import blend, logistic, trees
from ml.models.base import Model, columns
from ml.models.relative import PREFIXES, relative
from quantstream import features
from quantstream.errors import DataRejected
from quantstream.windows import Floats

NAMES = features.NAMES
HAR = ("log_rms_1h", "log_rms_6h", "log_rms_24h", "log_rms_7d", "log_threshold_30d")  # Corsi 2009, and the threshold
UNIT = "log_threshold_30d"
LABEL = "abnormal"
SIZE = "log_rms_next_1h"
SEED = 11
LIMIT = 3.0  # of the log volatility against the threshold: farther off is far
STILL = float(np.log(features.RMS_FLOOR))  # the threshold of a market that has not moved
MEASURED = np.array([name.startswith(PREFIXES) for name in NAMES], dtype=np.float64)
EVEN = (0.5, 0.5, 0.5)  # shares of the lines, of what trees add to them, and of the volatility; searched ones did worse
LINES_ALONE = (1.0, 0.0, 0.0)  # better only where history is short: then all mixes are tried


@dataclass(frozen=True)
class RiskOptions:
    """How much to learn; chosen by hand on candles up to 2023-09, `python -m ml tune` searches for better ones."""

    rounds: int = 300
    depth: int = 3
    eta: float = 0.04
    min_child_weight: float = 300.0
    strength: float = 0.01  # of the logistic regression: inverse of its penalty
    most_rows: int = 200_000


@dataclass
class RiskModel(Model):
    """A calibrated blend over ordinary and abnormal."""

    kind: ClassVar[str] = "risk"
    outcomes: ClassVar[tuple[str, ...]] = (LABEL,)
    blend: blend.Blend
    names: tuple[str, ...] = NAMES

    def predict(self, windows: Floats) -> Floats:
        """Return (rows,): probability of an abnormal hour."""
        return self.blend.probabilities(self.inputs(windows))[:, 1]

    def adapt(self, predicted: Floats, came: Floats, rows: int | None = None) -> Floats:
        """Correct level and slope by how often hours of late were abnormal, against how often they were said to be."""
        return recalibration.leaned(predicted, came[:, 0], labels.HORIZON[LABEL], rows)

    def evidence(self, predicted: Floats, came: Floats) -> Floats:
        """Return what outcomes say of level and slope: (5, candles)."""
        return recalibration.misses(predicted, came[:, 0])

    def adapt_newest(self, predicted: Floats, evidence: Sequence[Floats]) -> Floats:
        """Correct the newest of many symbols."""
        return recalibration.leaned_now(predicted, evidence, labels.HORIZON[LABEL])

    def inputs(self, windows: Floats) -> Floats:
        """Return (rows, names): what the opinions read."""
        return _inputs(windows[:, -1])

    def reasons(self, windows: Floats) -> list[list[str]]:
        """Return for each row the features that speak most for an abnormal hour."""
        share = self.blend.contributions(self.inputs(windows))[:, 1]
        rows = windows[:, -1]
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
    """Fit on the split's first part, mix and calibrate on its second, then fit anew on both.

    Raises: DataRejected when abnormal hours, or normal ones, are absent.
    """
    if len(np.unique(data.labels[LABEL][split.fit])) < 2:
        raise DataRejected("the candles hold no abnormal hour to learn from; add history")
    held = thin(calibrating(split, data.labels[LABEL], 2), options.most_rows, SEED)
    later, actual = _inputs(data.matrix(held, NAMES)), data.labels[LABEL][held]
    losses = [
        metrics.log_loss(actual.astype(int), _lines(data, split.fit, options, names).probabilities(later))
        for names in (NAMES, HAR)
    ]
    names = NAMES if losses[0] <= losses[1] else HAR
    early = _opinions(data, split.fit, options, names)
    scaled = blend.as_logit(early.members[1].trees, later, actual)
    opinions = blend.Opinions(early.lines, (early.members[0], scaled))
    chosen = blend.fit(opinions, later, actual, 2, (EVEN, LINES_ALONE))
    if chosen.shares == LINES_ALONE:
        chosen = blend.fit(opinions, later, actual, 2)
    both = np.concatenate([split.fit, split.calibrate])
    return RiskModel(blend.settle(chosen, lambda: _opinions(data, both, options, names)))


def _inputs(rows: Floats) -> Floats:
    """Volatilities relative to the threshold; after a month without any move all are at its floor, and yet far from abnormal."""
    inputs = relative(rows, NAMES, UNIT)
    inputs[rows[:, NAMES.index(UNIT)] <= STILL] -= MEASURED * LIMIT
    return inputs


def _lines(data: Dataset, among: Rows, options: RiskOptions, names: tuple[str, ...]) -> logistic.Logistic:
    """Logistic regression on all features, or on the HAR terms alone: what a short history supports."""
    rows = thin(np.sort(among), options.most_rows, SEED)
    table, actual = _inputs(data.matrix(rows, NAMES)), data.labels[LABEL][rows]
    kept = np.isin(NAMES, names)
    return blend.straight(np.where(kept, table, 0.0), actual, 2, options.strength)


def _opinions(data: Dataset, among: Rows, options: RiskOptions, names: tuple[str, ...] = NAMES) -> blend.Opinions:
    rows = thin(np.sort(among), options.most_rows, SEED)
    table, actual = _inputs(data.matrix(rows, NAMES)), data.labels[LABEL][rows]
    size = np.clip(data.labels[SIZE][rows] - data.matrix(rows, (UNIT,))[:, 0], -LIMIT, LIMIT)
    settings: dict[str, Any] = {"eta": options.eta, "min_child_weight": options.min_child_weight}
    lines = _lines(data, among, options, names)
    logits = blend.Opinions(lines, ()).logits(table)[0]
    rest = trees.fit(
        table,
        actual,
        NAMES,
        options.rounds,
        SEED,
        base=logits[:, 1] - logits[:, 0],
        objective="binary:logistic",
        max_depth=options.depth,
        **settings,
    )
    through_size = trees.fit(
        table, size, NAMES, options.rounds, SEED, objective="reg:squarederror", max_depth=options.depth + 1, **settings
    )
    return blend.Opinions(lines, (blend.Member(rest), blend.Member(through_size)))
