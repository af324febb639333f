"""The broker's topics as declared, and how far its groups are."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from quantstream.errors import Unavailable
from quantstream.kafka.connection import TIMEOUT, connection, reason, refusal
from quantstream.kafka.reader import Reader
from quantstream.settings import Kafka
from quantstream.topics import TOPICS, Topic


def ensure_topics(kafka: Kafka, topics: Iterable[Topic] = TOPICS, timeout: float = TIMEOUT) -> None:
    """Create the topics that are missing, as declared.

    Raises: Unavailable when the broker does not answer; Misconfigured when it refuses the login, or its own proof is not good.
    """
    heard: list[KafkaError] = []
    admin = AdminClient(connection(kafka) | {"error_cb": heard.append})
    try:
        existing = set(admin.list_topics(timeout=timeout).topics)
        missing = [topic for topic in topics if topic.name not in existing]
        new = [NewTopic(t.name, _partitions(kafka, t), kafka.replication, config=t.config) for t in missing]
        for future in admin.create_topics(new, request_timeout=timeout).values() if new else ():
            try:
                future.result(timeout)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
    except KafkaException as error:
        admin.poll(0)
        raise refusal(kafka, error, heard) from error


def _partitions(kafka: Kafka, topic: Topic) -> int:
    return kafka.partitions if topic.key == "symbol" else topic.partitions


def partition_counts(kafka: Kafka, timeout: float = TIMEOUT) -> dict[str, int]:
    """Return the number of partitions of every topic of the broker.

    Raises: Unavailable.
    """
    try:
        listed = AdminClient(connection(kafka)).list_topics(timeout=timeout).topics
    except KafkaException as error:
        raise Unavailable(f"no Kafka broker answers at {kafka.bootstrap}: {reason(error)}") from error
    return {name: len(topic.partitions) for name, topic in listed.items()}


def group_lag(kafka: Kafka, group: str, topic: Topic, timeout: float = TIMEOUT) -> int:
    """Return how many records of a topic a group has not yet committed.

    Raises: Unavailable.
    """
    reader = Reader(kafka, group)
    try:
        parts = [TopicPartition(topic.name, partition) for partition in reader.partitions(topic)]
        behind = 0
        for part in reader.consumer.committed(parts, timeout=timeout):
            low, high = reader.ends(part.topic, part.partition)
            behind += high - (part.offset if part.offset >= 0 else low)
    except KafkaException as error:
        raise Unavailable(f"no Kafka broker answers at {kafka.bootstrap}: {reason(error)}") from error
    else:
        return behind
    finally:
        reader.close()
