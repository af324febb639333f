"""Transactions over the real broker: what a predecessor left behind does not stand in its successor's way."""

from __future__ import annotations

import pytest
from confluent_kafka import TopicPartition

from quantstream.kafka import Reader, Writer
from quantstream.messages.topics import TRADES
from quantstream.settings import Kafka

pytestmark = pytest.mark.broker
PART = (TRADES.name, 0)


def committed(reader: Reader) -> int:
    (found,) = reader.consumer.committed([TopicPartition(*PART)], timeout=10)
    return int(found.offset)


def test_a_successor_frees_what_its_predecessor_left_pending_and_moves_no_offset(broker: Kafka) -> None:
    group = "writer-release"
    reader, peer = Reader(broker, group, "0"), Reader(broker, group, "1")
    outsider = Reader(broker, group)
    writer = Writer(broker, f"{group}-0")
    writer.release(reader, TRADES)  # nothing there yet: a new group
    assert committed(peer) < 0
    writer.begin()
    writer.commit(outsider, {PART: 7})
    writer.begin()
    writer.producer.send_offsets_to_transaction(
        [TopicPartition(*PART, 9)], outsider.consumer.consumer_group_metadata(), 10
    )
    successor = Writer(broker, f"{group}-0")  # the transaction above is never ended by its owner
    successor.release(reader, TRADES)
    assert committed(peer) == 7
    successor.begin()
    successor.commit(outsider, {PART: 8})
    assert committed(peer) == 8
    for each in (reader, peer, outsider):
        each.close()
