"""Features: the same number live and in batch, nothing of the future, and nothing made up."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantstream import features
from quantstream.core.errors import DataRejected
from quantstream.features import releases, table
from tests.unit.ml import markets

COUNT = features.WARMUP + 600
MARKET = markets.candles(COUNT)
BATCH = features.compute(MARKET)
PAST = {"fed_decision": "2060e27c526ca101", "consumer_prices": "0228ee86830a1d36", "employment": "b489fc4aafa96bb3"}


def same(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether two frames hold exactly the same bits, NaN included."""
    return np.array_equal(one.to_numpy(), other.to_numpy(), equal_nan=True)


@settings(max_examples=25, deadline=None)
@given(st.integers(features.WARMUP, COUNT - 1), st.integers(0, 300), st.integers(1, 40))
def test_live_with_its_warm_up_equals_batch_to_the_last_bit(row: int, earlier: int, wanted: int) -> None:
    history = MARKET.iloc[max(row - features.WARMUP - earlier, 0) : row + 1]
    live = features.compute(history, rows=1)
    assert same(live, BATCH.iloc[[row]])
    assert same(features.compute(history).iloc[[-1]], live)
    known = min(wanted, len(history) - features.WARMUP)
    assert same(features.compute(history, rows=wanted).iloc[-known:], BATCH.iloc[row + 1 - known : row + 1])


def test_live_equals_batch_with_gaps_in_the_history() -> None:
    rng = np.random.default_rng(4)
    holed = MARKET.drop(index=[*rng.choice(COUNT, 60, replace=False), *range(4000, 4030)])
    batch = features.compute(holed)
    for end in (len(holed), len(holed) - 7, len(holed) - 111):
        live = features.compute(holed.iloc[end - features.WARMUP - 1 : end], rows=1)
        assert same(live, batch.iloc[[end - 1]])


def test_the_newest_rows_of_many_symbols_equal_batch_to_the_last_bit() -> None:
    other = markets.candles(COUNT, seed=8)
    frames = [
        MARKET,
        other,
        MARKET.drop(index=[COUNT - 2, COUNT - 300, 2000]),  # gaps
        other.drop(index=[COUNT - 1 - features.WARMUP]),  # where the longest window begins
        other.assign(close=other["close"].where(other.index != COUNT - 1)),  # no price
        other.assign(volume=other["volume"].where(other.index != COUNT - 9, -1.0)),
        MARKET.drop(columns="taker_buy_volume"),
        other.iloc[-features.WARMUP - 1 :],
        MARKET.iloc[-700:],
        other.iloc[-700:],
        other.iloc[-3:],
    ]
    for rows in (1, 7):
        found = features.newest([features.series_of(frame) for frame in frames], rows)
        for one, frame in zip(found, frames, strict=True):
            at = features.opened_at_us(frame)
            batch = dict(zip(at.tolist(), features.compute(frame).to_numpy(), strict=True))
            missing = np.full(len(features.NAMES), np.nan)
            places = range(int(at[-1]) - (rows - 1) * features.STEP_US, int(at[-1]) + 1, features.STEP_US)
            assert np.array_equal(one, np.stack([batch.get(place, missing) for place in places]), equal_nan=True)
    assert np.isfinite(found[:2]).all()
    assert features.newest([], 3).shape == (0, 3, len(features.NAMES))
    with pytest.raises(DataRejected, match="time order"):
        features.newest([features.series_of(MARKET), features.series_of(MARKET.iloc[::-1])])


def test_the_future_changes_nothing_before_it() -> None:
    row = COUNT - 200
    changed = MARKET.copy()
    changed.loc[row:, ["open", "high", "low", "close", "volume", "taker_buy_volume"]] *= 3.7
    assert same(features.compute(changed).iloc[:row], BATCH.iloc[:row])


def test_every_feature_is_known_once_the_warm_up_is_there_and_not_a_candle_earlier() -> None:
    assert np.isfinite(BATCH.iloc[features.WARMUP :].to_numpy()).all()
    first_known = {name: int(np.flatnonzero(np.isfinite(BATCH[name]))[0]) for name in features.NAMES}
    assert first_known == {name: definition.back for name, definition in features.DEFINITIONS.items()}


