"""Kafka's only door: topics as declared, batch consumers, transactional producers; confluent-kafka's errors become ours."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic

from quantstream.errors import Unavailable
from quantstream.settings import Kafka
from quantstream.topics import TOPICS, Topic

log = logging.getLogger(__name__)
TIMEOUT = 15.0  # seconds for an answer of the broker
COMMIT_TIMEOUT = 10.0  # seconds for each of the two steps of a commit: together within the watchdog's patience
Partition = tuple[str, int]  # topic's name and partition's number
BATCH = 10_000  # messages a consume() may bring: one call into C for many records


@dataclass(frozen=True)
class Record:
    """One message, its headers as text."""

    topic: str
    partition: int
    offset: int
    key: str
    value: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    timestamp_ms: int = 0


def connection(kafka: Kafka) -> dict[str, Any]:
    """Return the client settings that every consumer, producer and admin shares."""
    config: dict[str, Any] = {"bootstrap.servers": kafka.bootstrap, "security.protocol": kafka.security}
    if kafka.ca_file:
        config["ssl.ca.location"] = kafka.ca_file
    if kafka.user:
        config |= {
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": kafka.user,
            "sasl.password": kafka.password.get_secret_value(),
        }
    config |= {
        "reconnect.backoff.ms": 250,
        "reconnect.backoff.max.ms": 2_000,
    }  # else it tries, and logs, 20 times a second
    config["logger"] = logging.getLogger("kafka.client")
    return config


def ensure_topics(kafka: Kafka, topics: Iterable[Topic] = TOPICS, timeout: float = TIMEOUT) -> None:
    """Create the topics that are missing, as declared.

    Raises: Unavailable when the broker does not answer.
    """
    admin = AdminClient(connection(kafka))
    try:
        existing = set(admin.list_topics(timeout=timeout).topics)
        missing = [topic for topic in topics if topic.name not in existing]
        new = [NewTopic(t.name, t.partitions, kafka.replication, config=t.config) for t in missing]
        for future in admin.create_topics(new, request_timeout=timeout).values() if new else ():
            try:
                future.result(timeout)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
    except KafkaException as error:
        raise Unavailable(f"no Kafka broker answers at {kafka.bootstrap}: {_reason(error)}") from error


def partition_counts(kafka: Kafka, timeout: float = TIMEOUT) -> dict[str, int]:
    """Return the number of partitions of every topic of the broker.

    Raises: Unavailable.
    """
    try:
        listed = AdminClient(connection(kafka)).list_topics(timeout=timeout).topics
    except KafkaException as error:
        raise Unavailable(f"no Kafka broker answers at {kafka.bootstrap}: {_reason(error)}") from error
    return {name: len(topic.partitions) for name, topic in listed.items()}


class Reader:
    """Consumes topics in batches. With a `group` it shares partitions with its peers; without one it takes what it is told."""

    def __init__(self, kafka: Kafka, group: str | None = None, instance: str | None = None, **options: Any) -> None:
        """`instance` names a replica of the group for good: started again, it takes its partitions back at once.

        `options` are librdkafka's, dots as underscores (`auto_offset_reset="latest"`).
        """
        config = (
            connection(kafka)
            | {
                "group.id": group or "quantstream-reader",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "partition.assignment.strategy": "cooperative-sticky",
                "fetch.wait.max.ms": 50,
                "session.timeout.ms": 10_000,  # a replica that died without a successor gives its partitions up after so long
                "enable.partition.eof": False,
            }
        )
        if group and instance:
            config |= {"group.instance.id": f"{group}-{instance}"}
        config |= {name.replace("_", "."): value for name, value in options.items()}
        self.consumer = Consumer(config)
        self.bootstrap = kafka.bootstrap

    def subscribe(
        self,
        topics: Sequence[Topic],
        on_assign: Callable[[list[Partition]], Mapping[Partition, int] | None] | None = None,
        on_revoke: Callable[[list[Partition]], None] | None = None,
    ) -> None:
        """Join the group. The callbacks run inside `poll`; `on_assign` may say at which offsets to begin."""

        def assigned(consumer: Consumer, parts: list[TopicPartition]) -> None:
            offsets = on_assign([(part.topic, part.partition) for part in parts]) if on_assign else None
            for part in parts if offsets else ():
                part.offset = (offsets or {}).get((part.topic, part.partition), part.offset)
            consumer.incremental_assign(parts)

        def revoked(consumer: Consumer, parts: list[TopicPartition]) -> None:
            if on_revoke:
                on_revoke([(part.topic, part.partition) for part in parts])
            consumer.incremental_unassign(parts)

        self.consumer.subscribe(
            [topic.name for topic in topics], on_assign=assigned, on_revoke=revoked, on_lost=revoked
        )

    def assign(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Read from exact offsets (`OFFSET_BEGINNING`, `OFFSET_END` allowed) without a group."""
        self.consumer.assign([TopicPartition(t, p, offset) for (t, p), offset in offsets.items()])

    def ends(self, topic: str, partition: int) -> tuple[int, int]:
        """Return the first and the next offset of a partition.

        Raises: Unavailable.
        """
        try:
            low, high = self.consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=TIMEOUT)
        except KafkaException as error:
            raise Unavailable(f"no Kafka broker answers at {self.bootstrap}: {_reason(error)}") from error
        return low, high

    def rewound(
        self, partitions: Sequence[Partition], records: int
    ) -> tuple[dict[Partition, int], dict[Partition, int]]:
        """Return where to begin so that up to `records` already committed ones come again, and where the new ones begin.

        A stage with finite memory rebuilds it so after a restart. Raises: Unavailable.
        """
        try:
            committed = self.consumer.committed([TopicPartition(*part) for part in partitions], timeout=TIMEOUT)
        except KafkaException as error:
            raise Unavailable(f"no Kafka broker answers at {self.bootstrap}: {_reason(error)}") from error
        begin, new_from = {}, {}
        for part in committed:
            low, _ = self.ends(part.topic, part.partition)
            new_from[part.topic, part.partition] = new = max(part.offset, low)
            begin[part.topic, part.partition] = max(low, new - records)
        return begin, new_from

    def positions(self) -> dict[tuple[str, int], int]:
        """Return the next offset to be read of every assigned partition that was read from."""
        assigned = self.consumer.position(self.consumer.assignment())
        return {(part.topic, part.partition): part.offset for part in assigned if part.offset >= 0}

    def lag(self) -> int:
        """Return how many records the assigned partitions hold beyond this reader, as last heard from the broker."""
        behind = 0
        for part in self.consumer.position(self.consumer.assignment()):
            _, high = self.consumer.get_watermark_offsets(part, cached=True)
            if high >= 0 and part.offset >= 0:
                behind += max(0, high - part.offset)
        return behind

    def poll(self, timeout: float, limit: int = BATCH) -> list[Message]:
        """Return the messages that came within `timeout` seconds, without the broker's error notices.

        Raises: Unavailable on an error that retrying inside the client does not mend.
        """
        messages = self.consumer.consume(limit, timeout)
        good = []
        for message in messages:
            error = message.error()
            if error is None:
                good.append(message)
            elif error.fatal():
                raise Unavailable(f"Kafka consumer failed: {error.str()}")
            elif error.code() not in (KafkaError._PARTITION_EOF, KafkaError._ALL_BROKERS_DOWN):
                log.warning("kafka notice", extra={"reason": error.str()})
        return good

    def close(self) -> None:
        """Leave the group."""
        self.consumer.close()


