"""A probability's online correction: level and slope are fixed, only known outcomes count, a finite past is enough."""

from __future__ import annotations

import numpy as np

from ml import measures
from ml.models import recalibration
from ml.models.online_correction import FARTHEST, REACH, Shift
from ml.models.recalibration import Lean
from quantstream.core.rolling import Floats

AHEAD = 12
COUNT = 3 * REACH
RNG = np.random.default_rng(0)
TRUE = RNG.normal(-2.4, 1.2, COUNT)  # logits
OUTCOMES = (RNG.random(COUNT) < 1 / (1 + np.exp(-TRUE))).astype(float)
KNOWN = slice(REACH, None)


def sigmoid(logits: Floats) -> Floats:
    return 1 / (1 + np.exp(-logits))


def leaned(predicted: Floats, outcomes: Floats, rows: int | None = None) -> Floats:
    return Lean(AHEAD).series(predicted, outcomes[:, None], rows)


def test_a_model_too_sure_of_itself_is_calmed_as_no_level_alone_could() -> None:
    predicted = sigmoid(1.4 * TRUE + 0.9)
    corrected = leaned(predicted, OUTCOMES)[KNOWN]
    level_only = Shift(AHEAD).series(np.stack([1 - predicted, predicted], axis=1), OUTCOMES[:, None])[KNOWN, 1]
    errors = [measures.calibration_error(OUTCOMES[KNOWN], one) for one in (predicted[KNOWN], level_only, corrected)]
    assert errors[2] < 0.7 * errors[1] < errors[0]
    assert measures.brier(OUTCOMES[KNOWN], corrected) < measures.brier(OUTCOMES[KNOWN], level_only)


def test_an_honest_model_is_hardly_touched() -> None:
    predicted = sigmoid(TRUE)
    assert np.abs(leaned(predicted, OUTCOMES)[KNOWN] - predicted[KNOWN]).mean() < 0.01


def test_without_a_past_a_probability_stays_what_it_is() -> None:
    predicted = sigmoid(TRUE[:AHEAD])
    np.testing.assert_allclose(leaned(predicted, OUTCOMES[:AHEAD]), predicted, rtol=1e-12)
    np.testing.assert_allclose(leaned(predicted, np.full(AHEAD, np.nan)), predicted, rtol=1e-12)


def test_the_last_row_from_a_finite_past_equals_the_whole_to_the_last_bit() -> None:
    predicted = sigmoid(1.2 * TRUE)
    whole = leaned(predicted, OUTCOMES)
    for end in range(REACH + 1, COUNT, 997):
        past = slice(end - REACH - 1, end)
        assert leaned(predicted[past], OUTCOMES[past], rows=1)[0] == whole[end - 1]


def test_outcomes_not_known_yet_change_nothing() -> None:
    predicted, row = sigmoid(TRUE), COUNT - 50
    changed = OUTCOMES.copy()
    changed[row - AHEAD + 1 :] = 1.0
    one, other = leaned(predicted, OUTCOMES), leaned(predicted, changed)
    assert np.array_equal(one[: row + 1], other[: row + 1])
    assert not np.array_equal(one, other)


def test_gaps_in_the_past_count_for_nothing_and_the_outermost_stay_inside() -> None:
    predicted, outcomes = sigmoid(TRUE), OUTCOMES.copy()
    predicted[100:900], outcomes[2000:2500] = np.nan, np.nan
    predicted[1000:1010], predicted[1010:1020] = 0.0, 1.0
    corrected = leaned(predicted, outcomes)
    assert np.isfinite(corrected[900:]).all()
    assert ((corrected[900:] > 0) & (corrected[900:] < 1)).all()


def test_a_correction_goes_only_so_far() -> None:
    predicted = np.full(COUNT, 0.5)
    corrected = leaned(predicted, np.ones(COUNT))[KNOWN]
    gap = -recalibration.CENTRE
    farthest = FARTHEST + recalibration.STEEPEST * gap
    assert corrected.max() <= sigmoid(np.array(farthest)) + 1e-12
