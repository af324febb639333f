"""Stages that stood still beyond their session while another went on: what they hold in their hands does not count any more."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from quantstream.binance.wire import trade_event
from quantstream.core.decimals import UNIT
from quantstream.core.time import SECOND
from quantstream.core.trade import Trade
from quantstream.kafka import PartitionedStage, Reader, Writer
from quantstream.lake.store import Lake
from quantstream.messages.payloads import Anomaly, Score, decode, encode
from quantstream.messages.topics import ANOMALIES, CANDLES, SCORES, TRADES
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics
from quantstream.settings import Kafka
from streaming.detect.stage import DetectStage
from streaming.score.histories import CandleHistories
from streaming.score.stage import ScoreStage
from streaming.sink.stage import SinkStage
from tests.broker import test_scores as scoring
from tests.topics import read_topic

pytestmark = [pytest.mark.broker, pytest.mark.slow]
SESSION_MS = 6_000  # the shortest that a broker allows
PATIENCE = 90.0  # seconds


def reader(kafka: Kafka, group: str, instance: str) -> Reader:
    """A member whose session ends soon after it stops asking for records, as it does when its process is stopped."""
    return Reader(
        kafka,
        group,
        instance,
        session_timeout_ms=SESSION_MS,
        max_poll_interval_ms=SESSION_MS,
        heartbeat_interval_ms=500,
    )


def sink(kafka: Kafka, lake: Lake, instance: str) -> SinkStage:
    member = reader(kafka, "quantstream-sink", instance)
    return SinkStage(lake, member, Writer(kafka), Metrics("sink"), Health(), 0.2, lambda: 0)


def score(kafka: Kafka, instance: str) -> ScoreStage:
    return ScoreStage(
        reader(kafka, "quantstream-score", instance),
        Writer(kafka, f"quantstream-score-{instance}"),
        CandleHistories("5m", 4, scoring.empty_lake),
        scoring.judge,
        lambda symbol, series: False,
        Metrics("score"),
        Health(),
        0.05,
        lambda: 0,
    )


def detect(kafka: Kafka, instance: str) -> DetectStage:
    return DetectStage(
        reader(kafka, "quantstream-detect", instance),
        Writer(kafka, f"quantstream-detect-{instance}"),
        scoring.LargeQuantities,
        Metrics("detect"),
        Health(),
        0.05,
        lambda: 0,
    )


@contextmanager
def members(*stages: PartitionedStage) -> Iterator[None]:
    try:
        yield
    finally:
        for stage in stages:
            stage.reader.close()


def turn_until(done: Callable[[], bool], *turning: PartitionedStage) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline, "it did not come to that in time"
        for stage in turning:
            stage.turn()


def count(counter: Any) -> int:
    return int(counter._value.get())


def hold(stage: PartitionedStage, count: int) -> None:
    """Let a stage read and work on so many records without committing them."""
    taken, deadline = 0, time.monotonic() + PATIENCE
    while taken < count:
        assert time.monotonic() < deadline, "the records did not come in time"
        messages = stage._read(0.2, 1_000)
        taken += len(messages)
        if messages:
            stage.take(messages)


def send_trades(kafka: Kafka, ids: range, large: int = -1) -> None:
    writer = Writer(kafka)
    for n in ids:
        trade = Trade(
            "A1", n, n, n, 100 * UNIT + n % 3, UNIT * (10_000 if n == large else 1), scoring.T0 + n * SECOND, False
        )
        writer.send(TRADES, trade.symbol, trade_event(trade))
    writer.flush()


def test_a_sink_that_wakes_after_its_successor_writes_nothing_and_goes_on(fresh_broker: Kafka, tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    zombie, successor = sink(fresh_broker, lake, "0"), sink(fresh_broker, lake, "1")
    with members(zombie, successor):
        zombie.start()
        send_trades(fresh_broker, range(1, 9))
        hold(zombie, 8)
        successor.start()
        send_trades(fresh_broker, range(9, 11))
        turn_until(lambda: lake.read("trades").num_rows == 10, successor)
        zombie.commit()
        assert lake.read("trades").num_rows == 10
        send_trades(fresh_broker, range(11, 14))
        turn_until(lambda: lake.read("trades").num_rows >= 13 and bool(zombie.held), zombie, successor)
    assert lake.read("trades")["id"].to_pylist() == list(range(1, 14))


def test_a_scorer_that_wakes_after_its_successor_scores_nothing_twice_and_goes_on(fresh_broker: Kafka) -> None:
    zombie, successor, writer = score(fresh_broker, "0"), score(fresh_broker, "1"), Writer(fresh_broker)

    def send(*numbers: int) -> None:
        for number in numbers:
            writer.send(CANDLES, "A1", encode(scoring.candle(number, "A1")))
        writer.flush()

    def scores() -> list[int]:
        found = [decode(message.value() or b"", Score) for message in read_topic(fresh_broker, SCORES)]
        return sorted((score.opened_at - scoring.T0) // (300 * SECOND) for score in found)

    with members(zombie, successor):
        zombie.start()
        send(0, 1, 2)
        hold(zombie, 3)
        successor.start()
        send(3)
        turn_until(lambda: count(successor.scored) == 4, successor)
        zombie.commit()
        turn_until(lambda: bool(zombie.held), zombie, successor)
        send(4, 5)
        turn_until(lambda: count(zombie.scored) + count(successor.scored) >= 6, zombie, successor)
        turn_until(
            lambda: not zombie.held & successor.held, zombie, successor
        )  # one may just have been counted out again
        assert all(set(stage.symbols) <= stage.held for stage in (zombie, successor))
    assert scores() == [0, 1, 2, 3, 4, 5]


def test_a_detector_that_wakes_after_its_successor_tells_nothing_twice_and_goes_on(fresh_broker: Kafka) -> None:
    zombie, successor = detect(fresh_broker, "0"), detect(fresh_broker, "1")

    def told() -> Counter[int]:
        return Counter(decode(m.value() or b"", Anomaly).trade_id for m in read_topic(fresh_broker, ANOMALIES))

    with members(zombie, successor):
        zombie.start()
        send_trades(fresh_broker, range(1, 500), 450)
        hold(zombie, 499)
        assert len(zombie.found) == 1
        successor.start()
        turn_until(lambda: count(successor.handled) == 499, successor)
        zombie.commit()
        turn_until(lambda: bool(zombie.held), zombie, successor)
        send_trades(fresh_broker, range(500, 600), 550)
        turn_until(lambda: count(zombie.flagged) + count(successor.flagged) == 2, zombie, successor)
    assert told() == Counter({450: 1, 550: 1})
