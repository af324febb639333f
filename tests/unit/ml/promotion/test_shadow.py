"""Out of the shadow: no worse is promoted, surely worse expires, and what is neither has until its days are over."""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.promotion.shadow import Paired, Rule, Ruling, Verdict, rule_on
from quantstream.core.time import MINUTE

RULE = Rule(288, timedelta(days=7))
FRESH = timedelta(hours=1)
STEP = 5 * MINUTE


def pairs(windows: int, gap: float = 0.0, noise: float = 0.0, symbols: int = 2, seed: int = 1) -> Paired:
    """Return losses around 1, the challenger's higher by `gap` and noise of its own."""
    rng = np.random.default_rng(seed)
    theirs = 1 + 0.3 * rng.standard_normal((windows, symbols))
    ours = theirs + gap + noise * rng.standard_normal((windows, symbols))
    at = np.repeat(np.arange(windows) * STEP, symbols)
    return Paired(at, ours.ravel(), theirs.ravel(), "Brier score")


def test_a_day_of_closed_windows_is_waited_for_whatever_the_losses_say() -> None:
    assert rule_on(pairs(287, -0.5), RULE, FRESH) == Ruling(
        Verdict.WAITS, "287 of 288 closed windows with a realised loss of both", {"windows": 287}
    )


def test_one_that_was_no_worse_is_promoted_with_its_figures() -> None:
    ruling = rule_on(pairs(288, -0.1), RULE, FRESH)
    assert ruling.verdict is Verdict.PROMOTED
    assert "no worse in the shadow: Brier score" in ruling.why
    assert "on 576 pairs of 288 closed windows; difference -0.1, 95 % from -0.1 to -0.1 by 24 hours" in ruling.why
    assert ruling.evidence["excess"] == pytest.approx(-0.1)


def test_the_same_model_once_more_is_no_worse() -> None:
    assert rule_on(pairs(288), RULE, FRESH).verdict is Verdict.PROMOTED


def test_one_that_is_surely_worse_expires_at_once() -> None:
    ruling = rule_on(pairs(288, 0.1, noise=0.1), RULE, FRESH)
    assert (ruling.verdict, ruling.why[:28]) == (Verdict.EXPIRED, "surely worse in the shadow: ")


def test_a_little_worse_and_not_surely_so_waits_until_its_days_are_over() -> None:
    little = pairs(288, 0.002, noise=0.5, seed=3)
    assert little.ours.mean() > little.theirs.mean()
    assert rule_on(little, RULE, FRESH).verdict is Verdict.WAITS
    ruling = rule_on(little, RULE, timedelta(days=7, minutes=1))
    assert ruling.verdict is Verdict.EXPIRED
    assert ruling.why == "it was in the shadow for 7 days and did not come to be no worse than the champion"


def test_one_that_is_as_good_within_the_tolerance_is_promoted_and_a_surely_worse_one_is_not() -> None:
    tolerant = Rule(288, timedelta(days=7), 0.02)
    little = pairs(288, 0.002, noise=0.5, seed=3)
    assert rule_on(little, tolerant, FRESH).verdict is Verdict.PROMOTED
    assert rule_on(pairs(288, 0.01), tolerant, FRESH).verdict is Verdict.EXPIRED  # little, and of every pair


def test_one_that_was_hardly_scored_expires_with_what_it_lacks() -> None:
    ruling = rule_on(pairs(3), RULE, timedelta(days=8))
    assert ruling.verdict is Verdict.EXPIRED
    assert "has 3 of the 288 closed windows it needs" in ruling.why


def test_between_two_looks_more_windows_change_nothing() -> None:
    early = pairs(288, 0.002, noise=0.5, seed=3)
    after = pairs(287, -1.0)
    more = Paired(
        np.concatenate([early.at, after.at + 288 * STEP]),
        np.concatenate([early.ours, after.ours]),
        np.concatenate([early.theirs, after.theirs]),
        "Brier score",
    )
    assert rule_on(more, RULE, FRESH) == rule_on(early, RULE, FRESH)


def test_of_two_hours_that_are_alike_nothing_is_sure() -> None:
    ruling = rule_on(pairs(24, 0.1), Rule(12, timedelta(days=1)), FRESH)
    assert ruling.verdict is Verdict.WAITS
    assert "how sure that is cannot be said of so few hours" in ruling.why
    assert ruling.evidence["excess_low"] is None
    assert rule_on(pairs(72, 0.1), Rule(72, timedelta(days=1)), FRESH).verdict is Verdict.EXPIRED


def test_of_a_single_hour_nothing_is_sure_and_a_lower_loss_counts_all_the_same() -> None:
    rule = Rule(6, timedelta(days=1))
    assert rule_on(pairs(6, 0.5), rule, FRESH).verdict is Verdict.WAITS
    assert rule_on(pairs(6, -0.5), rule, FRESH).verdict is Verdict.PROMOTED


def quiet(abnormal_hours: int) -> Paired:
    """Two days without an abnormal hour but for some: the challenger always says a little more, so it loses where none is."""
    at = np.repeat(np.arange(576) * STEP, 2)
    came = np.asarray(at // (60 * MINUTE) < abnormal_hours, dtype=np.int64)
    ours, theirs = (np.square(np.asarray(said - came, dtype=np.float64)) for said in (0.08, 0.07))
    return Paired(at, ours, theirs, "Brier score", came, ("a usual hour", "an abnormal hour"))


def test_while_nothing_happens_nobody_is_better() -> None:
    ruling = rule_on(quiet(3), RULE, FRESH)
    assert ruling.verdict is Verdict.WAITS
    assert ruling.why == (
        "an abnormal hour came in 3 hours of 576 closed windows; before it came in 4 losses say nothing"
    )
    assert rule_on(quiet(0), RULE, timedelta(days=8)).verdict is Verdict.EXPIRED
    assert rule_on(quiet(12), RULE, FRESH).verdict is Verdict.PROMOTED


@given(st.integers(1, 700), st.floats(-0.2, 0.2), st.integers(0, 5), st.integers(0, 3))
def test_the_order_of_rows_does_not_matter_and_evidence_is_json(windows: int, gap: float, seed: int, days: int) -> None:
    found = pairs(windows, gap, 0.1, seed=seed)
    order = np.random.default_rng(seed).permutation(len(found.at))
    turned = Paired(found.at[order], found.ours[order], found.theirs[order], found.measure)
    rule, age = Rule(12, timedelta(days=2)), timedelta(days=days)
    one, other = rule_on(found, rule, age), rule_on(turned, rule, age)
    assert one.verdict is other.verdict
    json.dumps(one.evidence, allow_nan=False)


def test_on_noise_a_champion_is_seldom_followed_by_one_that_is_worse() -> None:
    promoted = [
        gap
        for seed in range(40)
        for gap in (0.02, -0.02)
        if rule_on(pairs(288, gap, noise=0.1, seed=seed), RULE, FRESH).verdict is Verdict.PROMOTED
    ]
    assert promoted.count(-0.02) >= 36
    assert promoted.count(0.02) <= 4
