"""Consumers that read in batches."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from quantstream.core.errors import Fenced, Unavailable
from quantstream.kafka.connection import TIMEOUT, Partition, connection, reason
from quantstream.kafka.names import broker_name, declared_name
from quantstream.messages.topics import Topic
from quantstream.settings import Kafka

log = logging.getLogger(__name__)
MOVING = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)  # a partition just made, or on its way
NOBODY = "-"  # in the place of a member's name, where the group has none for it any more
UNASSIGNED = (
    KafkaError._STATE,
    KafkaError._UNKNOWN_PARTITION,
)  # what seek says of a partition that was taken away meanwhile
TRANSACTION_PATIENCE = 75.0  # seconds: longer than a broker lets a transaction of ours stay open
LEAVING = 5.0  # seconds in which the group must have heard that a member leaves; else its session runs out
BATCH = 10_000  # messages a consume() may bring: one call into C for many records


class Reader:
    """Consumes topics in batches. With a `group` it shares partitions with its peers; without one it takes what it is told."""

    def __init__(self, kafka: Kafka, group: str | None = None, instance: str | None = None, **options: Any) -> None:
        """`instance` names a replica of the group for good: one that died takes its partitions back when it is started again.

        `options` are librdkafka's, dots as underscores (`auto_offset_reset="latest"`).
        """
        config = (
            connection(kafka)
            | {
                "group.id": broker_name(kafka, group or "quantstream-reader"),
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "partition.assignment.strategy": "cooperative-sticky",
                "fetch.wait.max.ms": 50,
                "heartbeat.interval.ms": 500,  # how late a member hears that partitions move, in which nobody reads them
                "session.timeout.ms": 10_000,  # a replica that died without a successor gives its partitions up after so long
                "enable.partition.eof": False,
                "queued.max.messages.kbytes": 4_096,  # read ahead: 50 ms of the fastest stage, not 64 MB
                "fetch.message.max.bytes": 262_144,  # of each partition in one answer, still packed: a batch or two
                "fetch.queue.backoff.ms": 10,  # once that is full, before looking again: a second by default, of standing idle
            }
        )
        if group and instance:
            config |= {"group.instance.id": broker_name(kafka, f"{group}-{instance}")}
        config |= {name.replace("_", "."): value for name, value in options.items()}
        self.group: str = config["group.id"]
        self.consumer = Consumer(config)
        self.kafka, self.bootstrap = kafka, kafka.bootstrap
        self._admin: AdminClient | None = None
        self._member: str | None = None  # as the group named this one when it last gave it partitions
        self._is_named = True  # else it is to be asked for, which must not be done in the client's callbacks
        self._is_closing = False

    @property
    def member(self) -> str:
        """The member id that the group gave with the last assignment; empty before the first."""
        return self._member or ""

    def subscribe(
        self,
        topics: Sequence[Topic],
        on_assign: Callable[[list[Partition]], Mapping[Partition, int] | None] | None = None,
        on_revoke: Callable[[list[Partition]], None] | None = None,
        on_lost: Callable[[list[Partition]], None] | None = None,
    ) -> None:
        """Join the group. The callbacks run inside `poll`, none while closing; `on_assign` may say at which offsets to begin.

        `on_lost`, else `on_revoke`, is told of partitions that are others' already.
        """

        def assigned(consumer: Consumer, parts: list[TopicPartition]) -> None:
            tell = on_assign if not self._is_closing else None
            offsets = tell(self._declared(parts)) if tell else None
            for part, ours in zip(parts, self._declared(parts), strict=True) if offsets else ():
                part.offset = (offsets or {}).get(ours, part.offset)
            consumer.incremental_assign(parts)
            self._is_named = False

        def unassigned(consumer: Consumer, parts: list[TopicPartition], tell: Callable[..., None] | None) -> None:
            if tell and not self._is_closing:
                tell(self._declared(parts))
            consumer.incremental_unassign(parts)

        self.consumer.subscribe(
            [broker_name(self.kafka, topic.name) for topic in topics],
            on_assign=assigned,
            on_revoke=lambda consumer, parts: unassigned(consumer, parts, on_revoke),
            on_lost=lambda consumer, parts: unassigned(consumer, parts, on_lost or on_revoke),
        )

    def assign(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Read from exact offsets (`OFFSET_BEGINNING`, `OFFSET_END` allowed) without a group."""
        self.consumer.assign([self._part(*part, offset) for part, offset in offsets.items()])

    def ends(self, topic: str, partition: int) -> tuple[int, int]:
        """Return the first and the next offset of a partition; records of a transaction that is not ended are beyond it.

        Raises: Unavailable.
        """
        give_up_at = time.monotonic() + TIMEOUT
        while True:
            try:
                low, high = self.consumer.get_watermark_offsets(self._part(topic, partition), timeout=TIMEOUT)
            except KafkaException as error:
                if error.args[0].code() not in MOVING or time.monotonic() > give_up_at:
                    raise Unavailable(f"no Kafka broker answers at {self.bootstrap}: {reason(error)}") from error
                time.sleep(0.1)
            else:
                return low, high

    def written_end(self, topic: str, partition: int) -> int:
        """Return the next offset of a partition, what belongs to a transaction that is not ended counted in.

        Raises: Unavailable.
        """
        part = self._part(topic, partition)
        self._admin = self._admin or AdminClient(connection(self.kafka))  # its answers come only while it is there
        try:
            asked = self._admin.list_offsets(
                {part: OffsetSpec.latest()}, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=TIMEOUT
            )
            return int(asked[part].result(2 * TIMEOUT).offset)
        except KafkaException as error:
            raise Unavailable(f"no Kafka broker answers at {self.bootstrap}: {reason(error)}") from error
        except TimeoutError:
            raise Unavailable(f"the broker at {self.bootstrap} does not say where {topic}-{partition} ends") from None

    def partitions(self, topic: Topic) -> range:
        """Return the numbers of a topic's partitions, as many as the broker has: a cluster may have more than we declare.

        Raises: Unavailable.
        """
        try:
            name = broker_name(self.kafka, topic.name)
            found = self.consumer.list_topics(name, timeout=TIMEOUT).topics[name].partitions
        except KafkaException as error:
            raise Unavailable(f"no Kafka broker answers at {self.bootstrap}: {reason(error)}") from error
        if not found:
            raise Unavailable(f"the topic {name} is not at {self.bootstrap} yet")
        return range(len(found))

    def committed(
        self, partitions: Sequence[Partition], waiting: Callable[[], None] = lambda: None
    ) -> dict[Partition, int | None]:
        """Return where the group stands in each partition, None where it has never committed anything.

        A predecessor that stood still within a transaction holds its offsets back until the broker ends it: that is waited for,
        and `waiting` called meanwhile. Raises: Unavailable, also when the broker cannot say it of one partition: that is not the
        same as never.
        """
        give_up_at = time.monotonic() + TRANSACTION_PATIENCE
        while True:
            waiting()
            try:
                found = self.consumer.committed([self._part(*part) for part in partitions], timeout=TIMEOUT)
            except KafkaException as error:
                failure = reason(error)
                if error.args[0].code() != KafkaError._TIMED_OUT:
                    raise Unavailable(f"no Kafka broker answers at {self.bootstrap}: {failure}") from error
            else:
                failed = [part for part in found if part.error]
                if not failed:
                    offsets = [part.offset if part.offset >= 0 else None for part in found]
                    return dict(zip(self._declared(found), offsets, strict=True))
                failure = f"{failed[0].topic}-{failed[0].partition}: {failed[0].error.str()}"
            if time.monotonic() > give_up_at:
                raise Unavailable(f"where {self.group} stands is not to be had from {self.bootstrap}: {failure}")
            time.sleep(0.1)

    def seek(self, offsets: Mapping[Partition, int]) -> bool:
        """Seek assigned partitions to exact offsets; return False when one of them is not assigned any more.

        Raises: Unavailable.
        """
        for (topic, partition), offset in offsets.items():
            try:
                self.consumer.seek(self._part(topic, partition, offset))
            except KafkaException as error:
                if error.args[0].code() in UNASSIGNED:
                    return False
                raise Unavailable(f"no Kafka broker answers at {self.bootstrap}: {reason(error)}") from error
        return True

    def group_metadata(self) -> Any:
        """Return the group metadata by which the broker knows that this member still belongs to the group.

        Raises: Fenced when it does not: after a session has ended, the client would send offsets as somebody outside the group,
        whom the broker believes. A reader that never joined is outside on purpose.
        """
        metadata = self.consumer.consumer_group_metadata()
        if self._member is not None and self.consumer.memberid() != self._member:
            raise Fenced(f"{self.group} has counted this member out")
        return metadata

    def positions(self) -> dict[tuple[str, int], int]:
        """Return the next offset to be read of every assigned partition that was read from."""
        read = [part for part in self.consumer.position(self.consumer.assignment()) if part.offset >= 0]
        return dict(zip(self._declared(read), [part.offset for part in read], strict=True))

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

        Raises: Unavailable on an error that retrying inside the client does not fix.
        """
        messages: list[Message] = self.consumer.consume(limit, timeout)
        if self.kafka.topic_prefix:
            self._rename(messages)
        if not self._is_named:
            self._member, self._is_named = self.consumer.memberid() or NOBODY, True
        if not any(map(Message.error, messages)):
            return messages
        good = []
        for message in messages:
            error = message.error()
            if error is None:
                good.append(message)
            elif error.fatal() or error.code() == KafkaError._FATAL:  # the latter does not claim to be fatal, and is
                raise Unavailable(f"Kafka consumer failed: {error.str()}")
            elif error.code() not in (KafkaError._PARTITION_EOF, KafkaError._ALL_BROKERS_DOWN):
                log.warning("kafka notice", extra={"reason": error.str()})
        return good

    def _part(self, topic: str, partition: int, offset: int = OFFSET_INVALID) -> TopicPartition:
        return TopicPartition(broker_name(self.kafka, topic), partition, offset)

    def _declared(self, parts: Sequence[TopicPartition]) -> list[Partition]:
        return [(declared_name(self.kafka, part.topic), part.partition) for part in parts]

    def _rename(self, messages: Sequence[Message]) -> None:
        """Give messages the declared names of their topics."""
        for message in messages:
            message.set_topic(declared_name(self.kafka, message.topic() or ""))

    def leave(self) -> None:
        """Leave the group and close: others take its partitions over at once, not only when its session has run out.

        Whoever has something to commit does so before.
        """
        self._is_closing = True
        self.consumer.unsubscribe()  # closing alone says nothing to the group when the member is a named one
        give_up_at = time.monotonic() + LEAVING
        while self.consumer.memberid() and time.monotonic() < give_up_at:
            self.consumer.consume(1, 0.05)
        self.consumer.close()

    def close(self) -> None:
        """Close without leaving the group: a successor of the same name takes its partitions back at once."""
        self._is_closing = True
        self.consumer.close()
