"""Two aggregators of one group instead of one: what a second pod brings.

Broker aside: each of the two has a core to itself, the broker another; on a machine of two cores they take turns, and the slower
one's time counts. What both bring at once, beside the broker on the same two cores, is told as well.
"""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import Queue, get_context
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Barrier, Semaphore

from confluent_kafka import TopicPartition

from bench import aggregate
from bench.measure import result, source
from bench.measure.cores import broker_apart
from quantstream.kafka import Reader, Writer
from quantstream.settings import PARTITIONS, Kafka
from streaming.aggregate.stage import AggregateStage, Route

TARGET = 1.7
SYMBOLS = 512  # enough that no partition is much fuller than another
QUICK, TRADES = 20_000, 4_000_000
PATIENCE = 180.0  # seconds for all of it


def main(argv: list[str] | None = None) -> int:
    """Measure, print, return the exit code."""
    options = result.parser((__doc__ or "").splitlines()[0])
    options.add_argument("--trades", type=int, default=0)
    given = options.parse_args(argv)
    trades = given.trades or (QUICK if given.quick else TRADES)
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    with broker_apart() as kafka:
        topic = f"bench.trades.{uuid.uuid4().hex[:8]}"
        source.fill(kafka, topic, trades, SYMBOLS)
        one = run(kafka, topic, [cores[-1:]])
        in_turn = run(kafka, topic, [cores[-1:], cores[-1:]], in_turn=True)
        at_once = run(kafka, topic, [cores[-1:], cores[:1]])
    slowest = max(share.seconds for share in in_turn)
    together = max(share.ended for share in at_once) - min(share.begun for share in at_once)
    ratio, beside = one[0].seconds / slowest, one[0].seconds / together
    rows = [
        result.Row(
            "two aggregators instead of one, broker aside", "times the trades/s", round(ratio, 3), TARGET, TARGET
        ),
        result.Row("the same, sharing two cores with the broker", "times the trades/s", round(beside, 3)),
    ]
    details = {
        "one_per_s": round(trades / one[0].seconds),
        "two_per_s": round(trades / slowest),
        "two_beside_the_broker_per_s": round(trades / together),
        "one_per_cpu_s": round(trades / one[0].cpu),
        "two_per_cpu_s_of_each": [round(share.trades / share.cpu) for share in in_turn],
        "shares": [share.trades for share in in_turn],
        "trades": trades,
    }
    return result.show(result.report("two_aggregators", rows, given.quick, **details), given.json)


@dataclass(frozen=True)
class Share:
    """What one process did: trades, when (seconds since the epoch), and its processor time (seconds)."""

    trades: int
    begun: float
    ended: float
    cpu: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.begun


def run(kafka: Kafka, topic: str, cores: Sequence[Sequence[int]], in_turn: bool = False) -> list[Share]:
    """Let one process for each entry of `cores` share the topic, all at once or one after the other; return what each did.

    Raises: RuntimeError when one of them fails.
    """
    route = aggregate.make_route(kafka, topic, PARTITIONS)
    context = get_context("spawn")
    count, group, answers = len(cores), f"bench-{uuid.uuid4().hex[:8]}", context.Queue()
    settled, barrier = context.Value("i", 0), context.Barrier(count)
    turns = [context.Semaphore(number == 0 or not in_turn) for number in range(count)]
    processes = [
        context.Process(target=_work, args=(kafka, route, group, number, mine, settled, barrier, turns, answers))
        for number, mine in enumerate(cores)
    ]
    for process in processes:
        process.start()
    found: list[Share] = [answers.get(timeout=PATIENCE) for _ in processes]
    for process in processes:
        process.join(PATIENCE)
        if process.exitcode:
            raise RuntimeError(f"an aggregator ended with {process.exitcode}")
    return found


def _work(
    kafka: Kafka,
    route: Route,
    group: str,
    number: int,
    cores: Sequence[int],
    settled: Synchronized[int],
    barrier: Barrier,
    turns: Sequence[Semaphore],
    answers: Queue[Share],
) -> None:
    """Aggregate this process's share on its core when it is its turn."""
    if cores:
        os.sched_setaffinity(0, cores)
    reader, writer = Reader(kafka, group, str(number)), Writer(kafka, f"{group}-{number}")
    stage = aggregate.make_stage(kafka, route, ["5m"], reader, writer)
    stage.start()
    consumer, is_told = reader.consumer, False
    while settled.value < len(turns):  # whoever has its share goes on polling: the others' depends on it
        messages = reader.poll(0.1, 1)
        if messages:
            stage.take(messages)  # before the pause took hold: it counts like any other
        consumer.pause(consumer.assignment())
        if len(stage.held) == PARTITIONS // len(turns) and not is_told:
            is_told = True
            with settled.get_lock():
                settled.value += 1
    stage.commit()
    share, before = left(stage), aggregate.handled(stage)
    barrier.wait(PATIENCE)
    with turns[number]:
        consumer.resume(consumer.assignment())
        begun, cpu = time.time(), time.process_time()
        while aggregate.handled(stage) < before + share:
            if aggregate.handled(stage) == before:  # nothing has come yet
                begun, cpu = time.time(), time.process_time()
            stage.turn()
        answers.put(Share(share, begun, time.time(), time.process_time() - cpu))
    if number + 1 < len(turns):
        turns[number + 1].release()
    reader.close()


def left(stage: AggregateStage) -> int:
    """Return how many records of its partitions a stage's group has not committed."""
    topic, count = stage.route.trades.name, 0
    for part in stage.reader.consumer.committed([TopicPartition(*part) for part in stage.held]):
        low, high = stage.reader.ends(topic, part.partition)
        count += high - max(low, part.offset)
    return count


if __name__ == "__main__":
    sys.exit(main())
