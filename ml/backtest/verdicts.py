"""What a ledger says of an edge, in a sentence: it pays at these costs, below some, never, or there is too little to tell."""

from __future__ import annotations

from fractions import Fraction

from ml.backtest.costs import Costs, number
from ml.backtest.figures import FEWEST_BLOCKS, FEWEST_TRADES, Bounds, Figures
from ml.backtest.ledger import Ledger


def verdict(ledger: Ledger, found: Figures) -> str:
    """Return it."""
    scores, missed = ledger.counted.scores, sum(ledger.missed.values())
    if not found.trades and not missed:
        return f"Nothing was acted on: all {scores:,} scores say Hold, so nothing was earned and nothing paid"
    if not found.trades:
        return f"None of {missed:,} actions could be filled, so nothing is known of what they would have earned"
    return edge(found, ledger.asked.costs)


def edge(found: Figures, costs: Costs) -> str:
    """Return what trades that were filled say of an edge at some costs."""
    earned = bp(found.net_bp, found.net_bounds)
    assert found.break_even_bp is not None
    if not found.is_enough:
        return (
            f"Too few to tell an edge from chance: {found.trades:,} trades on {found.blocks}, where {FEWEST_TRADES} on "
            f"{FEWEST_BLOCKS} are the least; these came to {earned} each after costs"
        )
    if found.is_edge:
        return f"It paid at your costs: {earned} a trade after {costs}; it would have paid up to {_side(found.break_even_bp)}"
    none = f"No edge at your costs: {earned} a trade after {costs}"
    if found.break_even_bp <= 0:
        return f"{none}; it lost before costs, so no costs would make it pay"
    assert found.break_even_bounds is not None
    low, high = (number(Fraction(round(each, 1))) for each in found.break_even_bounds)
    even = f"{_side(found.break_even_bp)} (95 % interval {low} to {high})"
    if found.net > 0:
        return f"No sure edge at your costs: {earned} a trade after {costs}, which may be chance; at {even} nothing would be left"
    return f"{none}; it would pay below {even}"


def _side(rate: Fraction) -> str:
    return f"{number(round(rate, 1))} bp a side"


def bp(value: float | None, bounds: Bounds | None) -> str:
    """Return basis points with their bounds, for a person."""
    shown = f"{value or 0.0:+.1f} bp" + (f" (95 % interval {bounds[0]:+.1f} to {bounds[1]:+.1f})" if bounds else "")
    return shown.replace("-", "−")
