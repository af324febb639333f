"""Measures against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ml import measures


def test_pinball_charges_each_side_by_its_level() -> None:
    levels = np.array([0.1, 0.9])
    # actual 1 above both quantiles 0: 0.1 × 1 and 0.9 × 1; actual −1 below both: 0.9 × 1 and 0.1 × 1
    assert measures.pinball(np.array([1.0, -1.0]), np.zeros((2, 2)), levels) == pytest.approx(0.5)
    assert measures.pinball(np.array([1.0]), np.zeros((1, 2)), np.array([0.1, 0.1])) == pytest.approx(0.1)


def test_coverage_counts_the_ends_in() -> None:
    assert measures.coverage(np.array([0.0, 1.0, 2.0]), np.zeros(3), np.ones(3)) == pytest.approx(2 / 3)


def test_log_loss_and_brier_of_even_odds() -> None:
    assert measures.log_loss(np.array([0, 1]), np.full((2, 2), 0.5)) == pytest.approx(np.log(2))
    assert measures.brier(np.array([0.0, 1.0]), np.full(2, 0.5)) == pytest.approx(0.25)
    assert np.isfinite(measures.log_loss(np.array([0]), np.array([[0.0, 1.0]])))


def test_auc_counts_ties_half() -> None:
    assert measures.auc(np.array([0.0, 1.0, 1.0]), np.array([0.1, 0.1, 0.9])) == pytest.approx(0.75)
    assert np.isnan(measures.auc(np.zeros(3), np.arange(3.0)))


def test_rank_correlation_is_of_ranks_and_zero_for_a_constant() -> None:
    assert measures.rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([1.0, 10.0, 100.0])) == pytest.approx(1)
    assert measures.rank_correlation(np.array([1.0, 2.0, 3.0]), np.zeros(3)) == 0.0


def test_calibration_error_is_zero_when_frequencies_match_and_the_gap_when_not() -> None:
    actual = np.array([0.0, 1.0] * 50)
    assert measures.calibration_error(actual, np.full(100, 0.5), bins=1) == pytest.approx(0)
    assert measures.calibration_error(actual, np.full(100, 0.8), bins=1) == pytest.approx(0.3)
