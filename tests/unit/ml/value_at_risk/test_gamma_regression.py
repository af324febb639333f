"""The regression of variances: it finds what made them, by the loss that it is judged by, and answers row by row."""

from __future__ import annotations

import numpy as np
import pytest

from ml.value_at_risk.gamma_regression import fit, qlike

RNG = np.random.default_rng(5)
COUNT = 6_000
ROWS = RNG.normal(size=(COUNT, 3))
TRUE = np.exp(-9 + ROWS @ np.array([0.6, 0.3, 0.0]))
ACTUAL = TRUE * RNG.gamma(2.0, 0.5, COUNT)  # mean 1, as skewed as a realised variance
USUAL = np.array([0.5, 0.5, 0.0])


def test_a_little_history_keeps_to_the_usual_slopes_and_much_that_differs_moves_them() -> None:
    slopes = {count: fit(ROWS[:count], ACTUAL[:count], USUAL) for count in (30, COUNT)}
    error = {count: np.abs(found.weights[1:] / found.scale - USUAL).max() for count, found in slopes.items()}
    assert max(error.values()) < 0.25
    level = {count: found.predict(ROWS).mean() / TRUE.mean() for count, found in slopes.items()}
    assert level[COUNT] == pytest.approx(1, rel=0.1)
    other = fit(ROWS, np.exp(-9 + ROWS @ np.array([2.0, -1.0, 0.0])), USUAL)
    assert other.weights[1] / other.scale[0] > 0.8


def test_it_finds_the_variance_that_made_what_came() -> None:
    found = fit(ROWS, ACTUAL, USUAL)
    assert np.abs(np.log(found.predict(ROWS) / TRUE)).mean() < 0.15  # it is held to the usual slopes
    assert found.predict(ROWS).mean() == pytest.approx(TRUE.mean(), rel=0.05)


def test_a_row_s_answer_depends_on_no_other_row() -> None:
    found = fit(ROWS, ACTUAL, USUAL)
    whole = found.predict(ROWS)
    assert [found.predict(ROWS[i : i + 1])[0] for i in (0, 17, COUNT - 1)] == [whole[i] for i in (0, 17, COUNT - 1)]


def test_what_lies_far_beyond_all_that_it_saw_counts_as_four_deviations() -> None:
    found = fit(ROWS, ACTUAL, USUAL)
    far = np.array([[50.0, 0.0, 0.0], [5000.0, 0.0, 0.0]])
    assert found.predict(far)[0] == found.predict(far)[1]


def test_one_flash_crash_is_not_all_that_a_month_teaches() -> None:
    crashed = ACTUAL.copy()
    crashed[100] *= 1e6
    assert (
        np.abs(np.log(fit(ROWS, crashed, USUAL).predict(ROWS) / fit(ROWS, ACTUAL, USUAL).predict(ROWS))).mean() < 0.05
    )


def test_qlike_is_nothing_where_it_is_right_and_more_for_too_little_than_for_too_much() -> None:
    loss = qlike(np.ones(3), np.array([1.0, 0.5, 2.0]))
    assert loss[0] == 0
    assert loss[1] > loss[2] > 0
