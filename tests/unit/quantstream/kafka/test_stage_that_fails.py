"""A stage that fails in the middle of its work: what it took half is not committed when it leaves its group."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import pytest

from quantstream.core.accounts import Account
from quantstream.core.errors import Unavailable
from quantstream.kafka.stage import PartitionedStage
from quantstream.messages.topics import TRADES
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics

PART = (TRADES.name, 0)


class FakeReader:
    """Gives a partition, then records; says that the partition is revoked when it is closed, as the real one does."""

    def __init__(self, batches: list[list[Any]]) -> None:
        self.batches = batches
        self.assigned: Callable[..., Any] = lambda parts: {}
        self.revoked: Callable[..., Any] = lambda parts: None
        self.lost: Callable[..., Any] = lambda parts: None

    def subscribe(self, topics: object, *told: Callable[..., Any]) -> None:
        self.assigned, self.revoked, self.lost = told

    def poll(self, timeout: float, limit: int) -> list[Any]:
        return self.batches.pop(0) if self.batches else []

    def lag(self) -> int:
        return 0

    def close(self) -> None:
        self.revoked([PART])


class FailingStage(PartitionedStage):
    """Fails at a record that is None; notes the offset first, as the real ones do."""

    def __init__(self, reader: FakeReader) -> None:
        super().__init__(cast(Any, reader), [TRADES], 0, Metrics("score"), Health())
        self.taken: list[object] = []
        self.offset = 0
        self.committed: list[int] = []
        self.told_next_holder = self.discarded = 0

    def restore(self, partitions: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        return {}

    def forget(self, partitions: Sequence[tuple[str, int]]) -> None:
        self.taken.clear()

    def take(self, messages: list[Any]) -> None:
        self.offset += len(messages)
        for message in messages:
            if message is None:
                raise Unavailable("the queue is full")
            self.taken.append(message)

    def flush(self) -> None:
        self.committed.append(self.offset)

    def discard(self) -> None:
        self.discarded += 1

    def accounts(self) -> Iterator[tuple[str, Account]]:
        return iter(())

    def revoked(self, partitions: Sequence[tuple[str, int]]) -> None:
        self.told_next_holder += 1


def test_a_stage_that_fails_within_a_batch_commits_nothing_of_it_when_it_leaves() -> None:
    reader = FakeReader([["a", "b"], ["c", None, "d"]])
    stage = FailingStage(reader)
    stage.start()
    reader.assigned([PART])
    stage.turn()
    with pytest.raises(Unavailable):
        stage.turn()
    reader.close()
    assert stage.committed == [2]
    assert stage.told_next_holder == 0


def test_a_stage_that_fails_and_hears_then_that_its_partitions_are_lost_aborts_nothing_more() -> None:
    reader = FakeReader([[None]])
    stage = FailingStage(reader)
    stage.start()
    reader.assigned([PART])
    with pytest.raises(Unavailable):
        stage.turn()
    reader.lost([PART])
    assert stage.discarded == 0
    assert stage.held == set()


def test_a_stage_that_is_told_to_stop_commits_what_it_took_when_it_leaves() -> None:
    reader = FakeReader([["a", "b"]])
    stage = FailingStage(reader)
    stage.start()
    reader.assigned([PART])
    stage.take(["a"])
    reader.close()
    assert stage.committed == [1]
    assert stage.told_next_holder == 1
