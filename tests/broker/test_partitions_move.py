"""Partitions that move at the worst instant, between an aggregator's transaction and its end: aborted, done again, once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from quantstream.core.errors import Fenced
from quantstream.kafka import Partition, Reader, Writer
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics
from quantstream.settings import Kafka
from streaming.aggregate.aggregator import Aggregator
from streaming.aggregate.stage import AggregateStage
from tests.broker.replicas import LATENESS, HandFed

pytestmark = [pytest.mark.broker, pytest.mark.slow]
GROUP = "quantstream-aggregate"
PATIENCE = 90.0  # seconds


class Interrupted:
    """A consumer to which something happens between asking its group where it stands and committing there."""

    def __init__(self, consumer: Any, meanwhile: Callable[[], None]) -> None:
        self.consumer, self.meanwhile = consumer, meanwhile

    def __getattr__(self, name: str) -> Any:
        return getattr(self.consumer, name)

    def consumer_group_metadata(self) -> Any:
        found = self.consumer.consumer_group_metadata()
        act, self.meanwhile = self.meanwhile, lambda: None
        act()
        return found


@pytest.fixture
def stages(fresh_broker: Kafka) -> Iterator[Callable[[str], AggregateStage]]:
    made = []

    def make(instance: str) -> AggregateStage:
        stage = AggregateStage(
            Aggregator(("5m",), LATENESS),
            Reader(fresh_broker, GROUP, instance, heartbeat_interval_ms=200),  # the group moves on that much sooner
            Reader(fresh_broker),
            Writer(fresh_broker, f"{GROUP}-{instance}"),
            Metrics("aggregate"),
            Health(),
            0.05,
            lambda: time.time_ns() // 1000,
        )
        made.append(stage)
        return stage

    yield make
    for stage in made:
        stage.reader.close()


def turn_until(done: Callable[[], bool], *turning: AggregateStage) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline, "it did not come to that in time"
        for stage in turning:
            stage.turn()


def has_members(kafka: Kafka, count: int) -> bool:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    described = admin.describe_consumer_groups([GROUP])[GROUP].result(15)
    return described.state.name == "STABLE" and len(described.members) == count


def test_partitions_that_move_during_a_transaction_lose_and_repeat_nothing(
    fresh_broker: Kafka, stages: Callable[[str], AggregateStage]
) -> None:
    market, first, second = HandFed(fresh_broker), stages("0"), stages("1")
    fenced: list[Fenced] = []
    commit = first.writer.commit

    def told(reader: Reader, offsets: Mapping[Partition, int]) -> None:
        try:
            commit(reader, offsets)
        except Fenced as error:
            fenced.append(error)
            raise

    def another_joins() -> None:
        second.start()
        turn_until(lambda: has_members(fresh_broker, 2), second)

    first.start()
    market.feed(250)
    turn_until(lambda: first.handled._value.get() == 250 * len(market.symbols), first)
    market.feed(300)  # what closes six windows is in the transaction that does not count
    first.writer.commit = told  # type: ignore[method-assign]
    first.reader.consumer = Interrupted(first.reader.consumer, another_joins)
    turn_until(lambda: bool(fenced), first)
    assert market.count() == 0
    turn_until(lambda: len(second.held) == 2 and first.reader.lag() + second.reader.lag() == 0, first, second)
    market.feed(100)
    market.close()
    expected = sum(map(len, market.expected().values()))
    turn_until(lambda: first.reader.lag() + second.reader.lag() == 0 and market.count() == expected, first, second)
    assert market.candles() == market.expected()
    assert (len(fenced), len(first.held), first.held & second.held) == (1, 2, set())
    assert {number for _, number in first.held} == set(first.aggregator.builders)
