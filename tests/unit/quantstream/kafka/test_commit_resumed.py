"""A commit that its process slept through: what was cut short is taken up again, not taken for a broker that is away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException

from quantstream.core.errors import Fenced, Unavailable
from quantstream.kafka import Reader, Writer, writer
from quantstream.messages.topics import TRADES
from quantstream.settings import Kafka
from tests.topics import read_topic

PART = (TRADES.name, 0)
ASLEEP = KafkaError(KafkaError._TIMED_OUT, "failed to commit in time", retriable=True)
FENCED = KafkaError(KafkaError._FENCED, "another has this transactional id", fatal=True)
MOVED = KafkaError(KafkaError.ILLEGAL_GENERATION, "the group has moved on", txn_requires_abort=True)


class FakeProducer:
    """Answers each call of a transaction with the next of `errors`, None for success."""

    def __init__(self, **errors: list[KafkaError | None]) -> None:
        self.errors, self.calls = errors, list[str]()

    def __getattr__(self, name: str) -> Callable[..., None]:
        def call(*_: object) -> None:
            self.calls.append(name)
            error = self.errors[name].pop(0) if self.errors.get(name) else None
            if error is not None:
                raise KafkaException(error)

        return call


class FakeReader:
    def group_metadata(self) -> object:
        return object()


def commit(**errors: list[KafkaError | None]) -> list[str]:
    mine = Writer.__new__(Writer)
    mine.producer, mine.kafka, mine.bootstrap = cast(Any, FakeProducer(**errors)), Kafka(), "broker"
    mine.commit(cast(Reader, FakeReader()), {PART: 7})
    return cast(FakeProducer, mine.producer).calls


def test_a_step_that_ran_out_of_time_is_taken_up_once_more() -> None:
    send, end = "send_offsets_to_transaction", "commit_transaction"
    assert commit() == [send, end]
    assert commit(commit_transaction=[ASLEEP]) == [send, end, end]
    assert commit(send_offsets_to_transaction=[ASLEEP]) == [send, send, end]


def test_what_fails_again_or_cannot_be_taken_up_is_said_as_it_is() -> None:
    with pytest.raises(Unavailable, match="in time"):
        commit(commit_transaction=[ASLEEP, ASLEEP])
    with pytest.raises(Unavailable, match="another"):
        commit(commit_transaction=[FENCED])
    with pytest.raises(Fenced, match="moved on"):
        commit(send_offsets_to_transaction=[ASLEEP, MOVED])


@pytest.mark.broker
def test_a_real_commit_that_was_cut_short_is_whole_and_once(
    fresh_broker: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was given up so soon that it cannot be taken up again ends its process; the next one does it anew."""
    reader, mine = Reader(fresh_broker, "cut-short"), Writer(fresh_broker, "cut-short-0")
    for number in range(5):
        while reader.committed([PART])[PART] != number:
            with monkeypatch.context() as patch:
                patch.setattr(writer, "COMMIT_TIMEOUT", 0.0005)  # of a process that wakes with its time used up
                mine.begin()
                mine.send(TRADES, "A1", b"%d" % number, partition=0)
                try:
                    mine.commit(reader, {PART: number})
                except Unavailable:
                    mine = Writer(fresh_broker, "cut-short-0")
    assert [message.value() for message in read_topic(fresh_broker, TRADES)] == [b"%d" % number for number in range(5)]
    assert reader.committed([PART]) == {PART: 4}
    reader.close()
