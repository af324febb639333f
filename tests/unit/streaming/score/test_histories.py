"""Where a score's warm-up comes from must not matter."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from threading import Event
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from quantstream.core.candle import Candle
from quantstream.core.decimals import UNIT
from quantstream.core.errors import Unavailable
from quantstream.core.time import MINUTE, SECOND, utc
from quantstream.features import COLUMNS, Series
from quantstream.lake.schemas import candle_rows
from quantstream.lake.store import Lake
from streaming.score.candle_history import MOST_EDITS, ROOM, CandleHistory, candle_floats
from streaming.score.histories import FIRST_RELOAD, LAST_RELOAD, SLOW, CandleHistories

T0 = 1_723_161_600 * SECOND
STEP = 5 * MINUTE


class AtOnce(Executor):
    """Does what it is given before it answers."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  as any executor
            done.set_exception(error)
        return done


def candle(number: int, close: int = 0) -> Candle:
    last = close or UNIT + number
    return Candle("A1", "5m", T0 + number * STEP, UNIT, 9 * UNIT, 1, last, 30, 29, 1, 7, 6, 1, 1, True)


def frame_of(candles: list[Candle]) -> pd.DataFrame:
    """Candles as the lake's frame has them."""
    columns = dict(
        zip(COLUMNS, np.array([candle_floats(one) for one in candles]).reshape(-1, len(COLUMNS)).T, strict=True)
    )
    at = pd.to_datetime(np.array([one.opened_at for one in candles], dtype=np.int64), unit="us", utc=True)
    return pd.DataFrame({"opened_at": at.as_unit("us"), **columns, "revision": [one.revision for one in candles]})


def within(candles: list[Candle], start: int, end: int) -> pd.DataFrame:
    """What a lake with these candles answers."""
    return frame_of([one for one in candles if start <= one.opened_at < end])


def closes(series: Series) -> list[int]:
    return [round(close * UNIT) - UNIT for close in series.columns["close"].tolist()]


def test_only_the_newest_windows_are_kept_in_order() -> None:
    history = CandleHistory("A1", "5m", 4)
    for number in range(25):
        history.add(candle(number))
    assert closes(history.series()) == [21, 22, 23, 24]
    assert history.is_full


def test_a_history_that_outgrew_its_room_goes_on_where_it_was() -> None:
    history = CandleHistory("A1", "5m", 3)
    for number in range(ROOM + 10):
        history.add(candle(number))
    series = history.series()
    assert closes(series) == [ROOM + 7, ROOM + 8, ROOM + 9]
    assert (series.edits % MOST_EDITS, series.is_whole(3)) == (0, True)


def test_whatever_is_not_an_append_is_an_edit_and_gaps_are_seen() -> None:
    history = CandleHistory("A1", "5m", 6)
    seen = []
    for item in (candle(0), candle(1), candle(3), candle(1, close=5 * UNIT), candle(2), candle(4)):
        history.add(item)
        series = history.series()
        seen.append(
            (series.edits % MOST_EDITS, [series.is_whole(count) for count in range(1, len(series) + 1)].count(True))
        )
    assert seen == [(0, 1), (0, 2), (0, 1), (1, 1), (2, 4), (2, 5)]


def test_a_revision_replaces_and_a_late_window_is_put_in_its_place() -> None:
    history = CandleHistory("A1", "5m", 4)
    for number in (0, 1, 3):
        history.add(candle(number))
    history.add(candle(1, close=5 * UNIT))
    history.add(candle(2))
    history.add(candle(-9))
    assert closes(history.series()) == [0, 4 * UNIT, 2, 3]


def test_a_candle_beyond_the_history_counts_only_where_the_oldest_window_has_none() -> None:
    history = CandleHistory("A1", "5m", 4)
    seen = []
    for number in (4, 0, 1, 0, 5, 2):  # 4 begins with window 1, 5 with window 2
        history.add(candle(number))
        seen.append((closes(history.series()), history.series().edits % MOST_EDITS))
    assert seen == [([4], 0), ([0, 4], 1), ([1, 4], 2), ([1, 4], 2), ([1, 4, 5], 2), ([2, 4, 5], 3)]


def test_of_what_the_lake_has_only_the_windows_of_the_history_are_kept(tmp_path: object) -> None:
    lake = Lake(f"{tmp_path}/lake")
    lake.append("candles", candle_rows([candle(number) for number in range(4)]))
    history = CandleHistory("A1", "5m", 4)
    history.add(candle(4))
    history.fill(lake.candle_frame(["A1"], "5m", utc(T0), utc(T0 + 4 * STEP)))
    assert closes(history.series()) == [1, 2, 3, 4]
    assert history.is_full


def test_a_missing_window_is_left_out_not_the_history_before_it() -> None:
    history = CandleHistory("A1", "5m", 5)
    for number in (0, 1, 3, 4):
        history.add(candle(number))
    assert closes(history.series()) == [0, 1, 3, 4]
    assert not history.is_full


