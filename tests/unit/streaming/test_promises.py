"""The numbers by which the promises are held: how late a candle and a score are, which candles were corrected, who has traded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quantstream.binance.wire import LogPosition, trade_event
from quantstream.core.candle import CORRECTION_STEP, Candle
from quantstream.core.decimals import UNIT
from quantstream.core.time import MINUTE, SECOND
from quantstream.core.trade import Trade
from quantstream.kafka import Message, PartitionedStage
from quantstream.lake.store import Lake
from quantstream.messages.payloads import Score, encode
from quantstream.messages.topics import CANDLES, TRADES
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics
from streaming.aggregate.aggregator import Aggregator
from streaming.aggregate.stage import AggregateStage
from streaming.ingest.symbol_feed import SymbolFeed
from streaming.reconcile.corrections import corrected
from streaming.score.histories import CandleHistories
from streaming.score.stage import ScoreStage
from streaming.sink.stage import SinkStage
from tests.unit.streaming.memory_broker import MemoryBroker, MemoryReader, MemoryWriter, hand_over
from tests.unit.streaming.score.test_stage import empty_lake

T0 = 1_754_006_400 * SECOND


def trade(number: int, at: int) -> Trade:
    return Trade("BTCUSDT", number, number, number, UNIT, UNIT, at, False)


def candle(number: int, revision: int = 0, source: str = "trades") -> Candle:
    at = T0 + number * 5 * MINUTE
    whole = (UNIT, UNIT, UNIT, UNIT, UNIT, UNIT, 1, 0, 0, number, number, True)
    return Candle("BTCUSDT", "5m", at, *whole, revision=revision, source=source)


def counts(stage: PartitionedStage, name: str) -> dict[str, float]:
    """Return a histogram's buckets that something fell into, by their upper edge."""
    found, before = {}, 0.0
    for family in stage.metrics.registry.collect():
        for sample in family.samples if family.name.endswith(name) else ():
            if sample.name.endswith("_bucket"):
                if sample.value > before:
                    found[sample.labels["le"]] = sample.value - before
                before = sample.value
    return found


def in_memory(make: Any, *arguments: Any) -> tuple[MemoryBroker, Any, Any]:
    broker = MemoryBroker()
    reader, writer = MemoryReader(broker, "it"), MemoryWriter(broker)
    return broker, writer, make(broker, reader, writer, *arguments)


def taken(stage: PartitionedStage, topic: str) -> None:
    stage.start()
    hand_over([(topic, 0)], None, stage)


def test_candles_are_as_late_as_their_commit_is_after_their_window() -> None:
    now = [T0 + MINUTE + 700_000]

    def make(broker: MemoryBroker, reader: Any, writer: Any) -> AggregateStage:
        snapshots: Any = MemoryReader(broker)
        aggregator = Aggregator(("1m", "5m"), 0)
        return AggregateStage(
            aggregator, reader, snapshots, writer, Metrics("aggregate"), Health(), 0.0, lambda: now[0]
        )

    broker, writer, stage = in_memory(make)
    taken(stage, TRADES.name)
    for number, at in enumerate((T0 + SECOND, T0 + MINUTE)):
        broker.append(TRADES, "BTCUSDT", trade_event(trade(number, at)), 0)
    writer.fenced = True  # what is aborted was not published
    stage.turn()
    assert counts(stage, "candle_lateness_seconds") == {}
    stage.turn()
    assert counts(stage, "candle_lateness_seconds") == {"1.0": 1}
    now[0] = T0 + 5 * MINUTE + 3 * SECOND
    broker.append(TRADES, "BTCUSDT", trade_event(trade(2, T0 + 5 * MINUTE)), 0)
    stage.turn()  # four more minutes and the first five close together
    late = counts(stage, "candle_lateness_seconds")
    assert sum(late.values()) == 6
    assert late["5.0"] == 2  # the fifth minute and the five: 3 s; the ones before by a minute and more


def test_a_score_is_as_late_as_its_commit_is_after_its_candle_s_record() -> None:
    def make(broker: MemoryBroker, reader: Any, writer: Any) -> ScoreStage:
        def judge(histories: Any) -> list[Score]:
            return [
                Score(name, "5m", int(series.at[-1]), 0, 1.0, T0, "hash", abstained="no model")
                for name, series in histories.items()
            ]

        histories = CandleHistories("5m", 4, empty_lake)
        numbers = (Metrics("score"), Health(), 0.0, lambda: T0 + 400_000)
        return ScoreStage(reader, writer, histories, judge, lambda *_: False, *numbers)

    broker, writer, stage = in_memory(make)
    taken(stage, CANDLES.name)
    log = broker.logs.setdefault((CANDLES.name, 0), [])
    for number, revision in ((0, 0), (0, 1), (1, 0)):
        sent = (1, T0 // 1_000 - 2_000 * number)
        value = encode(candle(number, revision))
        log.append(
            Message(topic=CANDLES.name, partition=0, offset=len(log), key=b"BTCUSDT", value=value, timestamp=sent)
        )
    writer.fenced = True
    stage.turn()
    assert counts(stage, "candle_to_score_seconds") == {}
    stage.turn()
    assert counts(stage, "candle_to_score_seconds") == {"0.5": 1, "5.0": 1}  # a revision is not scored


def test_a_candle_that_was_corrected_is_counted_by_what_corrected_it(tmp_path: Path) -> None:
    def make(broker: MemoryBroker, reader: Any, writer: Any) -> SinkStage:
        return SinkStage(Lake(str(tmp_path)), reader, writer, Metrics("sink"), Health(), 0.0, lambda: T0)

    broker, _, stage = in_memory(make)
    taken(stage, CANDLES.name)
    late = candle(0, revision=7)
    for each in (candle(0), late, corrected(candle(0, source="klines"), late.revision), corrected(candle(1), 0)):
        broker.append(CANDLES, "BTCUSDT", encode(each), 0)
    stage.turn()
    registry, name = stage.metrics.registry, "quantstream_sink_corrected_candles_total"
    assert registry.get_sample_value(name, {"source": "klines"}) == 1
    assert registry.get_sample_value(name, {"source": "trades"}) == 1
    assert corrected(candle(0), 0).revision == CORRECTION_STEP


def test_a_symbol_has_traded_once_a_trade_has_come_after_where_its_log_stood() -> None:
    new, begun, recalled = SymbolFeed("A"), SymbolFeed("B"), SymbolFeed("C")
    begun.begin(100, 50, T0)
    recalled.recall(LogPosition(99, T0, 100))
    assert [feed.has_traded for feed in (new, begun, recalled)] == [False, False, False]
    for feed in (new, begun, recalled):
        feed.note(trade(100, T0 + SECOND))
    assert [feed.has_traded for feed in (new, begun, recalled)] == [True, True, True]
