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

from confluent_kafka import TopicPartition

from bench.measure import cores, floors, readback, result, source
from quantstream.core.errors import QuantStreamError
from quantstream.kafka import Reader, Writer, ensure_topics, partition_counts
from quantstream.messages.topics import Topic
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics
from quantstream.settings import Kafka
from streaming.aggregate.aggregator import Aggregator
from streaming.aggregate.stage import AggregateStage, Route

TARGET, AIM = 280_000, 450_000  # trades/s
QUICK = 20_000


def main(argv: list[str] | None = None) -> int:
    """Measure, print, return the exit code."""
    options = result.parser(__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--bootstrap", help="a broker that runs already; else an embedded one is started")
    options.add_argument("--topic", help="a filled topic on it")
    options.add_argument("--trades", type=int, default=0, help="how many records it holds (or shall hold)")
    options.add_argument("--symbols", type=int, default=source.SYMBOLS)
    options.add_argument("--intervals", default="5m")
    options.add_argument("--no-floors", action="store_true", help="measure ours alone")
    options.add_argument("--unchecked", action="store_true", help="do not read back whether every trade counts once")
    given = options.parse_args(argv)
    trades = given.trades or (QUICK if given.quick else source.TRADES)
    with cores.broker_apart(given.bootstrap) as kafka:
        topic = given.topic or f"bench.trades.{uuid.uuid4().hex[:8]}"
        if not given.topic:
            source.fill(kafka, topic, trades, given.symbols)
        try:
            found = _measure(kafka, topic, trades, given)
        except (QuantStreamError, TimeoutError) as error:
            raise SystemExit(str(error)) from None
    return result.show(found, given.json)


def _measure(kafka: Kafka, topic: str, trades: int, given: argparse.Namespace) -> dict[str, Any]:
    partitions = partition_counts(kafka).get(topic)
    if not partitions:
        raise SystemExit(f"there is no topic {topic} at {kafka.bootstrap}; fill it first, or leave --topic out")
    held = readback.records(kafka, topic, partitions)
    if held < trades:
        raise SystemExit(f"{topic} holds {held} records, not {trades}; ask for no more with --trades")
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
    intervals = given.intervals.split(",")
    rate, stage = aggregate(kafka, route, trades, intervals)
    rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # before the topics are read back to check
    checked = {} if given.unchecked else _check(kafka, route, stage, len(intervals))
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
        **checked,
        trades=handled(stage),
        trades_per_cpu_s=round(rate.per_cpu_s),
        rss_mb=rss_mb,
        **{f"{name}_per_s": round(floor.per_s) for name, floor in measured.items()},
        **{f"{name}_per_cpu_s": round(floor.per_cpu_s) for name, floor in measured.items()},
    )


def _check(kafka: Kafka, route: Route, stage: AggregateStage, intervals: int) -> dict[str, Any]:
    """Read back what was written, and what was there to read; end the stage."""
    candles, counted = readback.in_candles(kafka, route)
    late = late_trades(stage) if intervals == 1 else 0
    is_exact = counted + late == readback.distinct(kafka, route.trades, read_to(stage))
    return {"candles": candles, "exactly_once": is_exact}


def make_route(kafka: Kafka, topic: str, partitions: int) -> Route:
    """Make output topics for one run beside a topic of trades, that of dead letters too: it may be another's broker."""
    run = uuid.uuid4().hex[:8]
    declared = [Topic(f"{topic}.{name}.{run}", "symbol", "bench", partitions) for name in ("candles", "open", "dead")]
    ensure_topics(kafka.model_copy(update={"partitions": partitions}), declared)
    return Route(Topic(topic, "symbol", "bench", partitions), *declared)


def make_stage(
    kafka: Kafka, route: Route, intervals: list[str], reader: Reader, writer: Writer, commit_s: float = 0.1
) -> AggregateStage:
    """Return a stage as it runs in production, over topics of its own."""
    aggregator, metrics = Aggregator(intervals, 500_000), Metrics("aggregate")
    return AggregateStage(aggregator, reader, Reader(kafka), writer, metrics, Health(), commit_s, _now, route)


def _now() -> int:
    return time.time_ns() // 1000


def aggregate(
    kafka: Kafka, route: Route, trades: int, intervals: list[str], commit_s: float = 0.1
) -> tuple[floors.Rate, AggregateStage]:
    """Run the stage over the whole topic; return its rate from the first record to the last commit, and the stage.

    Raises: TimeoutError when the topic ends early.
    """
    run = route.candles.name
    stage = make_stage(kafka, route, intervals, Reader(kafka, run), Writer(kafka, run), commit_s)
    stage.start()
    watch, heard = None, time.perf_counter()
    while handled(stage) < trades:
        before, begun = handled(stage), floors.Stopwatch()
        stage.turn()
        if handled(stage) > before:
            watch, heard = watch or begun, time.perf_counter()
        elif time.perf_counter() - heard > floors.PATIENCE:
            raise TimeoutError(f"{route.trades.name} holds only {handled(stage)} of {trades} records")
    return (watch or floors.Stopwatch()).rate(handled(stage)), stage


def handled(stage: AggregateStage) -> int:
    """Return how many records a stage has taken in, its dead letters among them."""
    return int(stage.handled._value.get() + stage.metrics.dead._value.get())


def late_trades(stage: AggregateStage) -> int:
    """Return how many trades came too late for any window, of one interval."""
    builders = [builder for held in stage.aggregator.builders.values() for builder in held.values()]
    return sum(builder.state.late_trades for builder in builders)


def read_to(stage: AggregateStage) -> dict[int, int]:
    """Return the committed offset of each partition that a stage holds, and end the stage."""
    parts = [TopicPartition(*part) for part in stage.held]
    found = {part.partition: part.offset for part in stage.reader.consumer.committed(parts)}
    stage.reader.close()
    return found


if __name__ == "__main__":
    sys.exit(main())
