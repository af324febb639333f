"""Value at risk and expected shortfall of losses whose tail is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]

from ml.value_at_risk.loss_tail import LEVELS, SHAPE, risks

EVENLY = (np.arange(200_000) + 0.5) / 200_000


def test_losses_with_the_tail_that_is_assumed_are_told_to_a_percent() -> None:
    of = stats.genpareto(SHAPE)
    found = risks(of.ppf(EVENLY))
    for level in LEVELS:
        value = of.ppf(level)
        shortfall = of.expect(lb=value, conditional=True)
        assert found[level].value_at_risk == pytest.approx(value, rel=0.01)
        assert found[level].expected_shortfall == pytest.approx(shortfall, rel=0.01)


def test_losses_of_another_tail_are_told_within_some_percent() -> None:
    for of in (stats.norm, stats.t(4), stats.t(3)):
        ratios = [risks(of.ppf(EVENLY))[level].value_at_risk / of.ppf(level) for level in LEVELS]
        assert min(ratios) >= 0.93
        assert max(ratios) <= 1.12


def test_the_shortfall_is_beyond_the_value_and_both_grow_with_the_level() -> None:
    found = risks(np.random.default_rng(1).standard_t(4, 500))
    assert found[0.95].value_at_risk < found[0.99].value_at_risk
    assert all(found[level].expected_shortfall > found[level].value_at_risk for level in LEVELS)


def test_what_can_only_gain_risks_nothing_and_what_never_moves_neither() -> None:
    for losses in (-np.linspace(5, 6, 1000), np.zeros(1000)):
        assert {(one.value_at_risk, one.expected_shortfall) for one in risks(losses).values()} == {(0.0, 0.0)}


def test_twice_the_position_risks_twice_as_much() -> None:
    losses = np.random.default_rng(2).normal(size=800)
    one, two = risks(losses), risks(2 * losses)
    assert [two[level].value_at_risk for level in LEVELS] == pytest.approx(
        [2 * one[level].value_at_risk for level in LEVELS]
    )
