"""Partitions that the broker's group gives to nobody are noticed by its members and shared out again."""

from __future__ import annotations

import pytest
from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient

from quantstream.kafka import Writer, orphans
from quantstream.messages.payloads import encode
from quantstream.messages.topics import CANDLES
from quantstream.settings import Kafka
from tests.broker import test_scores as scoring
from tests.broker.test_fenced import count, members, score, turn_until

pytestmark = [pytest.mark.broker, pytest.mark.slow]


def given(kafka: Kafka) -> int:
    """Return how many partitions the group has given to somebody, 0 while it rebalances."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    described = admin.describe_consumer_groups(["quantstream-score"])["quantstream-score"].result(15)
    is_stable = described.state == ConsumerGroupState.STABLE
    return sum(len(member.assignment.topic_partitions) for member in described.members) if is_stable else 0


def test_what_a_member_had_not_given_up_when_it_was_started_again_is_not_left_to_nobody(
    fresh_broker: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "EVERY", 1.0)
    first, second = score(fresh_broker, "a"), score(fresh_broker, "b")
    every = {(CANDLES.name, number) for number in range(CANDLES.partitions)}
    first.start()
    turn_until(lambda: first.held == every, first)
    second.start()
    turn_until(
        lambda: 0 < given(fresh_broker) < len(every), second
    )  # the first is to give up a half, and does not hear of it
    again = score(fresh_broker, "a")
    with members(first, second, again):
        again.start()
        turn_until(lambda: bool(again.held), second, again)
        turn_until(lambda: again.held | second.held == every and not again.held & second.held, second, again)
        writer = Writer(fresh_broker)
        for symbol in ("A1", "B1", "C1", "D1", "E1", "F1"):
            writer.send(CANDLES, symbol, encode(scoring.candle(0, symbol)))
        writer.flush()
        turn_until(lambda: count(again.scored) + count(second.scored) == 6, second, again)
    assert count(again.rebalances.labels("orphaned")) + count(second.rebalances.labels("orphaned")) > 0
