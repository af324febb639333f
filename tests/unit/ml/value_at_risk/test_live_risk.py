"""Live: forecasts in the lake, the same bits made anew as of then, and what came held against them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ml.value_at_risk.live_coverage import broken_levels, tell_and_judge, verdict
from ml.value_at_risk.live_risk import MOST_HOURS, look
from ml.value_at_risk.observations import HORIZONS, observe
from ml.value_at_risk.recomputing import recompute
from quantstream import features
from quantstream.core.errors import Misconfigured
from quantstream.core.time import micros, utc
from quantstream.lake.schemas import KNOWN_AT, TIME, VALUE_AT_RISK
from quantstream.lake.store import Lake
from tests.unit.ml import markets

FRAMES = {"BTCUSDT": markets.candles(40 * 288, 31), "ETHUSDT": markets.candles(40 * 288, 32)}
FIRST = 34 * 288 + 12  # candles that are there at the first look
SHORT = 10 * 288


def close_of(count: int) -> datetime:
    return utc(int(features.opened_at_us(FRAMES["BTCUSDT"])[count - 1]) + features.STEP_US)


def put(
    lake: Lake,
    symbol: str,
    start: int,
    end: int,
    change: float = 1.0,
    revision: int = 0,
    after: timedelta = timedelta(),
) -> None:
    """Write candles that were known when they closed, or later."""
    known = Known(lake, revision, after)
    frame = FRAMES[symbol].iloc[start:end].copy()
    frame[["open", "high", "low", "close"]] *= change
    markets.write_candles(known, symbol, frame)  # type: ignore[arg-type]


class Known:
    """A lake whose rows say when they became known."""

    def __init__(self, lake: Lake, revision: int, after: timedelta) -> None:
        self.lake, self.revision, self.after = lake, revision, after

    def append(self, name: str, rows: pa.Table) -> None:
        wait = features.STEP_US + self.after // timedelta(microseconds=1)
        known = pa.array(np.asarray(rows["opened_at"].cast(pa.int64()).to_numpy()) + wait).cast(TIME)
        rows = rows.set_column(rows.column_names.index(KNOWN_AT), KNOWN_AT, known)
        rows = rows.set_column(
            rows.column_names.index("revision"), "revision", pa.array([self.revision] * rows.num_rows)
        )
        self.lake.append(name, rows)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(str(tmp_path / "lake"))
    for symbol in FRAMES:
        put(lake, symbol, 0, FIRST)
    put(lake, "ETHUSDT", FIRST, FIRST)
    return lake


def rows(lake: Lake) -> list[dict[str, Any]]:
    return sorted(lake.read(VALUE_AT_RISK).to_pylist(), key=lambda row: (row["told_at"], row["symbol"], row["horizon"]))


def test_a_look_tells_the_newest_full_hour_of_each_symbol_once(lake: Lake) -> None:
    now = close_of(FIRST) + timedelta(minutes=20)
    assert str(look(lake, now)) == "4 forecasts of value at risk of 2 symbols"
    assert str(look(lake, now)) == "0 forecasts of value at risk of 2 symbols"
    assert [(row["symbol"], row["horizon"]) for row in rows(lake)] == [
        (symbol, horizon) for symbol in FRAMES for horizon in ("1d", "1h")
    ]
    assert {row["told_at"] for row in rows(lake)} == {close_of(FIRST)}
    assert {(row["made_at"], row["known_by"]) for row in rows(lake)} == {(now, now - timedelta(minutes=5))}


def test_hours_that_were_missed_are_told_of_the_candles_before_them_two_days_at_most(lake: Lake) -> None:
    look(lake, close_of(FIRST) + timedelta(minutes=20))
    for symbol in FRAMES:
        put(lake, symbol, FIRST, FIRST + 36)
    assert look(lake, close_of(FIRST + 36) + timedelta(minutes=20)).rows == 2 * 2 * 3
    for symbol in FRAMES:
        put(lake, symbol, FIRST + 36, FIRST + 36 + 60 * 12)
    assert look(lake, close_of(FIRST + 36 + 60 * 12) + timedelta(minutes=20)).rows == 2 * 2 * MOST_HOURS


def test_a_stored_forecast_made_anew_is_equal_to_the_last_bit_also_after_a_correction(lake: Lake) -> None:
    look(lake, close_of(FIRST) + timedelta(minutes=20))
    put(lake, "ETHUSDT", FIRST - 100, FIRST - 50, 1.01, revision=1, after=timedelta(days=2))
    put(lake, "BTCUSDT", FIRST, FIRST + 12)
    done = recompute(lake, 100)
    assert (done.equal, done.different, done.is_equal) == (4, [], True)
    assert done.lines() == ["4 stored forecasts are equal to the last bit, 0 are not"]


def test_a_forecast_of_other_candles_or_other_numbers_is_said(lake: Lake) -> None:
    look(lake, close_of(FIRST) + timedelta(minutes=20))
    stored = lake.read(VALUE_AT_RISK).drop_columns(["date"])
    lake.append(VALUE_AT_RISK, stored.set_column(stored.column_names.index("sigma"), "sigma", pa.array([0.5] * 4)))
    put(lake, "ETHUSDT", FIRST - 100, FIRST - 50, 1.01, revision=1)  # known by then, and committed too late to be read
    done = recompute(lake, 100)
    assert done.equal == 2
    assert len(done.different) == 6
    assert any("BTCUSDT 1h" in one and "sigma 0.00" in one and "instead of 0.5" in one for one in done.different)
    assert sum("the lake holds other candles of that time than it was made of" in one for one in done.different) == 4
    assert not done.is_equal


def test_without_stored_forecasts_nothing_is_called_equal(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="has no stored forecasts"):
        recompute(Lake(str(tmp_path), may_create=False), 5)


def test_too_short_a_history_is_said_and_the_others_are_told(lake: Lake) -> None:
    FRAMES["NEWUSDT"] = FRAMES["BTCUSDT"]
    try:
        put(lake, "NEWUSDT", FIRST - SHORT, FIRST)
    finally:
        del FRAMES["NEWUSDT"]
    looked = look(lake, close_of(FIRST) + timedelta(minutes=20))
    assert looked.rows == 4
    assert looked.without["NEWUSDT"].startswith("NEWUSDT: 2.9 days of its candles can be learnt from, 21 are needed")
    assert "NEWUSDT: 2.9 days" in str(looked)


def test_what_came_is_held_against_what_was_told(lake: Lake) -> None:
    tell_and_judge(lake.url, close_of(FIRST) + timedelta(minutes=20))
    assert not lake.has("live_figures")  # nothing has come yet
    for symbol in FRAMES:
        put(lake, symbol, FIRST, FIRST + 30 * 12)
    said = tell_and_judge(lake.url, close_of(FIRST + 30 * 12) + timedelta(minutes=20))
    assert said[0] == "120 forecasts of value at risk of 2 symbols"
    figures = {row["model"]: row for row in lake.read("live_figures").to_pylist()}
    assert {name: row["rows"] for name, row in figures.items()} == {"value-at-risk-1h": 60, "value-at-risk-1d": 14}
    seen = {symbol: observe(FRAMES[symbol].iloc[: FIRST + 30 * 12]) for symbol in FRAMES}
    beyond = []
    for row in rows(lake):
        place = seen[row["symbol"]].place(micros(row["told_at"]))
        assert place is not None
        came = seen[row["symbol"]].returns["1h"][place]
        if row["horizon"] == "1h" and np.isfinite(came):
            beyond.append(-np.expm1(came) > row["var_long"][0])
    measures = dict(figures["value-at-risk-1h"]["measures"])
    assert measures["broken"] == 0
    assert measures["exceeded_95_long"] == pytest.approx(np.mean(beyond))
    assert (figures["value-at-risk-1h"]["role"], figures["value-at-risk-1h"]["candles"]) == ("forecast", 30)
    assert figures["value-at-risk-1h"]["until"] == close_of(FIRST + 30 * 12)
    assert set(dict(figures["value-at-risk-1h"]["by_symbol"])) == set(FRAMES)


def said(found: dict[str, float]) -> str:
    return verdict(found, broken_levels(found, HORIZONS[0]), HORIZONS[0])


def test_a_level_is_called_broken_when_bootstrap_and_textbook_agree() -> None:
    fine = {"windows": 5000.0, "exceeded_95_long": 0.056, "exceeded_95_long_low": 0.051, "kupiec_p_95_long": 0.04}
    assert said(fine) == "value at risk 1h ahead: no level is broken in 5,000 windows of the last 90 days at most"
    broken = fine | {"exceeded_95_long": 0.08, "exceeded_95_long_low": 0.07, "kupiec_p_95_long": 1e-6}
    assert said(broken) == (
        "the 95 % value at risk 1h ahead of a long position was exceeded in 8.0 % of windows, "
        "7.0 % at the lower bound, instead of 5 %"
    )
    clustered = broken | {"exceeded_95_long_low": 0.045}  # the textbook alone rejects too often
    assert "no level is broken" in said(clustered)


def test_a_lake_without_candles_has_nothing_to_tell(tmp_path: Path) -> None:
    assert tell_and_judge(str(tmp_path), datetime(2024, 2, 1, tzinfo=UTC)) == [
        "0 forecasts of value at risk of 0 symbols"
    ]
