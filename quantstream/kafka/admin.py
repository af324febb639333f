"""The broker's topics as declared, and how far its groups are."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from quantstream.core.errors import Misconfigured, Unavailable
from quantstream.kafka.connection import TIMEOUT, connection, reason, refusal
from quantstream.kafka.names import broker_name, declared_name, is_ours
from quantstream.kafka.reader import Reader
from quantstream.messages.topics import CO_PARTITIONED, TOPICS, TRADES, Topic
from quantstream.settings import Kafka

NO_COORDINATOR_YET = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)


def ensure_topics(kafka: Kafka, topics: Iterable[Topic] = TOPICS, timeout: float = TIMEOUT) -> list[str]:
    """Create the topics that are missing, as declared; say of each that has another number of partitions than is set.

    What the broker has applies. Raises: Unavailable when the broker does not answer; Misconfigured when it refuses the login, its
    own proof is not good, or topics whose partitions belong together have different numbers of them.
    """
    heard: list[KafkaError] = []
    admin = AdminClient(connection(kafka) | {"error_cb": heard.append})
    topics = list(topics)
    try:
        counts = _counts(kafka, admin, timeout)
        wanted = {topic.name: _partitions(kafka, topic, counts) for topic in topics}
        missing = [topic for topic in topics if topic.name not in counts]
        new = [
            NewTopic(broker_name(kafka, t.name), wanted[t.name], kafka.replication, config=t.config) for t in missing
        ]
        for future in admin.create_topics(new, request_timeout=timeout).values() if new else ():
            try:
                future.result(timeout)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
    except KafkaException as error:
        admin.poll(0)
        raise refusal(kafka, error, heard) from error
    check_co_partitioned({name: counts.get(name, count) for name, count in wanted.items()})
    return [text for topic in topics if (text := difference(kafka, topic, counts.get(topic.name)))]


def difference(kafka: Kafka, topic: Topic, count: int | None) -> str:
    """Return in a sentence that a topic has another number of partitions than is set; nothing when it has not."""
    usual = _partitions(kafka, topic, {})
    if count in (None, usual):
        return ""
    how = "set QUANTSTREAM_KAFKA__PARTITIONS" if topic.key == "symbol" else "it is written and read all the same"
    return f"the topic {topic.name} has {count} partitions where {usual} are set; the broker's number applies ({how})"


def check_co_partitioned(counts: Mapping[str, int]) -> None:
    """Refuse topics whose partitions belong together but differ in number.

    Raises: Misconfigured.
    """
    found = {topic.name: counts[topic.name] for topic in CO_PARTITIONED if topic.name in counts}
    if len(set(found.values())) < 2:
        return
    most = max(found.values())
    few = next(name for name, count in found.items() if count < most)
    raise Misconfigured(
        f"{', '.join(f'{name} has {count}' for name, count in found.items())} partitions, but what comes of a partition's trades "
        f"goes to the partition of the same number; stop the stages and give all of them {most}: "
        f"kafka-topics.sh --alter --topic {few} --partitions {most}"
    )


def _partitions(kafka: Kafka, topic: Topic, counts: Mapping[str, int]) -> int:
    """Return the number of partitions for a new topic: that of the existing trades topic where the two belong together."""
    usual = kafka.partitions if topic.key == "symbol" else topic.partitions
    return counts.get(TRADES.name, usual) if topic in CO_PARTITIONED else usual


def partition_counts(kafka: Kafka, timeout: float = TIMEOUT) -> dict[str, int]:
    """Return the number of partitions of every topic of the broker, with a prefix of those that have it.

    Raises: Unavailable.
    """
    try:
        return _counts(kafka, AdminClient(connection(kafka)), timeout)
    except KafkaException as error:
        raise Unavailable(f"no Kafka broker answers at {kafka.bootstrap}: {reason(error)}") from error


def _counts(kafka: Kafka, admin: AdminClient, timeout: float) -> dict[str, int]:
    listed = admin.list_topics(timeout=timeout).topics
    return {declared_name(kafka, name): len(each.partitions) for name, each in listed.items() if is_ours(kafka, name)}


def group_lag(kafka: Kafka, group: str, topic: Topic, timeout: float = TIMEOUT) -> int:
    """Return how many records of a topic a group has not yet committed.

    Raises: Unavailable.
    """
    reader = Reader(kafka, group)
    try:
        name, behind = broker_name(kafka, topic.name), 0
        parts = [TopicPartition(name, partition) for partition in reader.partitions(topic)]
        for part in _committed(reader, parts, timeout):
            if part.error:
                raise Unavailable(f"how far {group} is in {name} is not to be had: {part.error.str()}")
            low, high = reader.ends(topic.name, part.partition)
            behind += high - (part.offset if part.offset >= 0 else low)
    except KafkaException as error:
        raise Unavailable(f"no Kafka broker answers at {kafka.bootstrap}: {reason(error)}") from error
    else:
        return behind
    finally:
        reader.close()


def _committed(reader: Reader, parts: list[TopicPartition], timeout: float) -> list[TopicPartition]:
    """Ask where a group stands, again while the broker is still finding out who knows."""
    give_up_at = time.monotonic() + timeout
    while True:
        try:
            return list(reader.consumer.committed(parts, timeout=timeout))
        except KafkaException as error:
            if error.args[0].code() not in NO_COORDINATOR_YET or time.monotonic() > give_up_at:
                raise
            time.sleep(0.1)
