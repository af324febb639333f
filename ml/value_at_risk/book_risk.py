"""The risk of positions together: all meet the shocks of the same times, so that what moves together in the past does so here.

A figure of a book stands for all of it or is not there: a position without a figure of its own would make it too small.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce

import numpy as np

from ml.value_at_risk.loss_tail import TAIL, Risk, risks
from ml.value_at_risk.observations import HORIZONS, Horizon
from ml.value_at_risk.positions import Position
from ml.value_at_risk.symbol_risk import FEWEST_DAYS, SymbolRisk
from quantstream.core.errors import DataRejected
from quantstream.core.rolling import Floats
from quantstream.core.time import DAY
from quantstream.features import STEP_US

Risks = Mapping[str, Mapping[float, Risk]]  # by horizon and level


@dataclass(frozen=True)
class PositionRisk:
    """What one position may lose, in its quote currency; without `risks` there is a sentence that says why."""

    position: Position
    quote: str
    price: float = float("nan")
    sigma: Mapping[str, float] = field(default_factory=dict)  # by horizon, of the log return
    risks: Risks = field(default_factory=dict)
    trouble: str = ""

    @property
    def value(self) -> float:
        """What it is worth at the price, below zero where it was sold short."""
        return float(self.position.quantity) * self.price


@dataclass(frozen=True)
class BookRisk:
    """What all positions may lose together; `risks` is empty where that cannot be told, and `troubles` say why."""

    at: int  # the close (µs) that it was told at
    positions: Sequence[PositionRisk]
    quote: str = ""
    risks: Risks = field(default_factory=dict)
    shares: Mapping[str, Sequence[float]] = field(
        default_factory=dict
    )  # by horizon: each position's part of the worst tenth
    troubles: Sequence[str] = ()

    def diversification(self, horizon: str, level: float) -> float:
        """Return what the book's value at risk is less than the sum of its positions', as a share of that sum."""
        alone = sum(one.risks[horizon][level].value_at_risk for one in self.positions)
        return 1 - self.risks[horizon][level].value_at_risk / alone if alone > 0 else 0.0


def position_risk(position: Position, quote: str, found: SymbolRisk) -> PositionRisk:
    """Return what a position may lose."""
    by_horizon = {one.name: risks(losses(position, found, one.name)) for one in HORIZONS}
    return PositionRisk(position, quote, found.close, dict(found.sigma), by_horizon)


def losses(position: Position, found: SymbolRisk, horizon: str) -> Floats:
    """Return what a position would lose in each of its symbol's windows, in the quote currency."""
    return np.asarray(-float(position.quantity) * found.close * found.moves(horizon))


def book_risk(at: int, told: Sequence[PositionRisk], found: Mapping[str, SymbolRisk]) -> BookRisk:
    """Return the risk of all positions together, from those of their symbols at the same close."""
    troubles = [one.trouble for one in told if one.trouble]
    quotes = sorted({one.quote for one in told})
    if troubles:
        troubles.append("no figure for the book: it would leave out what has none")
    elif len(quotes) > 1:
        troubles.append(
            f"no figure for the book: its positions are worth {' and '.join(quotes)}, which are not added up here"
        )
    if troubles:
        return BookRisk(at, told, troubles=troubles)
    try:
        scenarios = {one.name: _scenarios(told, found, one) for one in HORIZONS}
    except DataRejected as error:
        return BookRisk(at, told, troubles=[str(error)])
    by_horizon = {name: risks(each.sum(axis=0)) for name, each in scenarios.items()}
    return BookRisk(at, told, quotes[0], by_horizon, {name: _shares(each) for name, each in scenarios.items()})


def _scenarios(told: Sequence[PositionRisk], found: Mapping[str, SymbolRisk], horizon: Horizon) -> Floats:
    """What each position would lose in the windows that all symbols know: (positions, windows). Raises: DataRejected."""
    shocks = [found[one.position.symbol].shocks[horizon.name] for one in told]
    times = reduce(np.intersect1d, (each.at for each in shocks))
    if len(times) * horizon.every * STEP_US < FEWEST_DAYS * DAY:
        raise DataRejected(
            f"no figure for the book: its symbols have {len(times) * horizon.every * STEP_US / DAY:.0f} days in common, "
            f"{FEWEST_DAYS} are needed to see how they move together"
        )
    rows = [losses(one.position, found[one.position.symbol], horizon.name) for one in told]
    return np.stack([row[np.searchsorted(each.at, times)] for row, each in zip(rows, shocks, strict=True)])


def _shares(scenarios: Floats) -> list[float]:
    """Each position's part of what the book loses in its worst tenth of windows (Euler's allocation): they add up to 1."""
    whole = scenarios.sum(axis=0)
    worst = scenarios[:, whole > np.quantile(whole, 1 - TAIL)]
    total = float(worst.sum())
    return [float(part) / total for part in worst.sum(axis=1)] if total > 0 else [0.0] * len(scenarios)
