"""Bounds and tests: they cover what they should, and noise is no edge."""

from __future__ import annotations

import numpy as np
import pytest

from ml import measures
from ml.evaluation import bootstrap

RNG = np.random.default_rng(1)
ROWS = 6000
AT = np.arange(ROWS) * 300_000_000
DAYS = bootstrap.days_of(AT)


def test_days_are_counted_without_gaps() -> None:
    assert bootstrap.days_of(np.array([0, 1, 86_400_000_000 * 9])).tolist() == [0, 0, 1]


def test_a_constant_edge_is_significant_and_noise_is_not() -> None:
    noise = RNG.normal(size=ROWS)
    edge = bootstrap.mean_gain(noise * 0.1, noise * 0.1 + 0.2 + RNG.normal(size=ROWS) * 0.1, DAYS)
    assert edge[""] == pytest.approx(0.2, abs=0.01)
    assert 0 < edge["_low"] < edge[""] < edge["_high"]
    assert edge["_p"] < 1e-6
    none = bootstrap.mean_gain(RNG.normal(size=ROWS), RNG.normal(size=ROWS), DAYS)
    assert none["_low"] < 0 < none["_high"]
    assert none["_p"] > 0.01


def test_the_gain_of_auc_is_the_difference_of_both() -> None:
    actual = (RNG.random(ROWS) < 0.2).astype(float)
    good, bad = actual + RNG.normal(size=ROWS), RNG.normal(size=ROWS)
    gain = bootstrap.auc_gain(actual, good, bad, DAYS)
    assert gain[""] == pytest.approx(measures.auc(actual, good) - measures.auc(actual, bad), abs=1e-12)
    assert 0.15 < gain["_low"] < gain[""] < gain["_high"] < 0.4


def test_bounds_of_a_rank_correlation_hold_it_and_exclude_zero_only_with_an_edge() -> None:
    signal = RNG.normal(size=ROWS)
    actual = 0.2 * signal + RNG.normal(size=ROWS)
    low, high = bootstrap.rank_correlation_bounds(actual, signal, DAYS)
    assert 0 < low < measures.rank_correlation(actual, signal) < high
    low, high = bootstrap.rank_correlation_bounds(RNG.normal(size=ROWS), signal, DAYS)
    assert low < 0 < high
    assert bootstrap.rank_correlation_bounds(actual, np.zeros(ROWS), DAYS) == (0.0, 0.0)


def test_no_variance_is_no_evidence() -> None:
    assert bootstrap.diebold_mariano(np.zeros(10)) == (0.0, 1.0)
