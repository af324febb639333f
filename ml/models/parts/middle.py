"""Which way an hour ends that touches no barrier: a small logistic regression on the momenta, and how far such an hour goes.

Most hours touch none, and their middle may lean against their tails: after a rise the usual hour gives some back, while the rare
one that reaches a barrier runs on. Probabilities of touching say nothing of the middle, so it is fitted by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml.models.parts import blend, logistic
from quantstream.core.rolling import Floats

NAMES = ("momentum_5m", "momentum_15m", "momentum_1h", "momentum_4h", "momentum_24h")
FEWEST = 100  # hours that rose, and that fell: rows overlap, so some eight hours of each
STRENGTH = 0.01  # inverse of the penalty


@dataclass(frozen=True)
class Middle:
    """The fitted lines, and the mean size of the hour's return where no barrier was touched, in units of the barrier."""

    lines: logistic.Logistic
    size: float

    def up(self, momenta: Floats) -> Floats:
        """Return the chance that an hour which touches no barrier ends higher, from (rows, NAMES): (rows,)."""
        return self.lines.probabilities(blend.within(self.lines, momenta))[:, 1]

    def state(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"lines": self.lines.state(), "size": self.size}


def from_state(state: dict[str, Any]) -> Middle:
    """Return what `state` printed."""
    return Middle(logistic.from_state(state["lines"]), float(state["size"]))


def columns(names: Sequence[str]) -> list[int]:
    """Return the places of the momenta among the features of a model."""
    return [names.index(name) for name in NAMES]


def fit(momenta: Floats, moved: Floats) -> Middle | None:
    """Fit on hours that touched no barrier: (rows, NAMES), and their returns in units of the barrier, NaN where unknown.

    Each hour is shown as it was and turned upside down: that prices mostly rose says nothing of the next hour. None where too few
    rose or fell. Hours that ended where they began tell no direction.
    """
    told = np.isfinite(moved) & (moved != 0)
    rose = moved[told] > 0
    if min(int(rose.sum()), int((~rose).sum())) < FEWEST:
        return None
    both = np.concatenate([momenta[told], -momenta[told]])
    lines = blend.straight(both, np.concatenate([rose, ~rose]).astype(np.float64), 2, STRENGTH)
    return Middle(lines, float(np.abs(moved[np.isfinite(moved)]).mean()))
