"""The page's sources: each may be missing, and says so in a sentence."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from dashboard.background import Background
from dashboard.charts import SHOWN_BARS
from dashboard.sources import GROWING_TTL, HISTORY, HISTORY_TTL, Champions, History, connect
from quantstream.core.errors import Unavailable
from quantstream.lake.schemas import candle_rows
from quantstream.lake.store import Lake
from quantstream.settings import Settings


def test_a_lake_without_candles_is_said_and_not_made(tmp_path) -> None:
    history = History(Lake(str(tmp_path / "lake")))
    assert history.candles("BTCUSDT", "5m", 0).empty
    assert history.trouble.startswith("the lake holds no candles yet")
    assert not (tmp_path / "lake").exists()


def test_history_is_three_days_before_the_market_s_clock(tmp_path, candle) -> None:
    lake = Lake(str(tmp_path))
    lake.append("candles", candle_rows([candle(i) for i in (-2000, -800, -1)]))
    newest = candle(-1).opened_at
    for until in (0, newest):  # unknown, or known from the live side
        frame = History(lake).candles("BTCUSDT", "5m", until)
        assert frame["opened_at"].astype("int64").tolist() == [candle(-800).opened_at, newest]
    assert HISTORY.days == 3


@pytest.mark.parametrize(("count", "ttl"), [(3, GROWING_TTL), (SHOWN_BARS, HISTORY_TTL)])
def test_the_lake_is_read_again_after_a_while_sooner_while_it_fills(tmp_path, candle, count: int, ttl: float) -> None:
    lake, now = Lake(str(tmp_path)), [0.0]
    lake.append("candles", candle_rows([candle(i) for i in range(count)]))
    history = History(lake, clock=lambda: now[0])
    assert len(history.candles("BTCUSDT", "5m", 0)) == count
    lake.append("candles", candle_rows([candle(count)]))
    now[0] = ttl - 0.1
    assert len(history.candles("BTCUSDT", "5m", 0)) == count
    now[0] = ttl
    assert len(history.candles("BTCUSDT", "5m", 0)) == count + 1


def test_an_unreadable_lake_leaves_what_was_read_before(tmp_path, candle, monkeypatch) -> None:
    now = [0.0]
    lake = Lake(str(tmp_path))
    lake.append("candles", candle_rows([candle(0)]))
    history = History(lake, clock=lambda: now[0])
    before = history.candles("BTCUSDT", "5m", 0)
    monkeypatch.setattr(Lake, "candle_frame", lambda *_, **__: (_ for _ in ()).throw(OSError("disk is gone")))
    now[0] = HISTORY_TTL
    assert history.candles("BTCUSDT", "5m", 0).equals(before)
    assert history.trouble == f"the lake at {tmp_path} cannot be read now: disk is gone"


def test_a_silent_registry_keeps_what_it_said_last() -> None:
    card: Any = "card"
    answers = iter(([card], Unavailable("the registry is away")))

    def read() -> Any:
        answer = next(answers)
        if isinstance(answer, Unavailable):
            raise answer
        return answer

    champions = Champions(read)
    champions.turn()
    assert (champions.all(), champions.trouble) == ((card,), "")
    with pytest.raises(Unavailable):
        champions.turn()
    assert champions.all() == (card,)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (Unavailable("nobody answers"), "nobody answers"),
        (KeyError("x"), "reading failed (KeyError); the dashboard's log says more"),
    ],
)
def test_a_failing_turn_becomes_a_sentence_and_the_thread_goes_on(error: Exception, sentence: str) -> None:
    class Failing(Background):
        turns = 0
        twice = threading.Event()

        def turn(self) -> None:
            self.turns += 1
            if self.turns == 2:
                self.twice.set()
            raise error

    source = Failing("failing", every=0.0)
    source.trouble = "connecting"
    assert source.word == "asking"  # nobody was asked yet, so nobody is silent
    source.start()
    assert source.twice.wait(10)
    source.close()
    assert (source.trouble, source.word) == (sentence, "not answering")


def test_the_symbols_set_come_first_then_those_the_topics_hold(tmp_path, candle) -> None:
    from quantstream.kafka import Record
    from quantstream.messages.payloads import encode
    from quantstream.messages.topics import CANDLES

    sources = connect(Settings(state=tmp_path, symbols=("ETHUSDT",)))
    sources.tail.take([Record(CANDLES.name, 0, 0, "BTCUSDT", encode(candle(0)))])
    assert sources.symbols() == ["ETHUSDT", "BTCUSDT"]
    assert sources.troubles() == ["Live data: connecting to Kafka."]