def test_the_lake_fills_what_is_older_and_the_topic_wins(tmp_path: object) -> None:
    lake = Lake(f"{tmp_path}/lake")
    lake.append("candles", candle_rows([candle(number) for number in range(6)]))
    loads: list[tuple[int, int]] = []

    def load(symbol: str, start: int, end: int) -> pd.DataFrame:
        loads.append((start, end))
        return lake.candle_frame([symbol], "5m", utc(start), utc(end))

    histories = CandleHistories("5m", 4, load)
    newest = candle(6)
    histories.add(candle(5, close=8 * UNIT))
    histories.add(newest)
    assert closes(histories.series(newest)) == [3, 4, 7 * UNIT, 6]
    histories.add(candle(7))
    histories.series(candle(7))
    assert loads == [(T0 + 2 * STEP, T0 + 6 * STEP)]


def test_live_and_lake_give_the_same_floats(tmp_path: object) -> None:
    odd = [msgspec.structs.replace(candle(n), volume=n * 10**15 + 7, quote_volume=10**27 + n * 7 + 3) for n in range(9)]
    lake = Lake(f"{tmp_path}/lake")
    lake.append("candles", candle_rows(odd))
    live = CandleHistory("A1", "5m", 9)
    for item in odd:
        live.add(item)
    stored = CandleHistory("A1", "5m", 9)
    stored.fill(lake.candle_frame(["A1"]))
    one, other = live.series(), stored.series()
    assert one.at.tolist() == other.at.tolist() == [item.opened_at for item in odd]
    assert list(one.columns) == list(other.columns) == list(COLUMNS)
    assert all(np.array_equal(one.columns[name], other.columns[name]) for name in COLUMNS)


def test_a_lake_that_has_nothing_new_is_asked_less_and_less_often() -> None:
    now, loads = [0.0], []

    def load(symbol: str, start: int, end: int) -> pd.DataFrame:
        loads.extend([now[0]] if end == T0 + STEP else [])  # and not what it asks of the time before
        return pd.DataFrame({"opened_at": pd.to_datetime([], utc=True)})

    histories = CandleHistories("5m", 4, load, lambda: now[0], AtOnce())
    histories.add(candle(1))
    assert closes(histories.series(candle(1))) == [1]  # the first time at once: a candle waits for it
    for second in range(60):
        now[0] = float(second)
        assert closes(histories.series(candle(1))) == [1]
        assert histories.refresh() == (loads[-1] == second > 0)
        histories.refresh()
    assert np.diff(loads) == pytest.approx([6, 12, 24])


def test_what_the_lake_holds_is_there_before_the_first_candle_needs_it(tmp_path: object) -> None:
    lake = Lake(f"{tmp_path}/lake")
    lake.append("candles", candle_rows([candle(number) for number in range(6)]))
    loads: list[str] = []

    def load(symbol: str, start: int, end: int) -> pd.DataFrame:
        loads.append(symbol)
        return lake.candle_frame([symbol], "5m", utc(start), utc(end))

    histories = CandleHistories("5m", 4, load, executor=AtOnce())
    histories.add(candle(5))
    assert histories.refresh()
    assert histories.refresh()
    assert not histories.refresh()
    assert [(symbol, closes(series)) for symbol, series in histories.newest()] == [("A1", [2, 3, 4, 5])]
    histories.add(candle(6))
    assert closes(histories.series(candle(6))) == [3, 4, 5, 6]
    assert loads == ["A1"]


def test_a_slow_lake_holds_up_no_candle() -> None:
    answered = Event()

    def load(symbol: str, start: int, end: int) -> pd.DataFrame:
        assert answered.wait(30)
        return pd.DataFrame(columns=["opened_at", *COLUMNS]).astype({"opened_at": "datetime64[us, UTC]"})

    with ThreadPoolExecutor(1) as thread:
        histories = CandleHistories("5m", 4, load, executor=thread)
        histories.add(candle(5))
        assert histories.refresh()  # the lake is being read
        histories.add(candle(6))
        assert [closes(series) for _, series in histories.newest()] == [[5, 6]]
        assert histories.refresh()
        answered.set()
    assert histories.refresh()
    assert not histories.refresh()


class Lakes:
    """A lake that holds six candles of each symbol, and can be away; what was asked of it and told of it."""

    def __init__(self) -> None:
        self.is_away = False
        self.asked: list[str] = []
        self.told: list[str] = []
        self.now = 0.0
        self.histories = CandleHistories("5m", 4, self.load, lambda: self.now, AtOnce(), self.told.append)

    def load(self, symbol: str, start: int, end: int) -> pd.DataFrame:
        self.asked.append(symbol)
        if self.is_away:
            raise Unavailable("the lake is away")
        rows = candle_rows([candle(number) for number in range(6)]).to_pandas()
        return rows.assign(**{name: rows[name].astype(float) for name in COLUMNS})


