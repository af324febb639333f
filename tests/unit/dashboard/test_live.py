"""What the background reader keeps of the topics."""

from __future__ import annotations

import pytest

from dashboard import live
from dashboard.live import Tail
from quantstream.core.candle import Candle
from quantstream.core.partial_sums import SymbolState
from quantstream.kafka import Record, Writer, ensure_topics
from quantstream.messages.payloads import DeadRecord, Event, OpenCandles, encode
from quantstream.messages.topics import ANOMALIES, CANDLES, DEAD, EVENTS, OPEN_CANDLES, SCORES
from quantstream.settings import Kafka


@pytest.fixture
def tail() -> Tail:
    return Tail(Kafka())


def feed(tail: Tail, *records: tuple[object, bytes], key: str = "BTCUSDT") -> None:
    tail.take([Record(topic.name, 0, offset, key, raw) for offset, (topic, raw) in enumerate(records)])  # type: ignore[attr-defined]


def test_the_newest_revision_of_a_candle_stays(tail, candle) -> None:
    feed(tail, *((CANDLES, encode(c)) for c in (candle(0, 1), candle(1, 2), candle(0, 1.5, revision=1), candle(0, 1))))
    assert tail.candles("BTCUSDT", "5m") == ([candle(0, 1.5, revision=1), candle(1, 2)], [])
    assert tail.latest_at("BTCUSDT") == candle(1).closed_at


def test_candles_being_built_and_the_market_s_clock_come_from_the_newest_snapshot(tail, candle) -> None:
    def snapshot(at: int, *candles: Candle) -> bytes:
        return encode(OpenCandles.of(SymbolState("BTCUSDT", latest_at=at), candles))

    feed(tail, (OPEN_CANDLES, snapshot(5, candle(0))), (OPEN_CANDLES, snapshot(7, candle(1), candle(0))))
    assert tail.candles("BTCUSDT", "5m") == ([], [candle(0), candle(1)])
    assert tail.latest_at() == 7
    feed(tail, (OPEN_CANDLES, snapshot(9)))
    assert tail.candles("BTCUSDT", "5m") == ([], [])


def test_the_score_shown_is_that_of_the_newest_candle_and_revision(tail, candle, score) -> None:
    later = score(opened_at=candle(1).opened_at)
    revised = score(opened_at=candle(1).opened_at, revision=1)
    feed(tail, *((SCORES, encode(s)) for s in (revised, later, score())))
    assert tail.score("BTCUSDT", "5m") == revised
    assert tail.score("ETHUSDT", "5m") is None


def test_anomalies_come_newest_first_of_one_symbol_or_all(tail, anomaly) -> None:
    here, there = anomaly(1), anomaly(2, symbol="ETHUSDT")
    feed(tail, (ANOMALIES, encode(here)), (ANOMALIES, encode(there)))
    assert tail.anomalies() == [there, here]
    assert tail.anomalies("BTCUSDT") == [here]
    assert tail.symbols() == ["BTCUSDT", "ETHUSDT"]


def test_events_and_dead_letters_are_kept_and_counted(tail) -> None:
    event, dead = Event("ingest", "feed_stalled", "silent", 5), DeadRecord("ingest", "no price", "{}", 6)
    feed(tail, (EVENTS, encode(event)), (DEAD, encode(dead)), (DEAD, encode(dead)))
    assert (tail.events(), tail.dead(), tail.dead_total) == ([event], [dead, dead], 2)


def test_what_cannot_be_read_is_left_out(tail, candle) -> None:
    feed(tail, (CANDLES, b"{"), (CANDLES, b""), (SCORES, b"[]"), (CANDLES, encode(candle(0))))
    assert tail.candles("BTCUSDT", "5m")[0] == [candle(0)]


def test_memory_is_bounded(tail, candle, anomaly, monkeypatch) -> None:
    monkeypatch.setattr(live, "KEPT_CANDLES", 3)
    feed(tail, *((CANDLES, encode(candle(i))) for i in range(10)))
    feed(tail, *((ANOMALIES, encode(anomaly(i))) for i in range(live.KEPT_ANOMALIES + 5)))
    assert tail.candles("BTCUSDT", "5m")[0] == [candle(7), candle(8), candle(9)]
    assert len(tail.anomalies()) == live.KEPT_ANOMALIES


@pytest.mark.broker
def test_it_reads_near_the_ends_follows_and_takes_up_where_it_stopped(fresh_broker, candle, anomaly) -> None:
    ensure_topics(fresh_broker)
    writer = Writer(fresh_broker)
    for i in range(3):
        writer.send(ANOMALIES, "BTCUSDT", encode(anomaly(i)))
        writer.send(DEAD, "x", encode(DeadRecord("x", "y", "z", i)))
    writer.flush()
    seen: list[int] = []

    class Watched(Tail):
        def take(self, records) -> None:  # type: ignore[no-untyped-def]
            super().take(records)
            seen.append(len(records))
            if len(self.anomalies()) >= goal:
                self.close()

    goal = 3
    tail = Watched(fresh_broker)
    tail.turn()
    assert tail.trouble == ""
    first = sum(seen)
    writer.send(ANOMALIES, "BTCUSDT", encode(anomaly(3)))
    writer.flush()
    goal = 4
    tail._stopping.clear()
    tail.turn()
    assert [a.trade_id for a in tail.anomalies()] == [3, 2, 1, 0]
    assert sum(seen) - first <= 4  # the new one, and dead letters that the first turn had no time for
    assert tail.dead_total <= 3
