"""What an aggregator does with its hands full when its group moves partitions: nothing that it no longer holds is counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from quantstream.binance.wire import trade_event
from quantstream.core.decimals import UNIT
from quantstream.core.errors import Fenced, Unavailable
from quantstream.core.time import SECOND
from quantstream.core.trade import Trade
from quantstream.kafka import ANY_PARTITION, Message, Partition
from quantstream.messages.payloads import OpenCandles, decode
from quantstream.messages.topics import OPEN_CANDLES, TRADES
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics
from streaming.aggregate.aggregator import Aggregator
from streaming.aggregate.stage import AT_ONCE, AggregateStage, read_snapshots

T0 = 1_723_161_600 * SECOND
Callback = Callable[[list[Partition]], None]


def message(partition: int, number: int) -> Message:
    trade = Trade(f"P{partition}", number, number, number, UNIT, UNIT, T0 + number * SECOND, False)
    return Message(
        topic=TRADES.name, partition=partition, offset=number, key=trade.symbol.encode(), value=trade_event(trade)
    )


class FakeReader:
    """Hands out what the test lays down: messages, or something to do in the middle of a poll."""

    def __init__(self) -> None:
        self.script: list[list[Message | Callable[[], None]]] = []
        self.went_back: list[list[Partition]] = []

    def subscribe(self, topics: Any, assigned: Callback, revoked: Callback, lost: Callback) -> None:
        self.assigned, self.revoked, self.lost = assigned, revoked, lost

    def poll(self, timeout: float, limit: int = 0) -> list[Message]:
        found = []
        for item in self.script.pop(0) if self.script else []:
            if isinstance(item, Message):
                found.append(item)
            else:
                item()
        return found

    def committed(self, partitions: list[Partition], waiting: Any = None) -> dict[Partition, int | None]:
        return dict.fromkeys(partitions)

    def seek(self, offsets: Mapping[Partition, int]) -> bool:
        self.went_back.append(sorted(offsets))
        return True

    def ends(self, topic: str, partition: int) -> tuple[int, int]:
        return 0, 0  # no snapshots yet

    def written_end(self, topic: str, partition: int) -> int:
        return 0

    def lag(self) -> int:
        return 0


class SlowSnapshots:
    """A snapshot topic that comes a little at a time, and from some point on not at all."""

    def __init__(self, looks: list[int]) -> None:
        """`looks` tell how many offsets each look gets on, by transaction markers alone."""
        self.looks, self.position = looks, 0

    def ends(self, topic: str, partition: int) -> tuple[int, int]:
        return 0, 100

    def written_end(self, topic: str, partition: int) -> int:
        return 100

    def assign(self, offsets: Mapping[Partition, int]) -> None:
        assert list(offsets) == [(OPEN_CANDLES.name, 0)]

    def poll(self, timeout: float, limit: int = 0) -> list[Message]:
        if not self.looks:
            raise Unavailable("the test has seen enough")
        self.position += self.looks.pop(0)
        return []

    def positions(self) -> dict[Partition, int]:
        return {(OPEN_CANDLES.name, 0): self.position}


def test_a_restore_of_any_length_is_work_as_long_as_it_gets_on(monkeypatch: pytest.MonkeyPatch) -> None:
    beats: list[int] = []
    steady: Any = SlowSnapshots([10] * 10)
    assert list(read_snapshots(steady, 0, working=lambda: beats.append(1))) == []
    assert len(beats) == 10
    beats.clear()
    monkeypatch.setattr("streaming.aggregate.stage.TRANSACTION_PATIENCE", 0.0)  # no transaction can be open any more
    stuck: Any = SlowSnapshots([10, 0, 0, 0, 10, 0, 0])
    with pytest.raises(Unavailable):
        list(read_snapshots(stuck, 0, working=lambda: beats.append(1)))
    assert len(beats) == 2  # a broker that brings nothing is no work: the watchdog ends it


class FakeWriter:
    """A transaction in memory; `fenced` makes the next commits fail as a group does that has moved on."""

    is_lost = False

    def __init__(self) -> None:
        self.sent: list[tuple[int | None, int]] = []
        self.committed: list[tuple[dict[Partition, int], list[tuple[int | None, int]]]] = []
        self.fenced: list[type[Unavailable]] = []
        self.aborted = 0

    def begin(self) -> None:
        assert not self.sent

    def send(self, topic: Any, key: str, value: bytes, partition: int = ANY_PARTITION) -> None:
        assert topic == OPEN_CANDLES
        self.sent.append((partition, decode(value, OpenCandles).state.ids.last_id))

    def commit(self, reader: Any, offsets: Mapping[Partition, int]) -> None:
        if self.fenced:
            raise self.fenced.pop()("the group has moved on")
        self.committed.append((dict(offsets), self.sent))
        self.sent = []

    def abort(self) -> None:
        self.aborted += 1
        self.sent = []

    def release(self, reader: Any, topic: Any) -> None:
        assert not self.sent


def part(*numbers: int) -> list[Partition]:
    return [(TRADES.name, number) for number in numbers]


@pytest.fixture
def stage() -> AggregateStage:
    reader: Any = FakeReader()
    writer: Any = FakeWriter()
    made = AggregateStage(
        Aggregator(("5m",), 0), reader, reader, writer, Metrics("aggregate"), Health(), 0.001, lambda: T0
    )
    made.linger = lambda count, elapsed: made.pause  # type: ignore[method-assign]  # however slow the machine is
    made.start()
    reader.assigned(part(0, 1))
    return made


def fakes(stage: AggregateStage) -> tuple[Any, Any]:
    return stage.reader, stage.writer


def test_a_short_reading_ends_a_backlog_only_when_nothing_more_comes_for_a_pause(stage: AggregateStage) -> None:
    del stage.linger  # type: ignore[method-assign]
    assert stage.linger(1, 0.0) == stage.pause
    assert stage.linger(AT_ONCE, 1.0) == stage.pause
    assert stage.linger(7, 1.001) == pytest.approx(stage.pause - 0.001)  # the broker was a little late
    assert stage.linger(7, 1.0 + stage.pause) <= 0
    assert stage.linger(AT_ONCE, stage.busy) <= 0
    assert stage.linger(1, 0.0) == stage.pause  # of the next turn
    assert stage.linger(1, stage.pause) <= 0


def test_a_fenced_transaction_is_aborted_and_all_that_is_held_goes_back(stage: AggregateStage) -> None:
    reader, writer = fakes(stage)
    writer.fenced = [Fenced]
    reader.script = [[message(0, 0), message(1, 0)]]
    stage.turn()
    assert (writer.aborted, writer.committed, reader.went_back) == (1, [], [part(0, 1)])
    assert stage.aggregator.builders == {0: {}, 1: {}}
    reader.script = [[message(0, 0), message(1, 0)]]
    stage.turn()
    assert writer.committed == [({(TRADES.name, 0): 1, (TRADES.name, 1): 1}, [(0, 0), (1, 0)])]
    assert reader.went_back == [part(0, 1)]


def test_any_other_failure_of_a_commit_ends_the_stage(stage: AggregateStage) -> None:
    reader, writer = fakes(stage)
    writer.fenced = [Unavailable]
    reader.script = [[message(0, 0)]]
    with pytest.raises(Unavailable, match="the group has moved on"):
        stage.turn()
    assert (writer.aborted, reader.went_back) == (0, [])


def test_what_was_collected_of_a_partition_before_it_was_given_up_does_not_count(stage: AggregateStage) -> None:
    reader, writer = fakes(stage)
    reader.script = [[message(0, 0)], [message(0, 1), message(1, 0), lambda: reader.revoked(part(0))]]
    stage.turn()
    assert writer.committed == [({(TRADES.name, 0): 1}, [(0, 0)]), ({(TRADES.name, 1): 1}, [(1, 0)])]
    assert (set(stage.aggregator.builders), reader.went_back) == ({1}, [])


def test_a_partition_that_comes_back_within_a_turn_is_read_from_what_is_committed(stage: AggregateStage) -> None:
    reader, writer = fakes(stage)
    reader.script = [
        [message(0, 0), lambda: reader.revoked(part(1))],
        [message(0, 1), message(1, 7), lambda: reader.assigned(part(1))],
    ]
    stage.turn()
    assert (writer.committed, reader.went_back) == ([], [part(0, 1)])
    assert (stage.offsets, stage.aggregator.builders) == ({}, {0: {}, 1: {}})


def test_of_partitions_that_are_lost_nothing_is_committed(stage: AggregateStage) -> None:
    reader, writer = fakes(stage)
    reader.script = [[message(0, 0), message(1, 0)], [lambda: reader.lost(part(0, 1))]]
    stage.turn()
    assert (writer.committed, reader.went_back, stage.held) == ([], [], set())
