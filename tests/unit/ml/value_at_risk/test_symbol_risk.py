"""One symbol's risk: what it is made of, that nothing of the future is in it, and when there is none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ml.models import risk
from ml.value_at_risk.observations import HAR, HORIZONS, NAMES, observe
from ml.value_at_risk.symbol_risk import SymbolRisk, day_of, fit, risk_at, symbol_risk
from quantstream import features
from quantstream.core.errors import DataRejected
from quantstream.core.time import DAY, HOUR
from tests.unit.ml import markets

CANDLES = markets.candles(36 * 288, 4)
AT = int(features.opened_at_us(CANDLES)[34 * 288 + 140]) + features.STEP_US


def numbers(found: SymbolRisk) -> list[float]:
    told = [one for name in found.sigma for side in (found.long(name), found.short(name)) for one in side.values()]
    return [*found.sigma.values(), *(number for one in told for number in (one.value_at_risk, one.expected_shortfall))]


def before(at: int, frame: pd.DataFrame = CANDLES) -> pd.DataFrame:
    return frame[features.opened_at_us(frame) < at]


def test_what_came_is_the_return_and_the_sum_of_its_squares() -> None:
    seen = observe(CANDLES)
    close = CANDLES["close"].to_numpy()
    for horizon in HORIZONS:
        for row in (0, 500):
            steps = np.diff(np.log(close[row : row + horizon.candles + 1]))
            assert seen.returns[horizon.name][row] == pytest.approx(steps.sum())
            assert seen.variances[horizon.name][row] == pytest.approx((steps**2).sum())
        assert np.isnan(seen.returns[horizon.name][-horizon.candles :]).all()


def test_har_is_the_one_that_the_risk_model_is_held_against() -> None:
    assert risk.HAR[: len(HAR)] == HAR
    assert len(set(NAMES)) == len(NAMES)


def test_the_future_changes_nothing() -> None:
    spoilt = CANDLES.copy()
    later = features.opened_at_us(spoilt) >= AT
    spoilt.loc[later, ["open", "high", "low", "close"]] *= 3.0
    assert numbers(symbol_risk("BTCUSDT", CANDLES, AT)) == numbers(symbol_risk("BTCUSDT", spoilt, AT))
    assert numbers(symbol_risk("BTCUSDT", CANDLES, AT)) == numbers(symbol_risk("BTCUSDT", before(AT), AT))


def test_the_past_changes_it_and_a_day_learns_nothing_of_itself() -> None:
    wilder = CANDLES.copy()
    today = (features.opened_at_us(wilder) >= day_of(AT)) & (features.opened_at_us(wilder) < AT)
    wilder.loc[today, "high"] *= 1.01
    told, other = symbol_risk("BTCUSDT", CANDLES, AT), symbol_risk("BTCUSDT", wilder, AT)
    assert other.sigma["1h"] > told.sigma["1h"]
    assert all(np.array_equal(other.shocks[name].values, told.shocks[name].values) for name in told.shocks)


def test_candles_that_reach_back_farther_than_it_reads_give_the_same_bits() -> None:
    long = markets.candles(200 * 288, 9)
    at = int(features.opened_at_us(long)[-1]) + features.STEP_US
    needed = long[features.opened_at_us(long) >= day_of(at) - 188 * DAY]
    assert len(needed) < len(long)
    assert numbers(symbol_risk("BTCUSDT", needed, at)) == numbers(symbol_risk("BTCUSDT", long, at))


def test_a_day_is_riskier_than_an_hour_and_the_levels_hold_on_what_follows() -> None:
    found = symbol_risk("BTCUSDT", CANDLES, AT)
    assert found.sigma["1d"] > 2 * found.sigma["1h"]
    for side in (found.long, found.short):
        assert side("1d")[0.99].value_at_risk > side("1h")[0.99].value_at_risk > side("1h")[0.95].value_at_risk > 0
    moves = found.moves("1h")
    assert np.mean(-moves > found.long("1h")[0.95].value_at_risk) == pytest.approx(0.05, abs=0.015)


def test_too_few_candles_are_said_with_what_is_needed() -> None:
    short = CANDLES.iloc[: 20 * 288]
    at = int(features.opened_at_us(short)[-1]) + features.STEP_US
    with pytest.raises(
        DataRejected, match=r"^SOLUSDT: 1[23]\.\d days of its candles can be learnt from, 21 are needed"
    ):
        symbol_risk("SOLUSDT", short, at)


def test_a_price_that_stands_still_has_no_risk_that_could_be_told() -> None:
    still = markets.flat(36 * 288)
    with pytest.raises(DataRejected, match="USDCUSDT: its price stood still"):
        symbol_risk("USDCUSDT", still, int(features.opened_at_us(still)[-1]) + features.STEP_US)


def test_a_missing_candle_is_no_figure_for_the_hours_that_need_it() -> None:
    holed = CANDLES[~np.isin(features.opened_at_us(CANDLES), [AT - features.STEP_US])]
    seen = observe(holed)
    fitted = fit("BTCUSDT", seen, day_of(AT))
    with pytest.raises(DataRejected, match=r"BTCUSDT: candles before .* are missing"):
        risk_at("BTCUSDT", seen, fitted, AT)
    assert risk_at("BTCUSDT", seen, fitted, AT + 7 * HOUR).at == AT + 7 * HOUR
