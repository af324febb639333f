"""Two opinions on the same classes, straight lines and trees, mixed as far as each proved itself, then calibrated.

Boosted trees see interactions but overfit a short history; a logistic regression is hard to beat and never wild. The mix and
the calibration are chosen on later data than either was fitted on, so that neither can flatter itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ml.metrics import log_loss
from ml.models import logistic, trees
from quantstream.windows import Floats

FILE = "trees.ubj"
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the trees


@dataclass(frozen=True)
class Blend:
    """Logits: (1 − share) × lines + share × trees; probabilities: a logistic regression on those."""

    lines: logistic.Logistic
    trees: trees.Trees
    share: float
    calibrator: logistic.Logistic

    def probabilities(self, rows: Floats) -> Floats:
        """Return (rows, classes)."""
        return self.calibrator.probabilities(self.mixed(rows))

    def mixed(self, rows: Floats) -> Floats:
        """Return the two opinions' mixed logits, (rows, classes), centred over the classes."""
        straight = _centred(self.lines.logits(rows))
        mixed: Floats = (1 - self.share) * straight + self.share * tree_logits(self.trees, rows)
        return mixed

    def contributions(self, rows: Floats) -> Floats:
        """Return each feature's part in each class's mixed logit, (rows, classes, names): SHAP values, exact for the lines."""
        shares = self.trees.contributions(rows)
        if shares.ndim == 2:  # two classes: the booster has the logit of the second
            shares = np.stack([-shares / 2, shares / 2], axis=1)
        standard = (rows - self.lines.mean) / self.lines.scale
        straight = standard[:, None, :] * (self.lines.weights - self.lines.weights.mean(axis=0))
        mixed: Floats = (1 - self.share) * straight + self.share * shares
        return mixed

    def write(self, folder: Path) -> dict[str, Any]:
        """Write the trees and return the rest."""
        self.trees.save(folder / FILE)
        return {"lines": self.lines.state(), "share": self.share, "calibrator": self.calibrator.state()}


def read(folder: Path, state: dict[str, Any], names: tuple[str, ...]) -> Blend:
    """Return what `write` wrote.

    Raises: ValueError, KeyError or TypeError when it is damaged.
    """
    return Blend(
        logistic.from_state(state["lines"]),
        trees.load(folder / FILE, names),
        float(state["share"]),
        logistic.from_state(state["calibrator"]),
    )


def fit(
    candidates: Sequence[logistic.Logistic], forest: trees.Trees, rows: Floats, classes: Floats, count: int
) -> Blend:
    """Choose the lines among `candidates` and the trees' share by log loss on later rows, and calibrate on them."""
    actual = classes.astype(int)
    leaves = tree_logits(forest, rows)
    best: tuple[float, Blend] | None = None
    for lines in candidates:
        straight = _centred(lines.logits(rows))
        for share in SHARES:
            mixed = (1 - share) * straight + share * leaves
            calibrator = logistic.fit(mixed, actual, count, strength=0.1)
            loss = log_loss(actual, calibrator.probabilities(mixed))
            if best is None or loss < best[0]:
                best = loss, Blend(lines, forest, share, calibrator)
    assert best is not None
    return best[1]


def tree_logits(forest: trees.Trees, rows: Floats) -> Floats:
    """Return the trees' logits (rows, classes), centred over the classes."""
    shares = forest.predict(rows)
    if shares.ndim == 1:
        shares = np.stack([1 - shares, shares], axis=1)
    return _centred(np.log(np.clip(shares, 1e-6, 1)))


def _centred(logits: Floats) -> Floats:
    centred: Floats = logits - logits.mean(axis=1, keepdims=True)
    return centred