def test_a_lake_that_is_away_ends_nothing_is_told_once_and_asked_again_later() -> None:
    lake = Lakes()
    lake.is_away = True
    for number, name in enumerate(("A1", "B1", "C1")):
        lake.histories.add(msgspec.structs.replace(candle(5), symbol=name))
        assert closes(lake.histories.series(msgspec.structs.replace(candle(5), symbol=name))) == [5]
        assert "away" in lake.histories.lacks(name), number
    assert (lake.asked, lake.told) == (["A1"], ["the lake is away"])  # no candle of the others waits for it
    assert not lake.histories.refresh()
    lake.now = FIRST_RELOAD
    assert lake.histories.refresh()  # asked
    assert not lake.histories.refresh()  # in vain
    lake.is_away = False
    lake.now = 60.0
    while lake.histories.refresh():
        pass
    assert [closes(series) for _, series in lake.histories.newest()] == [[2, 3, 4, 5]] * 3
    assert lake.told == ["the lake is away", ""]
    assert lake.histories.lacks("A1") == ""


def test_a_lake_that_hangs_keeps_no_candle_longer_than_it_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streaming.score.histories.PATIENCE", 0.01)
    answered, told, now = Event(), [], [0.0]

    def load(symbol: str, start: int, end: int) -> pd.DataFrame:
        assert answered.wait(30)
        return pd.DataFrame(columns=["opened_at", *COLUMNS]).astype({"opened_at": "datetime64[us, UTC]"})

    with ThreadPoolExecutor(1) as thread:
        histories = CandleHistories("5m", 4, load, lambda: now[0], thread, told.append)
        histories.add(candle(5))
        assert closes(histories.series(candle(5))) == [5]
        assert (told, "not answered" in histories.lacks("A1")) == (["the lake has not answered yet"], True)
        now[0] = SLOW + 1
        assert not histories.refresh()  # other work goes on meanwhile
        answered.set()
    histories.refresh()
    assert told == ["the lake has not answered yet", ""]


def test_an_odd_history_in_the_lake_sets_its_own_symbol_aside() -> None:
    lake = Lakes()

    def odd(symbol: str, start: int, end: int) -> pd.DataFrame:
        return pd.DataFrame({"opened_at": ["never"]}) if symbol == "A1" else lake.load(symbol, start, end)

    lake.histories.load = odd
    for name in ("A1", "B1"):
        lake.histories.add(msgspec.structs.replace(candle(5), symbol=name))
        lake.histories.series(msgspec.structs.replace(candle(5), symbol=name))
    assert [closes(series) for _, series in lake.histories.newest()] == [[5], [2, 3, 4, 5]]
    assert "its history cannot be taken from the lake: DateParseError" in lake.histories.lacks("A1")
    assert lake.told == []
    lake.now, lake.histories.load = LAST_RELOAD, lake.load
    while lake.histories.refresh():
        pass
    assert lake.histories.lacks("A1") == ""


def test_of_two_revisions_the_higher_one_counts_whichever_comes_first() -> None:
    history = CandleHistory("A1", "5m", 4)
    for number in range(3):
        history.add(candle(number))
    begun = history.series().edits
    for revision, close in ((1000, 7), (1, 6), (1000, 7), (1001, 7)):
        history.add(msgspec.structs.replace(candle(1, close=close * UNIT), revision=revision))
    assert closes(history.series()) == [0, 6 * UNIT, 2]
    assert history.series().edits == begun + 1  # what says the same again is no edit
    frame = pd.DataFrame(
        {"opened_at": pd.to_datetime([T0 + STEP, T0 + 2 * STEP], unit="us", utc=True), "revision": [1000, 1]}
    )
    assert history.fill(frame.assign(**dict.fromkeys(COLUMNS, 5.0))) == 1
    assert closes(history.series()) == [0, 6 * UNIT, 4 * UNIT]


def test_what_the_lake_has_before_the_oldest_window_is_no_news() -> None:
    loads: list[int] = []

    def load(symbol: str, start: int, end: int) -> pd.DataFrame:
        loads.append(start)
        stored = [candle(number) for number in range(20) if number != 8]
        return within(stored, start, end)

    now = [0.0]
    histories = CandleHistories("5m", 4, load, lambda: now[0], AtOnce())
    histories.add(candle(10))
    for _ in range(4):  # a candle is missing and stays so: the lake is asked for it again and again
        histories.refresh()
        histories.refresh()
        now[0] += LAST_RELOAD
    series = histories.series(candle(10))
    assert closes(series) == [7, 9, 10]
    assert (len(loads), series.edits % MOST_EDITS) == (4, 1)


def test_where_the_oldest_window_has_no_candle_the_last_before_it_is_held_after_a_restart_too() -> None:
    going_on = CandleHistory("A1", "5m", 4)
    stored = [candle(number) for number in range(16) if number not in (5, 6)]
    seen = {}
    for one in stored:
        going_on.add(one)
        restarted = CandleHistories("5m", 4, lambda symbol, start, end: within(stored, start, end), executor=AtOnce())
        restarted.add(one)
        seen[one.opened_at] = closes(restarted.series(one))
        assert seen[one.opened_at] == closes(going_on.series())
    assert list(seen.values())[5:10] == [[4, 7], [4, 7, 8], [4, 7, 8, 9], [7, 8, 9, 10], [8, 9, 10, 11]]
