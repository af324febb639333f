"""Costs as the user says them: presets, a fee of one's own, and a sentence for what cannot be meant."""

from __future__ import annotations

from fractions import Fraction

import pytest

from ml.backtest.costs import Costs, charged, costs_of
from quantstream import setting_groups
from quantstream.core.errors import Misconfigured


@pytest.mark.parametrize(("preset", "fee"), [("taker", 10), ("maker", 2), ("futures", 4), (None, 10)])
def test_a_preset_names_the_fee_of_a_side(preset: str | None, fee: int) -> None:
    assert costs_of(preset, None) == Costs(Fraction(fee), Fraction(0), Fraction(0))


def test_a_side_pays_its_fee_half_the_spread_and_the_slippage() -> None:
    costs = costs_of(None, "7.5", "3", "0.1")
    assert costs.side_bp == Fraction(91, 10)
    assert str(costs) == "9.1 bp a side (fee 7.5, half the spread 1.5, slippage 0.1)"
    assert charged(10**20, costs.fee_bp) == 75 * 10**15
    assert charged(5, Fraction(1000)) == 0  # a half goes to the even one
    assert charged(15, Fraction(1000)) == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("taker", "3"), "both name the fee"),
        (("cheap", None), "'cheap' names no costs; choose one of taker, maker, futures"),
        ((None, "-1"), "a fee of −1 bp is none; write 0 to 10,000"),
        ((None, "much"), "--fee-bp 'much' is no number of basis points"),
        ((None, "1/0"), "--fee-bp '1/0' is no number"),
        ((None, "nan"), "--fee-bp 'nan' is no number"),
        ((None, None, "-0.5"), "a spread of −0.5 bp is none"),
        ((None, None, "0", "20000"), "a slippage of 20000 bp is none"),
    ],
)
def test_costs_that_nobody_has_get_a_sentence(given: tuple[str | None, ...], said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        costs_of(*given)  # type: ignore[arg-type]


def test_what_the_user_does_not_name_is_the_settings() -> None:
    usual = setting_groups.Costs(preset="maker", spread_bp=0.3, slippage_bp=0.1)
    assert costs_of(None, None, usual=usual) == Costs(Fraction(2), Fraction(3, 10), Fraction(1, 10))
    assert costs_of("taker", None, "0", usual=usual) == Costs(Fraction(10), Fraction(0), Fraction(1, 10))
    assert costs_of(None, None, usual=setting_groups.Costs(fee_bp=7.5)) == Costs(Fraction(15, 2))
    assert float(2 * costs_of(None, None, usual=usual).side_bp) == pytest.approx(usual.round_trip * 1e4)
