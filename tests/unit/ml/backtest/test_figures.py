"""What a ledger's trades come to: exact money, costs at which nothing is left, and no bounds where there is too little."""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.backtest.booking import Decision, Missed, Trade, book
from ml.backtest.costs import Costs
from ml.backtest.figures import FEWEST_BLOCKS, FEWEST_TRADES, figures_of
from ml.backtest.fills import Exit, Position, Unfilled
from ml.backtest.ledger import NOTIONAL
from ml.backtest.verdicts import edge
from quantstream.core.decimals import QUOTE_UNIT, UNIT
from quantstream.core.time import DAY, HOUR, MINUTE

FREE = Costs(Fraction(0))
rates = st.fractions(0, 50, max_denominator=1000)
costs = st.builds(Costs, rates, rates, rates)
prices = st.integers(1, 10**14)


def trade(
    side: int, entry: int, leave: int, at: int = 0, costs: Costs = FREE, lasts: int = HOUR, symbol: str = "A"
) -> Trade:
    decision = Decision(symbol, at, at, at, at + HOUR, "1", "champion", side, 0.01)
    row = book(decision, Position(at, entry, at + lasts, leave, Exit.TIME), "trades", costs, NOTIONAL)
    assert isinstance(row, Trade)
    return row


@given(st.sampled_from([1, -1]), prices, prices, costs)
def test_net_is_gross_less_costs_exactly_and_no_trade_is_worth_more_than_the_notional(
    side: int, entry: int, leave: int, costs: Costs
) -> None:
    row = book(
        Decision("A", 0, 0, 0, HOUR, "1", "champion", side, 0.01),
        Position(0, entry, 1, leave, Exit.TIME),
        "trades",
        costs,
        NOTIONAL,
    )
    if not isinstance(row, Trade):
        assert row == Missed(row.decision, Unfilled.NOTHING_BOUGHT)
        assert entry > NOTIONAL * UNIT
        return
    assert NOTIONAL * UNIT - entry < row.opened_value <= NOTIONAL * UNIT
    assert row.gross == side * row.quantity * (leave - entry)
    paid = sum(Fraction(row.quantity * price) * costs.side_bp / 10_000 for price in (entry, leave))
    assert row.net == row.gross - row.fees - row.slippage
    assert abs(Fraction(row.fees + row.slippage) - paid) <= 2  # each of four charges is rounded to 10⁻¹⁶


@given(
    st.lists(
        st.tuples(st.sampled_from([1, -1]), st.integers(10**6, 10**12), st.integers(900, 1100)), min_size=1, max_size=20
    )
)
def test_at_the_break_even_cost_nothing_is_left(made: list[tuple[int, int, int]]) -> None:
    free = [trade(side, entry, entry * factor // 1000) for side, entry, factor in made]
    found = figures_of(free)
    assert found.break_even_bp is not None
    if found.break_even_bp < 0:
        assert found.gross < 0
        return
    charged = [
        trade(side, entry, entry * factor // 1000, costs=Costs(found.break_even_bp)) for side, entry, factor in made
    ]
    assert abs(sum(one.net for one in charged)) <= 2 * len(made)  # in 10⁻¹⁶
    dearer = [
        trade(side, entry, entry * factor // 1000, costs=Costs(found.break_even_bp + Fraction(1, 100)))
        for side, entry, factor in made
    ]
    assert sum(one.net for one in dearer) < 0


def many(gain: float, days: int = 20, each: int = 10, noise: float = 0.0, costs: Costs = FREE) -> list[Trade]:
    """Return trades that gain so many bp before costs, over some days."""
    rng = np.random.default_rng(3)
    entry = 100 * UNIT
    return [
        trade(1, entry, round(entry * (1 + (gain + noise * rng.normal()) / 1e4)), day * DAY + i * HOUR, costs)
        for day in range(days)
        for i in range(each)
    ]


def test_figures_of_trades_whose_worth_is_known() -> None:
    found = figures_of(many(30, costs=Costs(Fraction(10))))
    assert found.gross_bp == pytest.approx(30)
    assert found.net_bp == pytest.approx(30 - 20.03, abs=1e-6)
    assert found.break_even_bp == pytest.approx(30 / 2.003)
    assert found.net_bounds == pytest.approx((found.net_bp, found.net_bp))
    assert (found.hit_rate, found.drawdown, found.most_open) == (1.0, 0, 1)
    assert found.net == pytest.approx(200 * 1000 * (30 - 20.03) / 1e4 * QUOTE_UNIT)
    assert found.turnover == pytest.approx(200 * 2003 * QUOTE_UNIT)
    assert found.exposure == pytest.approx(200 / (19 * 24 + 10))
    assert found.mean_open == found.exposure


def test_the_deepest_fall_and_what_is_open_at_once() -> None:
    made = [trade(1, UNIT, leave, at * MINUTE) for at, leave in enumerate((2 * UNIT, UNIT // 2, UNIT // 2, 2 * UNIT))]
    found = figures_of(made[::-1])
    assert found.drawdown == NOTIONAL * UNIT  # two halves, after one that doubled
    assert found.most_open == 4
    assert found.exposure == 1.0
    assert found.hit_rate == 0.5


def test_of_too_few_trades_or_days_there_are_no_bounds_and_the_verdict_says_why() -> None:
    for made in (many(300, days=4, each=10), many(300, days=1, each=12) * 5, many(300, days=2)):
        found = figures_of(made)
        assert (found.net_bounds, found.is_edge) == (None, False)
        assert edge(found, FREE).startswith("Too few to tell an edge from chance:")
    assert figures_of(many(300, days=FEWEST_BLOCKS, each=FEWEST_TRADES // FEWEST_BLOCKS)).is_enough
    none = figures_of([])
    assert (none.trades, none.break_even_bp, none.net_bp, none.hit_rate, none.exposure) == (0, None, None, None, None)


@pytest.mark.parametrize(
    ("gain", "noise", "fee", "said"),
    [
        (30, 5, 10, r"It paid at your costs: \+10\.\d bp \(95 % interval \+\d.* up to 15\.\d bp a side"),
        (
            6,
            2,
            10,
            r"No edge at your costs: −13\.9 bp .*; it would pay below 3 bp a side \(95 % interval 2\.9 to 3\.2\)",
        ),
        (
            21,
            60,
            10,
            r"No sure edge at your costs: \+\d.* may be chance; at 1\d(\.\d)? bp a side .* nothing would be left",
        ),
        (-3, 2, 2, r"No edge at your costs: .*; it lost before costs, so no costs would make it pay"),
    ],
)
def test_the_verdict_is_a_sentence_about_the_users_costs(gain: float, noise: float, fee: int, said: str) -> None:
    costs = Costs(Fraction(fee))
    assert re.search(said, edge(figures_of(many(gain, noise=noise, costs=costs)), costs))
