"""Partitions that move at any instant, for a stage that only says what it does with a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import pytest
from confluent_kafka import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from quantstream.core.accounts import Account
from quantstream.core.errors import Fenced, Unavailable
from quantstream.kafka import Partition, PartitionedStage
from quantstream.messages.topics import TRADES
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics

Step: TypeAlias = Message | Callable[[], None]


def part(*numbers: int) -> list[Partition]:
    return [(TRADES.name, number) for number in numbers]


def message(partition: int, offset: int) -> Message:
    return Message(topic=TRADES.name, partition=partition, offset=offset, key=b"A1", value=b"x")


class Group:
    """A broker's side in memory: what is committed, who holds what; and a script of what each reading of the stage meets."""

    def __init__(self) -> None:
        self.script: list[list[Step]] = []
        self.offsets: dict[Partition, int] = {}
        self.sought: list[Mapping[Partition, int]] = []
        self.is_seekable = True
        self.lows: dict[Partition, int] = {}
        self.highs: dict[Partition, int] = {}

    def subscribe(self, topics: Any, assigned: Any, revoked: Any, lost: Any) -> None:
        self.assigned, self.revoked, self.lost = assigned, revoked, lost

    def poll(self, timeout: float, limit: int = 0) -> list[Message]:
        found = []
        for step in self.script.pop(0) if self.script else []:
            if isinstance(step, Message):
                found.append(step)
            else:
                step()
        return found

    def committed(self, partitions: Sequence[Partition], waiting: Any = None) -> dict[Partition, int | None]:
        return {one: self.offsets.get(one) for one in partitions}

    def ends(self, topic: str, partition: int) -> tuple[int, int]:
        return self.lows.get((topic, partition), 0), self.highs.get((topic, partition), 1_000)

    def seek(self, offsets: Mapping[Partition, int]) -> bool:
        if self.is_seekable:
            self.sought.append(dict(offsets))
        return self.is_seekable

    def lag(self) -> int:
        return 0


