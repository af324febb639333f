"""Online correction: only known outcomes count, a finite past is enough, and it fixes what drifted."""

from __future__ import annotations

import numpy as np
import pytest

from ml.data import labels
from ml.models.forecast import ForecastModel
from ml.models.online_correction import LATEST, REACH, SIZE, UNKNOWN, Correction, Shift, Stretch
from ml.models.recalibration import Lean
from ml.models.risk import RiskModel
from ml.models.signal import SignalModel
from quantstream.core.rolling import Floats

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
STRETCH = Stretch(LEVELS, (12,))
COUNT = REACH + 400
RNG = np.random.default_rng(0)
OUTCOMES = RNG.normal(size=(COUNT, 1))
TOO_NARROW = np.tile([-1.0, -0.45, 0.0, 0.45, 1.0], (COUNT, 1, 1))


def test_intervals_that_were_too_narrow_are_widened_towards_what_they_promise() -> None:
    inside = slice(REACH, None)
    before = (np.abs(OUTCOMES[inside, 0]) <= 1.0).mean()
    after = STRETCH.series(TOO_NARROW, OUTCOMES)[inside]
    held = ((OUTCOMES[inside, 0] >= after[:, 0, 0]) & (OUTCOMES[inside, 0] <= after[:, 0, 4])).mean()
    assert before < 0.72
    assert held > 0.8
    assert (np.diff(after, axis=2) >= 0).all()


@pytest.mark.parametrize(("spread", "bound"), [(1e-3, 0.5), (1e3, 2.0)])
def test_what_is_wildly_off_is_stretched_to_the_bound_and_no_further(spread: float, bound: float) -> None:
    """Half and double the width, to the power 0.7 of the trust in two weeks."""
    stretched = STRETCH.series(TOO_NARROW, spread * OUTCOMES, rows=1)
    assert np.allclose(stretched, bound**0.7 * TOO_NARROW[:1], rtol=1e-12, atol=0)


@pytest.mark.parametrize("outcomes", [0, 1])
def test_a_probability_that_was_always_wrong_is_shifted_by_one_logit_and_no_further(outcomes: int) -> None:
    predicted = np.tile([0.5, 0.5], (COUNT, 1))
    corrected = Shift(12).series(predicted, np.full((COUNT, 1), float(outcomes)), rows=1)
    assert np.allclose(corrected[0, outcomes], 1 / (1 + np.exp(-1.0)), rtol=1e-12, atol=0)


def test_without_a_past_nothing_is_stretched() -> None:
    assert np.array_equal(STRETCH.series(TOO_NARROW[:500], OUTCOMES[:500]), TOO_NARROW[:500])


def test_the_last_row_from_a_finite_past_equals_the_whole_to_the_last_bit() -> None:
    whole = STRETCH.series(TOO_NARROW, OUTCOMES)
    past = slice(COUNT - REACH - 1, COUNT)
    assert np.array_equal(STRETCH.series(TOO_NARROW[past], OUTCOMES[past], rows=1)[0], whole[-1])
    predicted = np.stack([np.full(COUNT, 0.9), np.full(COUNT, 0.1)], axis=1) + RNG.uniform(-0.05, 0.05, (COUNT, 1)) * [
        1,
        -1,
    ]
    outcomes = (RNG.random(COUNT) < 0.3).astype(float)
    shifted = Shift(12).series(predicted, outcomes[:, None])
    assert np.array_equal(Shift(12).series(predicted[past], outcomes[past, None], rows=1)[0], shifted[-1])
    assert shifted[-1, 1] > 0.15


@pytest.mark.parametrize("ahead", [1, 12])
def test_outcomes_not_known_yet_change_nothing(ahead: int) -> None:
    row = COUNT - 50
    spoilt = OUTCOMES.copy()
    spoilt[row - ahead + 1 :] = 99.0
    one, other = (Stretch(LEVELS, (ahead,)).series(TOO_NARROW, outcomes) for outcomes in (OUTCOMES, spoilt))
    assert np.array_equal(one[: row + 1], other[: row + 1])
    assert not np.array_equal(one, other)
    predicted, outcomes = np.tile([0.8, 0.2], (COUNT, 1)), (OUTCOMES[:, 0] > 1).astype(float)
    changed = outcomes.copy()
    changed[row - ahead + 1 :] = 1.0
    one, other = (
        Shift(ahead).series(predicted, outcomes[:, None]),
        Shift(ahead).series(predicted, changed[:, None]),
    )
    assert np.array_equal(one[: row + 1], other[: row + 1])
    assert not np.array_equal(one, other)


def test_gaps_in_the_past_count_for_nothing() -> None:
    predicted, outcomes = np.tile([0.7, 0.3], (COUNT, 1)), (OUTCOMES[:, 0] > 0.5).astype(float)
    predicted[100:900], outcomes[2000:2500] = np.nan, np.nan
    shifted = Shift(12).series(predicted, outcomes[:, None])
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


def made_up(count: int) -> dict[str, tuple[Correction | None, Floats, Floats]]:
    """Each model's correction, and predictions and outcomes with gaps."""
    rng = np.random.default_rng(4)
    found = {
        "forecast": (np.sort(rng.normal(size=(count, 3, 5)), axis=2), rng.normal(size=(count, 3))),
        "signal": (rng.dirichlet([1, 2, 1], count), rng.integers(0, 3, (count, 1)).astype(float)),
        "risk": (rng.uniform(0.01, 0.9, count), rng.integers(0, 2, (count, 1)).astype(float)),
    }
    for predicted, outcomes in found.values():
        predicted[200:250], outcomes[900:930] = np.nan, np.nan
    corrections = {model.kind: model.correction for model in (ForecastModel, SignalModel, RiskModel)}
    return {kind: (corrections[kind], *both) for kind, both in found.items()}


@pytest.mark.parametrize("kind", ["forecast", "signal", "risk"])
def test_candle_by_candle_a_past_says_what_the_series_says_to_the_last_bit(kind: str) -> None:
    correction, predicted, outcomes = made_up(SIZE + 700)[kind]  # longer than the room of a past
    assert isinstance(correction, Stretch | Shift | Lean)
    whole = correction.series(predicted, outcomes)

    def seen(start: int, end: int) -> Floats:
        """Outcomes as far as they are known at the last of these candles."""
        waits = end - np.arange(start, end)[:, None]
        return np.where(waits > np.atleast_1d(correction.ahead), outcomes[start:end], np.nan)

    pasts = [correction.begin(predicted[:SIZE], seen(0, SIZE))]
    at_once = [correction.begin(predicted[:SIZE], seen(0, SIZE)) for _ in range(2)]
    for end in range(SIZE + 1, len(predicted) + 1):
        known = seen(end - UNKNOWN, end)
        correction.update(pasts, predicted[end - 1 : end], known[None])
        correction.update(at_once, predicted[[end - 1] * 2], np.stack([known, known]))
        if end % 50 == 0 or end == len(predicted):
            newest = predicted[end - 1 : end]
            assert np.array_equal(correction.apply(pasts, newest)[0], whole[end - 1])
            assert np.array_equal(correction.apply(at_once, np.concatenate([newest, newest]))[1], whole[end - 1])
            assert not np.array_equal(whole[end - 1], predicted[end - 1])


def test_no_outcome_takes_longer_than_a_past_waits_for() -> None:
    assert max(labels.HORIZON.values()) == LATEST
