"""Online correction: only known outcomes count, a finite past is enough, and it fixes what drifted."""

from __future__ import annotations

import numpy as np
import pytest

from ml.models import base, online_correction
from ml.models.signal import SignalModel

LEVELS = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
COUNT = online_correction.REACH + 400
RNG = np.random.default_rng(0)
OUTCOMES = RNG.normal(size=(COUNT, 1))
TOO_NARROW = np.tile([-1.0, -0.45, 0.0, 0.45, 1.0], (COUNT, 1, 1))


def test_intervals_that_were_too_narrow_are_widened_towards_what_they_promise() -> None:
    inside = slice(online_correction.REACH, None)
    before = (np.abs(OUTCOMES[inside, 0]) <= 1.0).mean()
    after = online_correction.stretched(TOO_NARROW, OUTCOMES, LEVELS, (12,))[inside]
    held = ((OUTCOMES[inside, 0] >= after[:, 0, 0]) & (OUTCOMES[inside, 0] <= after[:, 0, 4])).mean()
    assert before < 0.72
    assert held > 0.8
    assert (np.diff(after, axis=2) >= 0).all()


@pytest.mark.parametrize(("spread", "bound"), [(1e-3, 0.5), (1e3, 2.0)])
def test_what_is_wildly_off_is_stretched_to_the_bound_and_no_further(spread: float, bound: float) -> None:
    """Half and double the width, to the power 0.7 of the trust in two weeks."""
    stretched = online_correction.stretched(TOO_NARROW, spread * OUTCOMES, LEVELS, (12,), rows=1)
    assert np.allclose(stretched, bound**0.7 * TOO_NARROW[:1], rtol=1e-12, atol=0)


@pytest.mark.parametrize("outcomes", [0, 1])
def test_a_probability_that_was_always_wrong_is_shifted_by_one_logit_and_no_further(outcomes: int) -> None:
    predicted = np.tile([0.5, 0.5], (COUNT, 1))
    corrected = online_correction.shifted(predicted, np.full(COUNT, float(outcomes)), 12, rows=1)
    assert np.allclose(corrected[0, outcomes], 1 / (1 + np.exp(-1.0)), rtol=1e-12, atol=0)


def test_without_a_past_nothing_is_stretched() -> None:
    assert np.array_equal(
        online_correction.stretched(TOO_NARROW[:500], OUTCOMES[:500], LEVELS, (12,)), TOO_NARROW[:500]
    )


def test_the_last_row_from_a_finite_past_equals_the_whole_to_the_last_bit() -> None:
    whole = online_correction.stretched(TOO_NARROW, OUTCOMES, LEVELS, (12,))
    past = slice(COUNT - online_correction.REACH - 1, COUNT)
    assert np.array_equal(
        online_correction.stretched(TOO_NARROW[past], OUTCOMES[past], LEVELS, (12,), rows=1)[0], whole[-1]
    )
    predicted = np.stack([np.full(COUNT, 0.9), np.full(COUNT, 0.1)], axis=1) + RNG.uniform(-0.05, 0.05, (COUNT, 1)) * [
        1,
        -1,
    ]
    outcomes = (RNG.random(COUNT) < 0.3).astype(float)
    shifted = online_correction.shifted(predicted, outcomes, 12)
    assert np.array_equal(online_correction.shifted(predicted[past], outcomes[past], 12, rows=1)[0], shifted[-1])
    assert shifted[-1, 1] > 0.15


@pytest.mark.parametrize("ahead", [1, 12])
def test_outcomes_not_known_yet_change_nothing(ahead: int) -> None:
    row = COUNT - 50
    spoilt = OUTCOMES.copy()
    spoilt[row - ahead + 1 :] = 99.0
    one, other = (
        online_correction.stretched(TOO_NARROW, outcomes, LEVELS, (ahead,)) for outcomes in (OUTCOMES, spoilt)
    )
    assert np.array_equal(one[: row + 1], other[: row + 1])
    assert not np.array_equal(one, other)
    predicted, outcomes = np.tile([0.8, 0.2], (COUNT, 1)), (OUTCOMES[:, 0] > 1).astype(float)
    changed = outcomes.copy()
    changed[row - ahead + 1 :] = 1.0
    one, other = (
        online_correction.shifted(predicted, outcomes, ahead),
        online_correction.shifted(predicted, changed, ahead),
    )
    assert np.array_equal(one[: row + 1], other[: row + 1])
    assert not np.array_equal(one, other)


def test_gaps_in_the_past_count_for_nothing() -> None:
    predicted, outcomes = np.tile([0.7, 0.3], (COUNT, 1)), (OUTCOMES[:, 0] > 0.5).astype(float)
    predicted[100:900], outcomes[2000:2500] = np.nan, np.nan
    shifted = online_correction.shifted(predicted, outcomes, 12)
    assert np.isfinite(shifted[900:]).all()
    np.testing.assert_allclose(shifted[900:].sum(axis=1), 1)


def test_a_trend_of_two_weeks_does_not_lean_the_signal() -> None:
    model = SignalModel.__new__(SignalModel)
    predicted = np.tile([0.2, 0.6, 0.2], (COUNT, 1))
    rising = np.full((COUNT, 1), 2.0)
    adapted = model.adapt(predicted, rising)
    assert adapted[-1, 1] < 0.6
    assert adapted[-1, 0] == pytest.approx(adapted[-1, 2])
    assert adapted[-1].sum() == pytest.approx(1)


@pytest.mark.slow
def test_each_model_corrects_its_newest_as_it_corrects_a_series(models: dict[str, base.Model]) -> None:
    rng, size = np.random.default_rng(4), online_correction.REACH + 1
    made_up = {
        "forecast": (np.sort(rng.normal(size=(size, 3, 5)), axis=2), rng.normal(size=(size, 3))),
        "signal": (rng.dirichlet([1, 2, 1], size), rng.integers(0, 3, (size, 1)).astype(float)),
        "risk": (rng.uniform(0.01, 0.9, size), rng.integers(0, 2, (size, 1)).astype(float)),
    }
    for kind, (predicted, outcomes) in made_up.items():
        model = models[kind]
        predicted[200:250], outcomes[-12:] = np.nan, np.nan
        whole = model.adapt(predicted, outcomes, rows=1)
        newest = model.adapt_newest(predicted[-1:], [model.evidence(predicted, outcomes)])
        assert np.array_equal(newest, whole), kind
        assert not np.array_equal(newest, predicted[-1:]), kind