class Counting(PartitionedStage):
    """Counts the records of each partition; the count is its state, committed with the offsets."""

    def __init__(self, group: Any) -> None:
        super().__init__(group, [TRADES], 0.0, Metrics("aggregate"), Health())
        self.group: Group = group
        self.counts: dict[Partition, int] = {}
        self.waiting: dict[Partition, int] = {}
        self.commits: list[dict[Partition, int]] = []
        self.fenced: list[type[Unavailable]] = []

    def linger(self, count: int, elapsed: float) -> float:
        return 1.0

    def restore(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        begin = self.resume(self.reader.committed(partitions))
        self.counts |= begin
        return begin

    def forget(self, partitions: Sequence[Partition]) -> None:
        for one in partitions:
            self.counts.pop(one, None)
            self.waiting.pop(one, None)

    def take(self, messages: list[Message]) -> None:
        for one in messages:
            place = (one.topic(), one.partition())
            assert one.offset() == self.counts[place], "a record was skipped or repeated"
            self.counts[place] += 1
            self.waiting[place] = one.offset() + 1

    def flush(self) -> None:
        if not self.waiting:
            return
        if self.fenced:
            raise self.fenced.pop()("somebody else went on")
        self.group.offsets |= self.waiting
        self.commits.append(dict(self.waiting))
        self.waiting.clear()

    def discard(self) -> None:
        self.waiting.clear()

    def accounts(self) -> list[tuple[str, Account]]:
        return []


@pytest.fixture
def stage() -> Counting:
    made = Counting(Group())
    made.start()
    made.group.assigned(part(0, 1))
    return made


def test_what_is_held_is_committed_before_it_is_revoked(stage: Counting) -> None:
    stage.group.script = [[message(0, 0)], [lambda: stage.group.revoked(part(0)), message(1, 0)]]
    stage.turn()
    assert stage.commits == [dict(zip(part(0), [1], strict=True)), dict(zip(part(1), [1], strict=True))]
    assert (stage.held, set(stage.counts)) == (set(part(1)), set(part(1)))


def test_records_collected_with_a_partition_that_goes_are_dropped(stage: Counting) -> None:
    stage.group.script = [[message(0, 0), message(1, 0), lambda: stage.group.revoked(part(0))]]
    stage.turn()
    assert stage.commits == [{(TRADES.name, 1): 1}]


def test_of_lost_partitions_nothing_is_committed_and_nothing_kept(stage: Counting) -> None:
    stage.group.script = [[message(0, 0), message(1, 0)], [lambda: stage.group.lost(part(0, 1))]]
    stage.turn()
    assert (stage.commits, stage.counts, stage.held, stage.group.sought) == ([], {}, set(), [])


def test_an_fenced_commit_goes_back_to_what_is_committed(stage: Counting) -> None:
    stage.fenced = [Fenced]
    stage.group.offsets = {(TRADES.name, 0): 5}
    stage.group.script = [[message(0, 0), message(1, 0)], [], [message(0, 5), message(1, 0)]]
    stage.turn()
    assert (stage.commits, stage.counts) == ([], {(TRADES.name, 0): 5, (TRADES.name, 1): 0})
    assert stage.group.sought == [{(TRADES.name, 0): 5, (TRADES.name, 1): 0}]
    stage.turn()
    assert stage.commits == [{(TRADES.name, 0): 6, (TRADES.name, 1): 1}]


def test_a_partition_that_left_and_came_back_within_a_turn_is_read_from_what_is_committed(stage: Counting) -> None:
    stage.group.script = [
        [message(0, 0), lambda: stage.group.revoked(part(1))],
        [message(0, 1), message(1, 7), lambda: stage.group.assigned(part(1))],
    ]
    stage.turn()
    assert (stage.commits, stage.is_behind) == ([], False)
    assert stage.group.sought == [{(TRADES.name, 0): 0, (TRADES.name, 1): 0}]


def test_a_partition_that_is_given_twice_is_read_from_what_is_committed(stage: Counting) -> None:
    stage.group.script = [[message(0, 0), message(1, 0)], [lambda: stage.group.assigned(part(0))]]
    stage.turn()
    assert (stage.commits, stage.group.sought) == ([], [{(TRADES.name, 0): 0, (TRADES.name, 1): 0}])


def test_where_the_client_cannot_go_back_yet_it_reads_on_to_hear_why(stage: Counting) -> None:
    stage.fenced, stage.group.is_seekable = [Fenced], False
    stage.group.script = [[message(0, 0)], [], [message(0, 1), lambda: stage.group.lost(part(0, 1))]]
    stage.turn()
    assert stage.is_behind
    stage.turn()
    assert (stage.is_behind, stage.commits, stage.counts) == (False, [], {})


def test_any_other_failure_of_a_commit_ends_the_process(stage: Counting) -> None:
    stage.fenced = [Unavailable]
    stage.group.script = [[message(0, 0)]]
    with pytest.raises(Unavailable, match="somebody else went on"):
        stage.turn()


@pytest.mark.parametrize(
    ("reached", "low", "high", "begin", "gone"),
    [(None, 3, 9, 3, 0), (5, 3, 9, 5, 0), (9, 3, 9, 9, 0), (1, 3, 9, 3, 2), (12, 3, 9, 9, 3)],
)
def test_records_that_are_gone_are_told_of(
    reached: int | None, low: int, high: int, begin: int, gone: int, caplog: pytest.LogCaptureFixture
) -> None:
    stage, (place,) = Counting(Group()), part(0)
    stage.group.lows, stage.group.highs = {place: low}, {place: high}
    assert stage.resume({place: reached}) == {place: begin}
    assert stage.gone._value.get() == gone
    assert ("records are gone" in caplog.text) == bool(gone)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_whatever_moves_every_record_is_counted_once(data: st.DataObject) -> None:
    """Two stages of one group, and partitions that move between them by any of the ways there are."""
    log = {one: data.draw(st.integers(0, 6)) for one in part(0, 1, 2)}
    group = [Counting(Group()), Counting(Group())]
    group[1].group.offsets = group[0].group.offsets
    for member in group:
        member.start()
    owner: dict[Partition, Counting] = {}

    def read(member: Counting) -> list[Message]:
        found = []
        for place, holder in owner.items():
            if holder is member and (count := data.draw(st.integers(0, 3))):
                at = member.counts.get(place, 0)
                found += [message(place[1], offset) for offset in range(at, min(at + count, log[place]))]
        return found

    def give(place: Partition, to: Counting) -> None:
        before = owner.pop(place, None)
        if before is not None:
            (before.group.lost if data.draw(st.booleans()) else before.group.revoked)([place])
        owner[place] = to
        to.group.assigned([place])

    for _ in range(data.draw(st.integers(1, 12))):
        member = data.draw(st.sampled_from(group))
        place, to = data.draw(st.sampled_from(part(0, 1, 2))), data.draw(st.sampled_from(group))
        member.fenced = [Fenced] * data.draw(st.integers(0, 1))
        steps: list[Step] = list(read(member))
        if data.draw(st.booleans()):
            steps.insert(data.draw(st.integers(0, len(steps))), lambda place=place, to=to: give(place, to))  # type: ignore[misc]
        member.group.script = [steps]
        member.turn()
    for place in log:
        if place not in owner:
            give(place, group[0])
    for _ in range(40):
        for member in group:
            member.fenced = []
            held = [place for place, holder in owner.items() if holder is member]
            member.group.script = [
                [message(p[1], at) for p in held if not member.is_behind and (at := member.counts[p]) < log[p]]
            ]
            member.turn()
    assert {place: owner[place].counts[place] for place in log} == log
    assert {place: owner[place].group.offsets.get(place, 0) for place in log} == log
