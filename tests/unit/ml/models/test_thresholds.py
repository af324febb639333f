"""How much an action must promise: by what following the model earned before costs, and by costs that come with the question."""

from __future__ import annotations

import numpy as np
import pytest

from ml.models.parts import thresholds
from ml.models.parts.thresholds import MARGINS, NEVER, Earned, Fixed
from quantstream.core.rolling import Floats
from quantstream.core.time import HOUR, MINUTE

COUNT = 20_000
AT = np.arange(COUNT) * 5 * MINUTE


def market(edge_of: float, seed: int = 0) -> tuple[Floats, Floats]:
    """Expected returns, and what came: the expected ones times a factor, and chance."""
    rng = np.random.default_rng(seed)
    expected = rng.normal(0, 0.002, COUNT)
    return expected, edge_of * expected + rng.normal(0, 0.004, COUNT)


def test_an_edge_that_is_there_asks_for_as_much_as_the_costs_are() -> None:
    found = thresholds.earned(*market(1.0), AT)
    for cost in (0.0, 0.0002, 0.0005, 0.001):
        needed = found.needed(cost)
        assert cost <= needed <= max(MARGINS) * cost * 1.11  # a rung of the ladder above it
    assert found.needed(0.002) > found.needed(0.0005) > found.needed(0.0)
    assert found.needed(0.02) == NEVER


@pytest.mark.parametrize("seed", range(5))
def test_of_chance_it_never_acts(seed: int) -> None:
    found = thresholds.earned(*market(0.0, seed), AT)
    assert all(found.needed(cost) == NEVER for cost in (0.0002, 0.0005, 0.001))
    assert found.pays_below < 0.0002


def test_what_it_asks_for_earned_more_than_the_costs_on_the_rows_it_was_chosen_on() -> None:
    expected, moved = market(0.5)
    found = thresholds.earned(expected, moved, AT)
    needed = found.needed(0.0005)
    taken = np.abs(expected) > needed
    assert needed < NEVER
    assert (np.sign(expected[taken]) * moved[taken]).mean() > 0.0005


def test_it_pays_below_the_highest_costs_at_which_it_would_act() -> None:
    found = thresholds.earned(*market(0.5), AT)
    assert found.needed(found.pays_below * 0.999) < NEVER
    assert all(found.needed(found.pays_below * factor) == NEVER for factor in (1.001, 1.01, 1.1, 1.5, 2.0, 5.0))


def test_rows_of_one_time_count_once_however_many_symbols_move_together() -> None:
    expected, moved = market(0.1)
    alone = thresholds.earned(expected, moved, AT)
    both = thresholds.earned(np.tile(expected, 10), np.tile(moved, 10), np.tile(AT, 10))
    np.testing.assert_allclose(both.error[: len(alone.at)], alone.error)


def test_few_actions_or_few_days_say_nothing() -> None:
    expected, moved = market(5.0)
    assert thresholds.earned(expected[:40], moved[:40], AT[:40]).needed(0.0) == NEVER
    crowded = thresholds.earned(expected, moved, np.zeros(COUNT, dtype=np.int64) + AT % (6 * HOUR))
    assert (crowded.needed(0.0), crowded.pays_below) == (NEVER, 0.0)
    unknown = thresholds.earned(expected, np.full(COUNT, np.nan), AT)
    assert (unknown.needed(0.0), unknown.pays_below) == (NEVER, 0.0)


def test_what_is_written_is_read() -> None:
    for one in (thresholds.earned(*market(0.5), AT), thresholds.earned(*market(0.5), AT * 0), Fixed(0.003), Fixed()):
        again = thresholds.read(one.state())
        assert type(again) is type(one)
        assert [again.needed(cost) for cost in (0.0, 0.0005, 0.01)] == [
            one.needed(cost) for cost in (0.0, 0.0005, 0.01)
        ]


@pytest.mark.parametrize("state", [{}, {"earned": {"at": [1.0]}}, {"needed": "much"}, {"earned": None}])
def test_what_is_damaged_is_refused(state: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        thresholds.read(state)


def test_a_threshold_of_before_is_not_lowered_by_low_costs_and_raised_by_high_ones() -> None:
    before = Fixed(0.0015)
    assert [before.needed(cost) for cost in (0.0, 0.0002, 0.001)] == [0.0015] * 3
    assert before.needed(0.002) == pytest.approx(0.003)
    assert before.pays_below is None


def test_an_empty_record_never_acts() -> None:
    nothing = np.zeros(0)
    assert Earned(nothing, nothing, nothing, nothing).needed(0.0) == NEVER
