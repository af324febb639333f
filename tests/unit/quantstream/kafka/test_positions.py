"""Where a group stands: what the broker cannot tell is not taken for a group that is new."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import OFFSET_INVALID, KafkaError, TopicPartition

from quantstream.core.errors import Misconfigured, Unavailable
from quantstream.kafka import Reader
from quantstream.kafka.admin import check_co_partitioned, difference
from quantstream.messages.topics import CANDLES, EVENTS, OPEN_CANDLES, TRADES
from quantstream.settings import Kafka


class OddPart(TopicPartition):
    """A partition whose own answer is an error, as the client gives it beside those that are well."""

    @property
    def error(self) -> KafkaError:  # type: ignore[override]
        return KafkaError(KafkaError.UNSTABLE_OFFSET_COMMIT)


class Consumer:
    """Partitions of 900 records; the group's positions as given."""

    def __init__(self, *parts: TopicPartition) -> None:
        self.parts = list(parts)

    def committed(self, parts: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        return self.parts

    def get_watermark_offsets(self, part: TopicPartition, timeout: float) -> tuple[int, int]:
        return 0, 900


def reader_of(*parts: TopicPartition) -> Reader:
    reader = Reader(Kafka(), "group")
    reader.close()
    consumer: Any = Consumer(*parts)
    reader.consumer = consumer
    return reader


def test_a_partition_that_has_no_position_is_not_one_whose_position_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quantstream.kafka.reader.TRANSACTION_PATIENCE", -1.0)
    name = CANDLES.name
    known, new = TopicPartition(name, 0, 700), TopicPartition(name, 1, OFFSET_INVALID)
    assert reader_of(known, new).committed([(name, 0), (name, 1)]) == {(name, 0): 700, (name, 1): None}
    odd = OddPart(name, 1, OFFSET_INVALID)
    with pytest.raises(Unavailable, match=rf"where group stands is not to be had from .*: {name}-1"):
        reader_of(known, odd).committed([(name, 0), (name, 1)])


def test_topics_whose_partitions_belong_together_are_refused_when_they_differ() -> None:
    check_co_partitioned({TRADES.name: 12, CANDLES.name: 12, OPEN_CANDLES.name: 12, EVENTS.name: 1})
    check_co_partitioned({TRADES.name: 12})
    with pytest.raises(
        Misconfigured, match=r"kafka-topics\.sh --alter --topic market\.candles\.open\.v1 --partitions 12"
    ):
        check_co_partitioned({TRADES.name: 12, CANDLES.name: 12, OPEN_CANDLES.name: 4})


def test_another_number_of_partitions_than_is_set_is_said() -> None:
    assert difference(Kafka(partitions=12), TRADES, 12) == ""
    assert difference(Kafka(partitions=12), EVENTS, 1) == ""
    assert difference(Kafka(partitions=12), TRADES, None) == ""
    assert "market.trades.v1 has 4 partitions where 12 are set" in difference(Kafka(partitions=12), TRADES, 4)
    assert "set QUANTSTREAM_KAFKA__PARTITIONS" in difference(Kafka(), TRADES, 12)