class Writer:
    """Produces records, idempotently, or transactionally when it has a `transactional_id`."""

    def __init__(self, kafka: Kafka, transactional_id: str | None = None, **options: Any) -> None:
        config = connection(kafka) | {
            "enable.idempotence": True,
            "compression.type": "lz4",
            "linger.ms": 5,
            "queue.buffering.max.messages": 200_000,
        }
        if transactional_id:
            config |= {"transactional.id": transactional_id, "transaction.timeout.ms": 60_000}
        config |= {name.replace("_", "."): value for name, value in options.items()}
        self.producer = Producer(config)
        self.failed: list[str] = []
        self.bootstrap = kafka.bootstrap
        if transactional_id:
            self._guard(lambda: self.producer.init_transactions(TIMEOUT))

    def send(
        self,
        topic: Topic,
        key: str,
        value: bytes,
        headers: Sequence[tuple[str, bytes]] | None = None,
        partition: int | None = None,
        on_delivery: Callable[[KafkaError | None, Message], None] | None = None,
    ) -> None:
        """Queue one record.

        Raises: Unavailable when the local queue is full because the broker does not take records.
        """
        extra: dict[str, Any] = {} if partition is None else {"partition": partition}
        try:
            self.producer.produce(
                topic.name,
                key=key.encode(),
                value=value,
                headers=list(headers) if headers else None,
                on_delivery=on_delivery or self._note_failure,
                **extra,
            )
        except BufferError as error:
            raise Unavailable(f"the broker at {self.bootstrap} takes no records; the queue is full") from error
        except KafkaException as error:
            raise Unavailable(f"Kafka refused a record: {_reason(error)}") from error

    def poll(self, timeout: float = 0) -> None:
        """Serve delivery reports."""
        self.producer.poll(timeout)

    def check(self) -> None:
        """Raise Unavailable when a record sent earlier was refused or not acknowledged in time."""
        if self.failed:
            failed, self.failed = self.failed, []
            raise Unavailable(f"{len(failed)} records were not acknowledged by {self.bootstrap}: {failed[0]}")

    def flush(self, timeout: float = TIMEOUT) -> None:
        """Wait until every queued record is acknowledged.

        Raises: Unavailable when some were not in time.
        """
        left = self.producer.flush(timeout)
        self.check()
        if left:
            raise Unavailable(f"{left} records were not acknowledged by {self.bootstrap} within {timeout:g} s")

    def begin(self) -> None:
        """Begin a transaction."""
        self._guard(self.producer.begin_transaction)

    def commit(self, reader: Reader, offsets: Mapping[tuple[str, int], int]) -> None:
        """Commit the transaction together with the consumed `offsets` (next to read).

        Raises: Unavailable; the caller drops its state and starts over from the committed one.
        """
        parts = [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]

        def act() -> None:
            if parts:
                metadata = reader.consumer.consumer_group_metadata()
                self.producer.send_offsets_to_transaction(parts, metadata, COMMIT_TIMEOUT)
            self.producer.commit_transaction(COMMIT_TIMEOUT)

        self._guard(act)

    def abort(self) -> None:
        """Abort the transaction."""
        self._guard(lambda: self.producer.abort_transaction(TIMEOUT))

    def _note_failure(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self.failed.append(error.str())

    def _guard(self, act: Callable[[], Any]) -> None:
        try:
            act()
        except KafkaException as error:
            raise Unavailable(f"Kafka transaction failed at {self.bootstrap}: {_reason(error)}") from error


def record(message: Message) -> Record:
    """Return a message as a value."""
    return Record(
        topic=message.topic(),
        partition=message.partition(),
        offset=message.offset(),
        key=(message.key() or b"").decode(errors="replace"),
        value=message.value() or b"",
        headers=header_texts(message),
        timestamp_ms=message.timestamp()[1],
    )


def header_texts(message: Message) -> dict[str, str]:
    """Return a message's headers as text."""
    return {name: (value or b"").decode(errors="replace") for name, value in message.headers() or ()}


def group_lag(kafka: Kafka, group: str, topic: Topic, timeout: float = TIMEOUT) -> int:
    """Return how many records of a topic a group has not yet committed.

    Raises: Unavailable.
    """
    reader = Reader(kafka, group)
    try:
        parts = [TopicPartition(topic.name, partition) for partition in range(topic.partitions)]
        behind = 0
        for part in reader.consumer.committed(parts, timeout=timeout):
            low, high = reader.ends(part.topic, part.partition)
            behind += high - (part.offset if part.offset >= 0 else low)
    except KafkaException as error:
        raise Unavailable(f"no Kafka broker answers at {kafka.bootstrap}: {_reason(error)}") from error
    else:
        return behind
    finally:
        reader.close()


def _reason(error: KafkaException) -> str:
    first = error.args[0]
    return first.str() if isinstance(first, KafkaError) else str(error)


__all__ = [
    "BATCH",
    "OFFSET_BEGINNING",
    "OFFSET_END",
    "Message",
    "Reader",
    "Record",
    "Writer",
    "connection",
    "ensure_topics",
    "group_lag",
    "header_texts",
    "partition_counts",
    "record",
]
