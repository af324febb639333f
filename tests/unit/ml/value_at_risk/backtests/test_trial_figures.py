"""A trial of value at risk over weeks of a made-up market: by symbol and month, beside HAR and historical simulation."""

from __future__ import annotations

import math

import pytest

from ml.value_at_risk.backtests.trial_figures import trial
from quantstream import features
from quantstream.core.errors import DataRejected
from quantstream.core.time import DAY
from tests.unit.ml import markets

FRAMES = {"BTCUSDT": markets.candles(46 * 288, 21), "ETHUSDT": markets.candles(46 * 288, 22)}
END = int(features.opened_at_us(FRAMES["BTCUSDT"])[-1]) + features.STEP_US


def test_each_hour_is_judged_by_symbol_by_month_and_pooled() -> None:
    found = trial(FRAMES, END - 14 * DAY, END)
    pooled = found["pooled"]
    assert found["rows"] == 2 * 14 * 24
    assert pooled["windows_1h"] == 2 * (14 * 24 - 1) + 2  # the last one's hour is over at the end, too
    assert pooled["windows_1d"] == 2 * (13 * 24 + 1)
    assert 0.01 < pooled["exceeded_95_long_1h"] < 0.12
    assert pooled["exceeded_95_long_1h_low"] < pooled["exceeded_95_long_1h"] < pooled["exceeded_95_long_1h_high"]
    assert pooled["qlike_1h"] < pooled["qlike_har_1h"] * 1.1
    assert set(found["symbols"]) == set(FRAMES)
    assert set(found["exceeded"]["ETHUSDT"]["1h"]) == set(found["months"]) == {"2024-02"}
    assert all(math.isfinite(pooled[name]) for name in ("qlike_skill_1h_low", "joint_gain_99_short_1h"))


def test_history_of_three_weeks_is_said_to_be_too_little() -> None:
    short = {"BTCUSDT": FRAMES["BTCUSDT"].iloc[: 20 * 288]}
    end = int(features.opened_at_us(short["BTCUSDT"])[-1])
    with pytest.raises(DataRejected, match="needs"):
        trial(short, end - 5 * DAY, end)
