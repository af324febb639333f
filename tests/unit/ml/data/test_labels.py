"""Labels against hand-made examples, and nothing but the promised stretch of the future in them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ml.data import labels
from quantstream import features
from tests.unit.ml import markets

ROW = 400  # a day of calm before it gives the barriers their width


def calm_then(*moves: float) -> pd.DataFrame:
    """Return candles that swing by ±0.1 % for a day, then move by the given log returns, then stand still."""
    returns = np.concatenate([np.resize([0.001, -0.001], ROW + 1), moves, np.zeros(24 - len(moves))])
    close = 100 * np.exp(np.cumsum(returns))
    frame = markets.flat(len(close))
    frame["close"] = close
    frame["open"] = np.concatenate([[100.0], close[:-1]])
    frame["high"], frame["low"] = frame[["open", "close"]].max(axis=1), frame[["open", "close"]].min(axis=1)
    return frame


@pytest.mark.parametrize(
    ("moves", "action"),
    [
        ((0.02,), labels.BUY),
        ((-0.02,), labels.SELL),
        ((0.0,), labels.HOLD),
        ((-0.02, 0.06), labels.SELL),  # the first touch counts
        ((0.001,) * 3 + (0.001,) * 9, labels.BUY),  # in small steps
        ((0.0,) * 12 + (0.05,), labels.HOLD),  # a candle too late
    ],
)
def test_the_barrier_touched_first_within_the_hour_is_the_action(moves: tuple[float, ...], action: int) -> None:
    assert labels.compute(calm_then(*moves))["action"].iloc[ROW] == action


def test_both_barriers_in_one_candle_tell_nothing_and_mean_hold() -> None:
    frame = calm_then(0.0)
    frame.loc[ROW + 1, "high"], frame.loc[ROW + 1, "low"] = 110.0, 90.0
    assert labels.compute(frame)["action"].iloc[ROW] == labels.HOLD


def test_a_barrier_is_never_nearer_than_twice_the_costs() -> None:
    assert labels.barrier(np.array([1e-6, 0.01])).tolist() == [labels.MIN_BARRIER, 0.01 * np.sqrt(12)]


def test_forward_returns_are_logs_of_later_closes() -> None:
    frame = calm_then(0.01, 0.02, 0.03)
    computed = labels.compute(frame)
    assert computed["return_5m"].iloc[ROW] == pytest.approx(0.01)
    assert computed["return_15m"].iloc[ROW] == pytest.approx(0.06)
    assert computed["return_1h"].iloc[ROW] == pytest.approx(0.06)
    assert computed[["return_5m", "return_15m", "return_1h"]].iloc[-2].isna().tolist() == [False, True, True]


def test_an_hour_is_abnormal_when_it_beats_the_trailing_ninetieth_percentile() -> None:
    frame = markets.candles(1200, seed=3)
    returns = pd.Series(np.log(frame["close"] / frame["close"].shift(1)))
    hourly = ((returns**2).rolling(12).mean()) ** 0.5
    threshold = hourly.rolling(500).quantile(0.9)
    coming = hourly.shift(-12)
    expected = (coming > threshold).astype(float).where(coming.notna() & threshold.notna())
    pd.testing.assert_series_equal(labels.compute(frame, trailing=500)["abnormal"], expected, check_names=False)


@pytest.mark.parametrize("label", list(labels.HORIZON))
def test_what_lies_beyond_the_horizon_changes_no_label(label: str) -> None:
    frame = markets.candles(1500, seed=5)
    row = 1300
    before = labels.compute(frame, trailing=500)[label]
    changed = frame.copy()
    changed.loc[row + labels.HORIZON[label] + 1 :, ["open", "high", "low", "close"]] *= 2
    after = labels.compute(changed, trailing=500)[label]
    assert before.iloc[: row + 1].equals(after.iloc[: row + 1])
    assert not before.equals(after)


def test_a_label_across_a_gap_is_unknown() -> None:
    frame = markets.candles(1000).drop(index=[605])
    computed = labels.compute(frame, trailing=500)
    assert np.isnan(computed.to_numpy()[600]).tolist() == [False, False, False, True, True, True]
    assert np.isnan(computed.to_numpy()[604]).tolist() == [True, False, False, True, True, True]


def test_a_label_is_known_when_its_last_candle_closes() -> None:
    assert labels.ends_at(np.array([0]), "return_5m").tolist() == [2 * features.STEP_US]
    assert labels.ends_at(np.array([0]), "abnormal").tolist() == [13 * features.STEP_US]
