"""From the trades topic to the lake over a real broker: exact, once, through restarts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

from quantstream.binance.wire import heartbeat_event, trade_event
from quantstream.core.candle import Candle
from quantstream.core.decimals import UNIT
from quantstream.core.time import MINUTE, SECOND
from quantstream.core.trade import Trade
from quantstream.kafka import Reader, Writer
from quantstream.lake.schemas import CANDLE_FIELDS
from quantstream.lake.store import Lake
from quantstream.messages.payloads import DeadRecord, decode
from quantstream.messages.topics import CANDLES, DEAD, TRADES
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics
from quantstream.settings import Kafka
from streaming.aggregate.aggregator import Aggregator
from streaming.aggregate.stage import AggregateStage
from streaming.offline.candles import write_candles
from streaming.recordings.readers import read_trades
from streaming.sink.stage import SinkStage
from tests.straight import build_candles

pytestmark = pytest.mark.broker
T0 = 1_723_161_600 * SECOND


def now() -> int:
    return time.time_ns() // 1000


@contextmanager
def aggregate(kafka: Kafka, instance: str = "0") -> Iterator[AggregateStage]:
    stage = AggregateStage(
        Aggregator(("5m",), 500_000),
        Reader(kafka, "quantstream-aggregate"),
        Reader(kafka),
        Writer(kafka, f"quantstream-aggregate-{instance}"),
        Metrics("aggregate"),
        Health(),
        0.05,
        now,
    )
    stage.start()
    yield stage
    stage.reader.close()


@contextmanager
def sink(kafka: Kafka, lake: Lake) -> Iterator[SinkStage]:
    stage = SinkStage(lake, Reader(kafka, "quantstream-sink"), Writer(kafka), Metrics("sink"), Health(), 0.3, now)
    stage.start()
    yield stage
    stage.reader.close()


def send(kafka: Kafka, trades: list[Trade], alive_until: int = 0) -> None:
    writer = Writer(kafka)
    for trade in trades:
        writer.send(TRADES, trade.symbol, trade_event(trade))
    for symbol in {trade.symbol for trade in trades} if alive_until else ():
        writer.send(TRADES, symbol, heartbeat_event(symbol, alive_until))
    writer.flush()


def turn_until(stage: AggregateStage | SinkStage, done: object, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        stage.turn()
        if done():  # type: ignore[operator]
            return
    pytest.fail("the stage did not get there in time")


def handled(stage: AggregateStage) -> float:
    return stage.handled._value.get()


def walk(symbol: str, count: int) -> list[Trade]:
    return [
        Trade(symbol, n, n, n, (100 + n % 7) * UNIT, n * UNIT // 10, T0 + n * 3 * SECOND, n % 2 == 0)
        for n in range(1, count)
    ]


def test_real_frames_reach_the_lake_as_the_offline_candles(fresh_broker: Kafka, data: Path, tmp_path: Path) -> None:
    files = [data / "ws_frames" / f"spot_{name}_20240808.gz" for name in ("btcusdt", "ethusdt")]
    lake = Lake(str(tmp_path / "lake"))
    trades = [trade for file in files for trade in read_trades(file)]
    send(fresh_broker, trades)
    with aggregate(fresh_broker) as stage:
        turn_until(stage, lambda: handled(stage) == len(trades))
    with sink(fresh_broker, lake) as stage2:
        turn_until(stage2, lambda: lake.read("candles").num_rows == 4)
        turn_until(stage2, lambda: lake.read("trades").num_rows == len(trades))
    out = tmp_path / "offline.parquet"
    write_candles(files, out)
    offline = pa.parquet.read_table(out).to_pylist()
    closed = {(row["symbol"], row["opened_at"]): row for row in offline}
    names = [name for name, _ in CANDLE_FIELDS]
    in_lake = lake.candles().select(names).to_pylist()
    assert [closed[row["symbol"], row["opened_at"]] for row in in_lake] == in_lake
    assert [row["is_complete"] for row in in_lake] == [False, True, False, True]


def test_a_stage_that_dies_between_commits_repeats_and_loses_nothing(fresh_broker: Kafka, tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    trades = walk("BTCUSDT", 900)
    end = trades[-1].traded_at + 10 * MINUTE
    for part in range(0, 900, 300):
        send(fresh_broker, trades[part : part + 300])
        with aggregate(fresh_broker) as stage:  # each time a new process: state comes from the snapshot topic
            turn_until(stage, lambda stage=stage: handled(stage) >= min(300, len(trades) - part))
        with sink(fresh_broker, lake) as writer_stage:
            writer_stage.take(writer_stage.reader.poll(3.0))  # read but never committed: as if killed here
    send(fresh_broker, trades[-5:], end)  # and some trades twice
    with aggregate(fresh_broker) as stage:
        turn_until(stage, lambda: stage.aggregator.builders and handled(stage) >= 6)
    with sink(fresh_broker, lake) as final:
        expected, builders = build_candles(trades)
        builders["BTCUSDT"].heartbeat(end)
        turn_until(final, lambda: lake.read("trades").num_rows >= len(trades))
        turn_until(final, lambda: lake.candles().num_rows >= len(expected))
        final.turn()
    rows = lake.read("trades").to_pylist()
    assert [row["id"] for row in rows] == [trade.id for trade in trades]
    live = lake.candles().to_pylist()
    assert len(live) == lake.read("candles").num_rows
    assert [(row["opened_at"], row["trade_count"]) for row in live[:9]] == [
        (row_time(candle), candle.trade_count) for candle in expected[:9]
    ]


def row_time(candle: Candle) -> object:
    from quantstream.core.time import utc

    return utc(candle.opened_at)


def test_a_record_nobody_can_parse_is_dead_lettered_and_the_stage_goes_on(fresh_broker: Kafka) -> None:
    writer = Writer(fresh_broker)
    writer.send(TRADES, "ETHUSDT", b'{"e":"trade","p":"x"}')
    writer.flush()
    send(fresh_broker, walk("ETHUSDT", 150))
    with aggregate(fresh_broker) as stage:
        turn_until(stage, lambda: handled(stage) == 149)
    reader = Reader(fresh_broker)
    reader.assign({(DEAD.name, 0): 0})
    (dead,) = [decode(message.value(), DeadRecord) for message in reader.poll(5.0, 1)]
    assert dead.raw == '{"e":"trade","p":"x"}'
    assert dead.source.startswith("aggregate market.trades.v1-")
    reader.assign({(CANDLES.name, partition): 0 for partition in range(CANDLES.partitions)})
    assert [decode(message.value(), Candle).symbol for message in reader.poll(5.0, 1)] == ["ETHUSDT"]
    reader.close()
