"""From candles and scores to what the chart draws."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from dashboard import charts
from dashboard.charts import CLOSED, INCOMPLETE, OPEN, Day, Ledger
from quantstream.lake.schemas import candle_rows
from quantstream.lake.store import Lake

MIDNIGHT = 1_768_521_600  # seconds
EMPTY = pd.DataFrame()


def stored(tmp_path, candles) -> pd.DataFrame:
    """Return candles as they come back from a real lake."""
    lake = Lake(str(tmp_path))
    lake.append("candles", candle_rows(candles))
    return lake.candle_frame(["BTCUSDT"])


def test_live_candles_go_on_where_the_lake_ends_and_the_newest_revision_counts(tmp_path, candle) -> None:
    history = stored(tmp_path, [candle(0, 10), candle(1, 11), candle(2, 12)])
    live = [candle(1, 11.5, revision=1), candle(2, 12), candle(3, 13, is_complete=False)]
    rows = charts.bars(history, live, [candle(4, 14, is_complete=False)])
    found = rows[["time", "close", "state", "revision"]].to_numpy().tolist()
    assert found == [
        [MIDNIGHT, 10.0, CLOSED, 0],
        [MIDNIGHT + 300, 11.5, CLOSED, 1],
        [MIDNIGHT + 600, 12.0, CLOSED, 0],
        [MIDNIGHT + 900, 13.0, INCOMPLETE, 0],
        [MIDNIGHT + 1200, 14.0, OPEN, -1],
    ]


def test_a_closed_candle_beats_an_older_snapshot_of_it_being_built(candle) -> None:
    rows = charts.bars(EMPTY, [candle(0, 10)], [candle(0, 9)])
    assert rows[["close", "state"]].to_numpy().tolist() == [[10.0, CLOSED]]


def test_without_any_candle_there_is_an_empty_picture() -> None:
    rows = charts.bars(EMPTY, [], [])
    assert (charts.chart_rows(rows, "5m", 2), charts.day(rows)) == ([], None)


def test_the_session_s_average_starts_anew_at_midnight_and_weighs_by_volume(candle) -> None:
    candles = [candle(-2, 10, 1), candle(-1, 20, 3), candle(0, 40, 1), candle(1, 60, 1), candle(2, 99, 0)]
    assert charts.session_vwap(charts.bars(EMPTY, candles, [])).tolist() == [10.0, 17.5, 40.0, 50.0, 50.0]


def test_before_any_volume_the_session_s_average_is_the_close(candle) -> None:
    assert charts.session_vwap(charts.bars(EMPTY, [candle(0, 7, 0)], [])).tolist() == [7.0]


def test_the_rolling_average_waits_for_a_whole_window(candle) -> None:
    rows = charts.bars(EMPTY, [candle(0, 10, 1), candle(1, 20, 3), candle(2, 30, 1)], [])
    found = charts.rolling_vwap(rows, 2).tolist()
    assert math.isnan(found[0])
    assert found[1:] == [17.5, 22.5]


def test_bollinger_bands_are_the_mean_and_two_population_deviations() -> None:
    bands = charts.bollinger(pd.Series([1.0, 3.0, 5.0]), period=2)
    assert bands.iloc[1:].to_numpy().tolist() == [[4.0, 2.0, 0.0], [6.0, 4.0, 2.0]]
    assert bands.iloc[0].isna().all()


def test_a_row_holds_bar_state_and_lines_and_only_so_many_are_shown(candle) -> None:
    rows = charts.bars(EMPTY, [candle(i, 100) for i in range(25)], [])
    shown = charts.chart_rows(rows, "5m", 2, shown=2)
    assert shown == [
        [MIDNIGHT + i * 300, 100.0, 100.0, 100.0, 100.0, 2.0, CLOSED, 100.0, None, 100.0, 100.0, 100.0]
        for i in (23, 24)
    ]


def test_the_fan_opens_from_the_close_and_is_straight_in_log_between_horizons(score) -> None:
    rows = charts.fan(score())
    assert [row[0] for row in rows] == [MIDNIGHT + i * 300 for i in range(4)]
    expected: list[list[float]] = [[0, 0, 0], [-0.01, 0, 0.01], [-0.02, 0, 0.02], [-0.03, 0, 0.03]]
    assert [row[1:] for row in rows] == [pytest.approx([100 * math.exp(r) for r in line]) for line in expected]


def test_no_forecast_no_fan(score) -> None:
    assert charts.fan(score(forecasts=[])) == []


def test_flagged_trades_of_one_bar_share_a_marker(anomaly) -> None:
    found = charts.markers([anomaly(10), anomaly(20), anomaly(400), anomaly(-10)], "5m", MIDNIGHT)
    assert found == [{"time": MIDNIGHT, "text": "2"}, {"time": MIDNIGHT + 300, "text": ""}]


def test_the_day_covers_24_hours_up_to_the_newest_bar(candle) -> None:
    candles = [candle(0, 500, 9), candle(1, 100), candle(100, 80), candle(288, 150)]
    found = charts.day(charts.bars(EMPTY, candles, []))
    assert found == Day(150.0, 0.5, 150.0, 80.0, 6.0, 660.0, 1)


def row(at: int, close: float) -> charts.Row:
    return [at, 1, 1, 1, close, 1, 0, None, None, None, None, None]


def test_the_first_message_holds_all_and_later_ones_only_what_changed() -> None:
    ledger = Ledger("BTCUSDT/5m#1")
    assert ledger.step([row(1, 1), row(2, 2)]) == {
        "id": "BTCUSDT/5m#1", "seq": 1, "since": 0, "rows": [row(1, 1), row(2, 2)],
    }  # fmt: skip
    for _ in range(charts.RESENT):
        ledger.step([row(1, 1), row(2, 2)])
    assert ledger.step([row(1, 1), row(2, 2.5), row(3, 3)]) == {
        "id": "BTCUSDT/5m#1", "seq": 5, "since": 2, "rows": [row(2, 2.5), row(3, 3)],
    }  # fmt: skip


def test_a_browser_that_skips_messages_misses_no_row() -> None:
    ledger = Ledger("x")
    have: dict[int, charts.Row] = {}
    applied = 0
    for second in range(40):
        rows = [row(at, second if at == second else at) for at in range(second + 1)]
        message = ledger.step(rows)
        if second % charts.RESENT == 0:  # it saw only every third
            assert applied >= message["since"]
            have |= {int(r[0] or 0): r for r in message["rows"]}
            applied = message["seq"]
            assert have == {int(r[0] or 0): r for r in rows}


def test_rows_that_left_the_window_are_forgotten() -> None:
    ledger = Ledger("x")
    ledger.step([row(1, 1), row(2, 2)])
    ledger.step([row(2, 2), row(3, 3)])
    assert sorted(ledger.sent) == [2, 3]
