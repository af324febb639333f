"""Drift: seldom found in a market that stays as it is, though its days resemble one another; found in one that changes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter  # type: ignore[import-untyped]

from ml.monitoring.drift import Reference, quantiles, shifts
from quantstream.core.rolling import Floats
from quantstream.core.time import DAY, MINUTE

NAMES = tuple(f"feature_{i}" for i in range(30))
CANDLES, DAYS, SYMBOLS = 288, 45, 2
MARKETS = 40


def market(seed: int, days: int = DAYS + 1) -> tuple[Floats, Floats]:
    """(rows,) times and (rows, names): a third of the features are volatile for days on end, with a season by the hour."""
    rng = np.random.default_rng(seed)
    count = days * CANDLES
    common = lfilter([1.0], [1, -0.995], rng.normal(0, 0.1, count))  # remembers for most of a day
    season = np.sin(2 * np.pi * np.arange(count) / CANDLES)
    rows = [
        np.stack(
            [
                common * (i % 3 == 0) + season * (i % 2) + lfilter([1.0], [1, -0.9], rng.normal(0, 0.4, count))
                for i in range(30)
            ],
            axis=1,
        )
        for _ in range(SYMBOLS)
    ]
    return np.tile(np.arange(count) * 5 * MINUTE, SYMBOLS), np.concatenate(rows)


def found(at: Floats, values: Floats) -> list[str]:
    is_newest = at // DAY == at.max() // DAY
    reference = Reference.of(NAMES, at[~is_newest].astype(np.int64), values[~is_newest])
    return [one.name for one in shifts(reference, quantiles(values[is_newest]))]


def test_in_a_market_that_stays_as_it_is_a_drift_is_found_on_less_than_three_days_in_a_hundred() -> None:
    alarms = [seed for seed in range(MARKETS) if found(*market(seed))]
    assert len(alarms) <= 0.03 * MARKETS + 1, alarms


@pytest.mark.parametrize("seed", range(5))
def test_a_day_on_which_volatility_is_another_is_found_with_the_features_that_tell_it(seed: int) -> None:
    at, values = market(seed)
    moved = values + 6.0 * np.outer(at // DAY == DAYS, np.arange(30) < 3)
    assert set(found(at, moved)) >= {"feature_0", "feature_1", "feature_2"}
    assert set(found(at, moved)) <= {"feature_0", "feature_1", "feature_2"} | set(found(at, values))


def test_what_lies_far_off_every_day_is_no_news() -> None:
    at, values = market(1)
    values[:, 0] = np.repeat(np.tile(np.cumsum(np.random.default_rng(2).normal(size=DAYS + 1)), SYMBOLS), CANDLES)
    assert found(at, values) == []


def test_too_few_days_say_nothing() -> None:
    at, values = market(1, days=6)
    assert found(at, values + 9.0 * (at // DAY == 5)[:, None]) == []


def test_a_feature_that_nobody_knows_yet_counts_nowhere() -> None:
    at, values = market(1)
    values[:, 4] = np.nan
    assert found(at, values) == []
