"""What moved an alias is announced; a broker that is away is said in the log and changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ml.promotion.announcements import PATIENCE, Announcements
from ml.promotion.decisions import Change, Decision
from ml.promotion.moves import MOVING
from quantstream.core.errors import Unavailable
from quantstream.core.time import micros
from quantstream.messages.payloads import Event, EventKind, ModelMove, decode
from quantstream.settings import Kafka

AT = datetime(2026, 11, 28, tzinfo=UTC)


class FakeWriter:
    """A broker that takes records, or does not."""

    def __init__(self, takes: bool = True, is_lost: bool = False) -> None:
        self.sent: list[tuple[str, str, bytes]] = []
        self.dropped = False
        self.takes, self.is_lost, self.queued, self.polled = takes, is_lost, 0, 0

    def send(self, topic: Any, key: str, value: bytes, partition: int) -> None:
        assert partition == 0
        self.sent.append((topic.name, key, value))
        self.queued += not self.takes

    def poll(self, timeout: float) -> None:
        self.polled += 1

    def drop(self) -> None:
        self.dropped = True

    def flush(self, timeout: float) -> None:
        if self.queued:
            raise Unavailable("2 records were not acknowledged")


def decided(change: Change) -> Decision:
    return Decision(AT, "quantstream-risk", "7", change, "6", "alice", "no worse over 288 candles")


def test_a_promotion_is_told_to_the_stages_and_to_people() -> None:
    writer = FakeWriter()
    assert Announcements(Kafka(), lambda _: writer)(decided(Change.PROMOTED))
    (topic, key, move), (events, _, event) = writer.sent
    assert (topic, key, events) == ("ops.models.v1", "quantstream-risk", "ops.events.v1")
    why = "no worse over 288 candles"
    assert decode(move, ModelMove) == ModelMove("quantstream-risk", "7", "promoted", "6", "alice", why, micros(AT))
    text = f"quantstream-risk 7 is promoted instead of 6, by alice: {why}"
    assert decode(event, Event) == Event("models", EventKind.MODEL_PROMOTED, text, micros(AT))


def test_of_an_earlier_decision_people_alone_are_told() -> None:
    writer = FakeWriter()
    assert Announcements(Kafka(), lambda _: writer)(decided(Change.PROMOTED), is_last=False)
    assert [topic for topic, *_ in writer.sent] == ["ops.events.v1"]


@pytest.mark.parametrize("change", MOVING)
def test_every_change_of_an_alias_has_an_event(change: Change) -> None:
    writer = FakeWriter()
    Announcements(Kafka(), lambda _: writer)(decided(change))
    assert len(writer.sent) == 2


@pytest.mark.parametrize("is_lost", [True, False])
def test_without_a_broker_it_says_so_and_goes_on(is_lost: bool, caplog: pytest.LogCaptureFixture) -> None:
    writer = FakeWriter(takes=False, is_lost=is_lost)
    assert not Announcements(Kafka(), lambda _: writer, clock=lambda: writer.polled * 1.0)(decided(Change.PROMOTED))
    assert writer.polled == (0 if is_lost else PATIENCE)
    assert writer.dropped  # or it would be told by this writer as well, once the broker is back
    assert "was not announced" in caplog.text


def test_a_login_that_is_refused_does_not_end_a_promotion(caplog: pytest.LogCaptureFixture) -> None:
    def refused(_: Kafka) -> Any:
        raise Unavailable("no such login")

    Announcements(Kafka(), refused)(decided(Change.ROLLED_BACK))
    assert [vars(one)["reason"] for one in caplog.records] == ["no such login"]
