"""Two aggregators of one group instead of one, on two cores: what a second pod brings.

On a machine of two cores the broker needs a part of both, so trades per second of processor time are told as well: what two
of them do in the time that they get, against what one does.
"""

from __future__ import annotations

import os
import sys
import time
import uuid
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier

from bench import aggregate, floors, result, source
from quantstream.kafka import Reader, Writer
from quantstream.metrics import Health, Metrics
from quantstream.settings import PARTITIONS, Kafka
from streaming.aggregate import AggregateStage, Route
from streaming.aggregator import Aggregator

TARGET = 1.7
QUICK, TRADES = 20_000, 2_000_000
PATIENCE = 180.0  # seconds for all of it


def main(argv: list[str] | None = None) -> int:
    """Measure, print, return the exit code."""
    options = result.parser((__doc__ or "").splitlines()[0])
    options.add_argument("--trades", type=int, default=0)
    given = options.parse_args(argv)
    trades = given.trades or (QUICK if given.quick else TRADES)
    with source.broker() as kafka:
        topic = f"bench.trades.{uuid.uuid4().hex[:8]}"
        source.fill(kafka, topic, trades, 64)  # enough symbols that no partition is much fuller than another
        one, two = (run(kafka, topic, trades, count) for count in (1, 2))
    ratio, cpu_ratio = two.per_s / one.per_s, 2 * two.per_cpu_s / one.per_cpu_s
    rows = [
        result.Row("two aggregators instead of one", "times the trades/s", round(ratio, 3), TARGET, TARGET),
        result.Row("the same per second of processor time", "times", round(cpu_ratio, 3), TARGET, TARGET),
    ]
    details = {
        "one_per_s": round(one.per_s),
        "two_per_s": round(two.per_s),
        "one_per_cpu_s": round(one.per_cpu_s),
        "two_per_cpu_s_of_each": round(two.per_cpu_s),
        "trades": trades,
    }
    return result.show(result.report("two_aggregators", rows, given.quick, **details), given.json)


def run(kafka: Kafka, topic: str, trades: int, count: int) -> floors.Rate:
    """Return the rate of `count` processes that share the topic: by the clock of the slowest, and by all their processors.

    Raises: RuntimeError when one of them fails.
    """
    route = aggregate.make_route(kafka, topic, PARTITIONS)
    context = get_context("spawn")
    barrier, total, answers = context.Barrier(count), context.Value("q", 0), context.Queue()
    group = f"bench-{uuid.uuid4().hex[:8]}"
    processes = [
        context.Process(target=_work, args=(kafka, route, group, number, count, trades, barrier, total, answers))
        for number in range(count)
    ]
    for process in processes:
        process.start()
    found = [answers.get(timeout=PATIENCE) for _ in processes]
    for process in processes:
        process.join(PATIENCE)
        if process.exitcode:
            raise RuntimeError(f"an aggregator ended with {process.exitcode}")
    begun, ended, cpu = min(f[0] for f in found), max(f[1] for f in found), sum(f[2] for f in found)
    return floors.Rate(trades / (ended - begun), trades / cpu)


def _work(
    kafka: Kafka,
    route: Route,
    group: str,
    number: int,
    count: int,
    trades: int,
    barrier: Barrier,
    total: object,
    answers: object,
) -> None:
    """Aggregate this process's share, on a core of its own, until all of them together have taken every trade."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[number % len(cores)]})
    stage = AggregateStage(
        Aggregator(["5m"], 500_000),
        Reader(kafka, group, str(number)),
        Reader(kafka),
        Writer(kafka, f"{group}-{number}"),
        Metrics("aggregate"),
        Health(),
        0.1,
        lambda: time.time_ns() // 1000,
        route,
    )
    stage.start()
    while len(stage.aggregator.builders) != PARTITIONS // count:  # until the group has shared the partitions out
        messages = stage.reader.poll(0.2, 1)
        if messages:
            stage._read(messages)  # one record at a time meanwhile: it counts like any other
    barrier.wait(PATIENCE)
    begun, cpu, ended, told = time.time(), time.process_time(), time.time(), 0
    while total.value < trades:  # type: ignore[attr-defined]
        stage.turn()
        taken = aggregate.handled(stage)
        if taken > told:
            ended = time.time()
            with total.get_lock():  # type: ignore[attr-defined]
                total.value += taken - told  # type: ignore[attr-defined]
            told = taken
    answers.put((begun, ended, time.process_time() - cpu))  # type: ignore[attr-defined]
    stage.reader.close()


if __name__ == "__main__":
    sys.exit(main())
