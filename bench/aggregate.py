"""Trades topic to candles, exactly once, on one core: from the first record read to the last transaction committed.

`--bootstrap` and `--topic` name a topic that somebody else filled: any producer, raw event JSON keyed by symbol.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
import uuid
from typing import Any

from bench import cores, floors, result, source
from quantstream.kafka import OFFSET_BEGINNING, Reader, Writer, ensure_topics, partition_counts
from quantstream.market import Candle
from quantstream.metrics import Health, Metrics
from quantstream.settings import Kafka
from quantstream.topics import OpenCandles, Topic, decode
from streaming.aggregate import AggregateStage, Route
from streaming.aggregator import Aggregator

TARGET, AIM = 280_000, 450_000  # trades/s
QUICK = 20_000
PATIENCE = 60.0  # seconds without a record


def main(argv: list[str] | None = None) -> int:
    """Measure, print, return the exit code."""
    options = result.parser(__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--bootstrap", help="a broker that runs already; else an embedded one is started")
    options.add_argument("--topic", help="a filled topic on it")
    options.add_argument("--trades", type=int, default=0, help="how many records it holds (or shall hold)")
    options.add_argument("--symbols", type=int, default=source.SYMBOLS)
    options.add_argument("--intervals", default="5m")
    options.add_argument("--no-floors", action="store_true", help="measure ours alone")
    given = options.parse_args(argv)
    trades = given.trades or (QUICK if given.quick else source.TRADES)
    with cores.broker_apart(given.bootstrap) as kafka:
        topic = given.topic or f"bench.trades.{uuid.uuid4().hex[:8]}"
        if not given.topic:
            source.fill(kafka, topic, trades, given.symbols)
        found = _measure(kafka, topic, trades, given)
    return result.show(found, given.json)


def _measure(kafka: Kafka, topic: str, trades: int, given: argparse.Namespace) -> dict[str, Any]:
    partitions = partition_counts(kafka).get(topic)
    if not partitions:
        raise SystemExit(f"there is no topic {topic} at {kafka.bootstrap}; fill it first, or leave --topic out")
    measured = (
        {}
        if given.no_floors
        else {
            "read": floors.read_alone(kafka, topic, partitions, trades),
            "read_and_json": floors.read_and_decode(kafka, topic, partitions, trades),
            "read_and_msgspec": floors.read_and_decode_typed(kafka, topic, partitions, trades),
        }
    )
    route = make_route(kafka, topic, partitions)
    rate, stage = aggregate(kafka, route, trades, given.intervals.split(","))
    rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # before the topics are read back to check
    candles, counted = count(kafka, route)
    row = result.Row(
        "aggregate: trades topic to exact candles, exactly once",
        "trades/s",
        round(rate.per_s),
        TARGET,
        AIM,
        round(measured["read_and_json"].per_s) if measured else None,
        "read + JSON decode",
    )
    return result.report(
        "aggregate",
        [row],
        given.quick,
        trades_per_s=round(rate.per_s),
        candles=candles,
        exactly_once=counted == trades - duplicates(stage),
        trades=trades,
        trades_per_cpu_s=round(rate.per_cpu_s),
        rss_mb=rss_mb,
        **{f"{name}_per_s": round(floor.per_s) for name, floor in measured.items()},
        **{f"{name}_per_cpu_s": round(floor.per_cpu_s) for name, floor in measured.items()},
    )


def make_route(kafka: Kafka, topic: str, partitions: int) -> Route:
    """Make output topics for one run beside a topic of trades."""
    run = uuid.uuid4().hex[:8]
    declared = [Topic(f"{topic}.{name}.{run}", "symbol", "bench", partitions) for name in ("candles", "open")]
    ensure_topics(kafka, declared)
    return Route(Topic(topic, "symbol", "bench", partitions), *declared)


def aggregate(
    kafka: Kafka, route: Route, trades: int, intervals: list[str], commit_s: float = 0.1
) -> tuple[floors.Rate, AggregateStage]:
    """Run the stage over the whole topic; return its rate from the first record to the last commit, and the stage.

    Raises: TimeoutError when the topic ends early.
    """
    run = route.candles.name
    stage = AggregateStage(
        Aggregator(intervals, 500_000),
        Reader(kafka, run),
        Reader(kafka),
        Writer(kafka, run),
        Metrics("aggregate"),
        Health(),
        commit_s,
        lambda: time.time_ns() // 1000,
        route,
    )
    stage.start()
    watch, heard = None, time.perf_counter()
    while handled(stage) < trades:
        before, begun = handled(stage), floors.Stopwatch()
        stage.turn()
        if handled(stage) > before:
            watch, heard = watch or begun, time.perf_counter()
        elif time.perf_counter() - heard > PATIENCE:
            raise TimeoutError(f"{route.trades.name} holds only {handled(stage)} of {trades} records")
    rate = (watch or floors.Stopwatch()).rate(trades)
    stage.reader.close()
    return rate, stage


def handled(stage: AggregateStage) -> int:
    """Return how many records a stage has taken in."""
    return int(stage.handled._value.get())


def duplicates(stage: AggregateStage) -> int:
    """Return how many trades of the topic were there twice."""
    return sum(
        builder.state.ids.duplicates for builders in stage.aggregator.builders.values() for builder in builders.values()
    )


def count(kafka: Kafka, route: Route) -> tuple[int, int]:
    """Return how many candles are committed, and how many trades they and the open ones of the first interval hold."""
    closed: dict[tuple[str, str, int], int] = {}
    open_now: dict[str, OpenCandles] = {}
    emitted = 0
    for message in _committed(kafka, route.candles):
        candle = decode(message, Candle)
        closed[candle.symbol, candle.interval, candle.opened_at] = candle.trade_count
        emitted += 1
    for message in _committed(kafka, route.open_candles):
        snapshot = decode(message, OpenCandles)
        open_now[snapshot.state.symbol] = snapshot
    shortest = next(iter(next(iter(open_now.values())).state.windows))
    held = sum(count for (_, interval, _), count in closed.items() if interval == shortest)
    for snapshot in open_now.values():
        windows = snapshot.state.windows[shortest].values()
        held += sum(window.trade_count for window in windows if window.revision < 0)
    return emitted, held


def _committed(kafka: Kafka, topic: Topic) -> list[bytes]:
    reader = Reader(kafka)
    ends = {(topic.name, number): reader.ends(topic.name, number)[1] for number in range(topic.partitions)}
    reader.assign(dict.fromkeys(ends, OFFSET_BEGINNING))
    values: list[bytes] = []
    deadline = time.perf_counter() + PATIENCE
    while time.perf_counter() < deadline:
        messages = reader.poll(0.2)
        values += [message.value() or b"" for message in messages]
        positions = reader.positions()
        if not messages and all(positions.get(part, 0) >= end for part, end in ends.items() if end):
            break
    reader.close()
    return values


if __name__ == "__main__":
    sys.exit(main())
