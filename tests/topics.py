"""A whole topic as a test sees it."""

from __future__ import annotations

from collections.abc import Iterator

from quantstream.kafka import Message, Reader
from quantstream.messages.topics import Topic
from quantstream.settings import Kafka


def read_topic(kafka: Kafka, topic: Topic) -> list[Message]:
    """Return every committed record of a topic as it is now, partition by partition, as many as the broker has."""
    return list(each_record(kafka, topic))


def each_record(kafka: Kafka, topic: Topic) -> Iterator[Message]:
    """Yield them one by one: millions need not fit into memory."""
    reader = Reader(kafka)
    try:
        for partition in reader.partitions(topic):
            low, high = reader.ends(topic.name, partition)
            reader.assign({(topic.name, partition): low})
            while low < high:
                yield from reader.poll(0.2)
                low = reader.positions().get((topic.name, partition), low)
    finally:
        reader.close()
