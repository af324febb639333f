"""A member that leaves: partitions that it is given on its way out are nobody's work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from quantstream.kafka import Reader, reader
from quantstream.kafka.connection import Partition
from quantstream.messages.topics import TRADES
from quantstream.settings import Kafka


class FakeConsumer:
    """Gives a partition once more while it is closed, and takes it away, as the group may."""

    def __init__(self, config: object) -> None:
        self.told: dict[str, Callable[..., None]] = {}
        self.calls: list[str] = []

    def subscribe(self, topics: object, **told: Callable[..., None]) -> None:
        self.told = told

    def give(self, number: int) -> None:
        self.told["on_assign"](self, [TopicPartition(TRADES.name, number)])

    def incremental_assign(self, parts: object) -> None:
        self.calls.append("assign")

    def incremental_unassign(self, parts: object) -> None:
        self.calls.append("unassign")

    def memberid(self) -> str:
        return "me"

    def close(self) -> None:
        self.give(1)
        self.told["on_revoke"](self, [TopicPartition(TRADES.name, 1)])


def test_what_is_given_to_a_member_that_leaves_is_taken_and_given_back_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "Consumer", FakeConsumer)
    mine, restored = Reader(Kafka(), "group", "0"), list[Partition]()

    def restore(parts: list[Partition]) -> dict[Partition, int]:
        restored.extend(parts)  # which may wait a minute for somebody's transaction
        return {}

    mine.subscribe([TRADES], restore)
    consumer: Any = mine.consumer
    consumer.give(0)
    mine.close()
    assert restored == [(TRADES.name, 0)]
    assert consumer.calls == ["assign", "assign", "unassign"]