def test_formulas_agree_with_plain_pandas() -> None:
    close, high, low, volume = (MARKET[name] for name in ("close", "high", "low", "volume"))
    returns = pd.Series(np.log(close / close.shift(1)))
    day = (returns**2).rolling(288).mean() ** 0.5
    hourly = (returns**2).rolling(12).mean() ** 0.5
    typical = (high + low + close) / 3
    buys = MARKET["taker_buy_volume"]
    log_range = np.log(high / low) ** 2
    opened = MARKET["open"]
    season = pd.Series(0.5 * np.log((log_range / (4 * np.log(2))).rolling(12).mean()))
    up = np.log(high / close) * np.log(high / opened)
    satchell = up + np.log(low / close) * np.log(low / opened)
    mix = 0.34 / (1.34 + 289 / 287)
    jumps = pd.Series(np.log(opened / close.shift(1)) ** 2).rolling(288).mean()
    bodies = pd.Series(np.log(close / opened) ** 2).rolling(288).mean()
    expected = {
        "log_garman_klass_1h": 0.5
        * np.log((0.5 * log_range - (2 * np.log(2) - 1) * np.log(close / opened) ** 2).rolling(12).mean()),
        "log_rogers_satchell_6h": 0.5 * np.log(satchell.rolling(72).mean()),
        "log_yang_zhang_24h": 0.5 * np.log(jumps + mix * bodies + (1 - mix) * satchell.rolling(288).mean()),
        "log_bipower_6h": 0.5 * np.log(np.pi / 2 * (returns.abs() * returns.abs().shift(1)).rolling(72).mean()),
        "log_mean_move_24h": np.log(returns.abs().rolling(288).mean()),
        "log_max_move_1h": np.log(returns.abs().rolling(12).max()),
        "log_span_24h": np.log(np.log(high.rolling(288).max() / low.rolling(288).min())),
        "log_seasonal_range_28d": sum(season.shift(288 * day - 12) for day in range(1, 29)) / 28,
        "log_seasonal_range_weekly_28d": sum(season.shift(288 * day - 12) for day in (7, 14, 21, 28)) / 4,
        "log_rms_q50_30d": np.log(hourly.rolling(8640).quantile(0.5)),
        "log_rms_q97_30d": np.log(hourly.rolling(8640).quantile(0.97)),
        "parkinson_1h_unusual_30d": (season - season.rolling(8580).mean()) / season.rolling(8580).std(ddof=0),
        "seasonal_turn_28d": sum(season.shift(288 * day - 12) - season.shift(288 * day) for day in range(1, 29)) / 28,
        "seasonal_volume_14d": np.log(
            volume.rolling(12).mean() / (sum(volume.rolling(12).mean().shift(288 * day) for day in range(1, 15)) / 14)
            + 0.01
        ),
        "momentum_1h": np.log(close / close.shift(12)) / (day * 12**0.5),
        "log_rms_7d": 0.5 * np.log((returns**2).rolling(2016).mean()),
        "log_threshold_30d": np.log(hourly.rolling(8640).quantile(0.9)),
        "log_parkinson_1h": 0.5 * np.log((np.log(high / low) ** 2 / (4 * np.log(2))).rolling(12).mean()),
        "relative_volume_1h": np.log(volume.rolling(12).mean() / volume.rolling(288).mean() + 0.01),
        "taker_imbalance_1h": (2 * buys - volume).rolling(12).sum() / volume.rolling(12).sum(),
        "vwap_distance_24h": np.log(close * volume.rolling(288).sum() / (typical * volume).rolling(288).sum())
        / (day * 288**0.5),
        "range_position_24h": (close - low.rolling(288).min()) / (high.rolling(288).max() - low.rolling(288).min()),
        "bollinger_position": (np.log(close) - np.log(close).rolling(20).mean())
        / (2 * np.log(close).rolling(20).std(ddof=0)),
        "down_share_6h": (returns.clip(upper=0) ** 2).rolling(72).sum() / (returns**2).rolling(72).sum(),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(BATCH[name].iloc[-500:], values.iloc[-500:], rtol=1e-6, atol=1e-6, err_msg=name)


def test_prices_and_volumes_at_another_scale_change_nothing() -> None:
    scaled = MARKET.copy()
    scaled[["open", "high", "low", "close"]] *= 10
    scaled[["volume", "taker_buy_volume"]] *= 1000
    np.testing.assert_allclose(features.compute(scaled), BATCH, rtol=1e-7, atol=1e-7)


def test_a_price_that_never_moves_has_finite_features() -> None:
    last = features.compute(markets.flat(features.WARMUP + 1)).iloc[-1]
    assert np.isfinite(last).all()
    still = ["momentum_5m", "momentum_24h", "jump_share_1h", "bollinger_position", "vwap_distance_24h", "log_move_5m"]
    assert last[["parkinson_15m_unusual_30d", "parkinson_6h_unusual_30d"]].abs().max() < 1e-6
    assert last[still].tolist() == [0.0] * len(still)
    assert last["log_rms_24h"] == np.log(features.RMS_FLOOR)


def test_a_gap_silences_short_windows_across_it_and_spares_the_long_ones() -> None:
    row = COUNT - 100
    holed = features.compute(MARKET.drop(index=[row]))
    after = holed.loc[row + 5]
    assert np.isnan(after[["log_rms_1h", "momentum_15m", "taker_imbalance_1h"]]).tolist() == [True, False, True]
    assert np.isfinite(after[["log_rms_24h", "log_rms_7d", "log_threshold_30d"]]).all()
    assert np.isfinite(holed.loc[row + 60]).all()


@pytest.mark.parametrize("value", [np.nan, 0.0, -1.0, np.inf])
def test_a_candle_without_sound_prices_counts_as_missing(value: float) -> None:
    odd = MARKET.copy()
    odd.loc[COUNT - 1, "close"] = value
    computed = features.compute(odd)
    assert computed.iloc[-1].isna().all()
    assert same(computed.iloc[:-1], BATCH.iloc[:-1])


def test_without_taker_volume_the_imbalance_is_zero_and_the_rest_the_same() -> None:
    without = features.compute(MARKET.drop(columns="taker_buy_volume"))
    imbalance = ["taker_imbalance_5m", "taker_imbalance_1h"]
    assert set(without[imbalance].iloc[20:].to_numpy().ravel()) == {0.0}
    assert same(without.drop(columns=imbalance), BATCH.drop(columns=imbalance))


def test_frames_that_are_not_candles_are_refused_in_a_sentence() -> None:
    with pytest.raises(DataRejected, match="lack volume"):
        features.compute(MARKET.drop(columns="volume"))
    with pytest.raises(DataRejected, match="time order"):
        features.compute(MARKET.iloc[::-1])
    with pytest.raises(DataRejected, match="each once"):
        features.compute(MARKET.iloc[[0, 0, 1]])
    with pytest.raises(DataRejected, match="grid"):
        features.compute(MARKET.assign(opened_at=MARKET["opened_at"] + pd.Timedelta(seconds=1)))
    assert features.compute(MARKET.iloc[:0]).shape == (0, len(features.NAMES))
    assert features.compute(MARKET.iloc[:0], rows=1).shape == (0, len(features.NAMES))


def test_the_table_of_features_is_current() -> None:
    page = Path(__file__).parents[4] / "docs" / "FEATURES.md"
    assert page.read_text(encoding="utf-8") == table.markdown(), "run: python -m ml features > docs/FEATURES.md"


def test_every_feature_of_the_table_is_computed_warmed_up_for_and_in_the_hash() -> None:
    """A definition added below `NAMES` would be in none of them, and champions would stay."""
    assert features.NAMES == tuple(features.DEFINITIONS) == tuple(BATCH.columns)
    assert max(one.back for one in features.DEFINITIONS.values()) == features.WARMUP


def test_every_feature_has_its_words_and_unit() -> None:
    assert {name for name, one in features.DEFINITIONS.items() if not (one.words and one.unit and one.source)} == set()


def released(at: str, column: str) -> float:
    """The feature of the candle that closes at this time in UTC."""
    closes = pd.Timestamp(at, tz="UTC")
    opened = pd.date_range(closes - pd.Timedelta("15min"), closes - pd.Timedelta("5min"), freq="5min")
    candle = MARKET.iloc[: len(opened)].assign(opened_at=opened)
    return float(features.compute(candle)[column].iloc[-1])


def test_what_is_scheduled_is_known_an_hour_before_and_over_an_hour_after() -> None:
    # New York's 14:00 is 18:00 UTC in summer and 19:00 in winter; its 8:30 is 12:30 and 13:30
    for at, next_, past in (
        ("2023-06-14 16:55", 0, 0),
        ("2023-06-14 17:05", 1, 0),
        ("2023-06-14 18:00", 1, 0),  # the coming hour begins with it
        ("2023-06-14 18:05", 0, 1),
        ("2023-06-14 19:00", 0, 1),
        ("2023-06-14 19:05", 0, 0),
        ("2023-12-13 18:05", 1, 0),
        ("2023-12-13 19:05", 0, 1),
    ):
        assert (released(at, "fed_decision_next_1h"), released(at, "fed_decision_past_1h")) == (next_, past), at
    assert released("2024-07-11 12:00", "consumer_prices_next_1h") == 1
    assert released("2024-01-05 13:00", "employment_next_1h") == 1
    assert released("2024-07-05 13:00", "employment_past_1h") == 1


def test_clock_and_weekend_are_new_yorks() -> None:
    times = pd.date_range("2019-03-01", "2031-01-01", freq="211min", tz="UTC")
    local = times.tz_convert("America/New_York").tz_localize(None).as_unit("us").asi8
    assert np.array_equal(releases.new_york(times.as_unit("us").asi8), local)
    assert released("2024-07-13 03:25", "new_york_weekend_1h") == 0  # Friday, 23:25 there: the middle is 23:55
    assert released("2024-07-13 03:30", "new_york_weekend_1h") == 1
    assert released("2024-07-15 03:25", "new_york_weekend_1h") == 1


def test_schedules_hold_each_time_once_on_working_days_until_their_end_and_say_who_announced_them() -> None:
    calendar = releases.packaged()
    for kind in releases.KINDS:
        times = pd.DatetimeIndex(pd.to_datetime(calendar.times(kind), unit="us", utc=True))
        assert times.is_monotonic_increasing
        assert times.is_unique
        assert set(times.tz_convert("America/New_York").day_name()) <= {
            "Tuesday",
            "Wednesday",
            "Thursday",
            "Friday",
        }
        assert timedelta(0) <= calendar.known_until[kind] - times[-1].date() < timedelta(days=31)
        assert calendar.times(kind).tolist() == [releases.usual_time(kind, time.date()) for time in times]
    assert all(one.source for one in calendar.releases)
    known_before = [(one.announced_on, str(pd.Timestamp(one.at, unit="us").date())) for one in calendar.releases]
    assert all(announced < day for announced, day in known_before)


def test_the_federal_reserves_decisions_of_2027_are_known_at_two_in_new_york() -> None:
    """Its announcement of 2025-09-05; the United States change their clocks on 14 March and 7 November 2027."""
    found = [one for one in releases.packaged().releases if one.kind == "fed_decision" and _year(one.at) == 2027]
    days = (
        "01-27 19:00",
        "03-17 18:00",
        "04-28 18:00",
        "06-09 18:00",
        "07-28 18:00",
        "09-15 18:00",
        "10-27 18:00",
        "12-08 19:00",
    )
    assert [f"{pd.Timestamp(one.at, unit='us'):%m-%d %H:%M}" for one in found] == list(days)
    assert {one.announced_on for one in found} == {"2025-09-05"}


def _year(at: int) -> int:
    return int(pd.Timestamp(at, unit="us").year)


def test_past_schedules_are_those_that_models_learnt_from() -> None:
    """A digest of each kind's times until 2026-11-25: features of candles that closed never change."""
    until = pd.Timestamp("2026-11-25", tz="UTC").value // 1000
    found = {}
    for kind in releases.KINDS:
        times = [at for at in releases.packaged().times(kind).tolist() if at < until]
        found[kind] = hashlib.sha256(json.dumps(times).encode()).hexdigest()[:16]
    assert found == PAST


def test_beyond_the_calendar_all_is_an_ordinary_hour_and_every_feature_is_known() -> None:
    frame = markets.candles(features.WARMUP + 20)
    later = frame.assign(
        opened_at=frame["opened_at"] + (pd.Timestamp("2031-03-03", tz="UTC") - frame["opened_at"].iloc[0])
    )
    row = features.compute(later).iloc[-1]
    assert {row[f"{kind}_{side}_1h"] for kind in releases.KINDS for side in ("next", "past")} == {0.0}
    assert np.isfinite(row.to_numpy()).all()


def test_what_is_scheduled_is_told_by_the_clock_alone_whatever_the_market_did() -> None:
    frame = markets.candles(3000).assign(opened_at=pd.date_range("2023-06-10", periods=3000, freq="5min", tz="UTC"))
    names = [f"{kind}_{side}_1h" for kind in releases.KINDS for side in ("next", "past")]
    wild = frame.assign(
        **{name: frame[name] * np.geomspace(1, 50, len(frame)) for name in ("open", "high", "low", "close", "volume")}
    )
    expected = features.compute(frame)[names]
    assert expected.to_numpy().sum() > 0
    assert features.compute(wild)[names].equals(expected)
    assert features.compute(frame.iloc[1000:])[names].equals(expected.iloc[1000:])


@pytest.mark.data
def test_real_candles_with_outages_give_the_same_features_live_and_in_batch(data: Path) -> None:
    frame = pd.read_parquet(data / "klines_5m" / "BTCUSDT_5m.parquet").rename(columns={"open_time": "opened_at"})
    frame = frame.iloc[:30_000]  # through the outages of spring 2021
    batch = features.compute(frame)
    for end in np.random.default_rng(2).integers(features.WARMUP + 1, len(frame), 15):
        live = features.compute(frame.iloc[end - features.WARMUP - 1 : end], rows=1)
        assert same(live, batch.iloc[[end - 1]])
