"""Value at risk and expected shortfall of a set of losses: peaks over a threshold, as McNeil & Frey (2000) do with residuals.

A percent of few windows is the worst of them or none, so beyond the worst tenth a generalised Pareto tail takes over. How heavy
it is cannot be told from some weeks; it is the same for all and was measured once (`SHAPE`), its scale comes from the losses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quantstream.core.rolling import Floats

LEVELS = (0.95, 0.99)
TAIL = 0.1  # the share of windows that speak for the tail
SHAPE = (
    0.3  # ξ of the generalised Pareto distribution: of losses over the volatility expected of them, from 2023-04 to 09
)


@dataclass(frozen=True)
class Risk:
    """What is lost at most with a level's probability, and in the mean of the times when it is more; in the losses' unit."""

    value_at_risk: float
    expected_shortfall: float


def risks(losses: Floats) -> dict[float, Risk]:
    """Return the risk at each of `LEVELS` of equally likely losses, (windows,); a gain is a negative loss.

    Neither is below zero: a book that cannot lose has no negative risk.
    """
    threshold = float(np.quantile(losses, 1 - TAIL))
    beyond = losses[losses > threshold]
    scale = float((beyond - threshold).mean()) * (1 - SHAPE) if len(beyond) else 0.0
    return {level: _risk(threshold, scale, level) for level in LEVELS}


def _risk(threshold: float, scale: float, level: float) -> Risk:
    value = threshold + scale / SHAPE * ((TAIL / (1 - level)) ** SHAPE - 1)
    shortfall = value + (scale + SHAPE * (value - threshold)) / (1 - SHAPE)
    return Risk(max(value, 0.0), max(shortfall, 0.0))
