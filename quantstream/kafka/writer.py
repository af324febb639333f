"""Producers, idempotent or transactional."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from quantstream.core.errors import Fenced, Unavailable
from quantstream.kafka.connection import TIMEOUT, connection, reason
from quantstream.kafka.names import broker_name
from quantstream.kafka.reader import Reader
from quantstream.messages.topics import Topic
from quantstream.settings import Kafka

MOVED = (KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID, KafkaError.REBALANCE_IN_PROGRESS)
ANY_PARTITION = -1  # as the key says
COMMIT_TIMEOUT = 10.0  # seconds for each of the two steps of a commit: together within the watchdog's patience
RESUME_TIMEOUT = 4.0  # seconds more for a step that a process slept through; with both, still within it


class Writer:
    """Produces records, idempotently, or transactionally when it has a `transactional_id`."""

    def __init__(self, kafka: Kafka, transactional_id: str | None = None, **options: Any) -> None:
        config = connection(kafka) | {
            "enable.idempotence": True,
            "compression.type": "lz4",
            "delivery.report.only.error": True,
            "linger.ms": 5,
            "queue.buffering.max.messages": 200_000,
            "error_cb": self._note_loss,
        }
        if transactional_id:
            config |= {"transactional.id": broker_name(kafka, transactional_id), "transaction.timeout.ms": 60_000}
        config |= {name.replace("_", "."): value for name, value in options.items()}
        self.failed: list[str] = []
        self.is_lost = False
        self.producer = Producer(config)
        self._produce, self._failure = self.producer.produce, self._note_failure
        self.kafka, self.bootstrap, self._prefix = kafka, kafka.bootstrap, kafka.topic_prefix
        if transactional_id:
            self._guard(lambda: self.producer.init_transactions(TIMEOUT))

    def send(
        self,
        topic: Topic,
        key: str,
        value: bytes,
        headers: Sequence[tuple[str, bytes]] | None = None,
        partition: int = ANY_PARTITION,
    ) -> None:
        """Queue one record.

        Raises: Unavailable when the local queue is full because the broker does not take records.
        """
        try:  # by place: names double what the call costs
            if headers:
                self._produce(self._prefix + topic.name, value, key, partition, self._failure, headers=list(headers))
            else:
                self._produce(self._prefix + topic.name, value, key, partition, self._failure)
        except BufferError as error:
            raise Unavailable(f"the broker at {self.bootstrap} takes no records; the queue is full") from error
        except KafkaException as error:
            raise Unavailable(f"Kafka refused a record: {reason(error)}") from error

    @property
    def queued(self) -> int:
        """How many records wait for the broker's acknowledgement."""
        return len(self.producer)

    def poll(self, timeout: float = 0) -> None:
        """Serve delivery reports.

        Raises: Unavailable when nothing can be written any more.
        """
        self._serve(lambda: self.producer.poll(timeout))

    def check(self) -> None:
        """Raise Unavailable when a record sent earlier was refused or not acknowledged in time."""
        if self.failed:
            failed, self.failed = self.failed, []
            raise Unavailable(f"{len(failed)} records were not acknowledged by {self.bootstrap}: {failed[0]}")

    def flush(self, timeout: float = TIMEOUT) -> None:
        """Wait until every queued record is acknowledged.

        Raises: Unavailable when some were not in time.
        """
        left = self._serve(lambda: self.producer.flush(timeout))
        self.check()
        if left:
            raise Unavailable(f"{left} records were not acknowledged by {self.bootstrap} within {timeout:g} s")

    def drop(self) -> None:
        """Take back what is queued: the caller sends it again another time, and this writer must not do so later as well.

        What is on its way to the broker may have reached it.
        """
        self.producer.purge(in_queue=True, in_flight=False)
        self.producer.poll(0)
        self.failed.clear()

    def begin(self) -> None:
        """Begin a transaction.

        Raises: Unavailable, also when the broker was away since the last one: librdkafka (seen with 2.16) then never comes
        back from committing offsets, so only a new producer can go on.
        """
        self.producer.poll(0)
        if self.is_lost:
            raise Unavailable(f"the broker at {self.bootstrap} was away; starting over from what is committed")
        self._guard(self.producer.begin_transaction)

    def release(self, reader: Reader, topic: Topic) -> None:
        """Free the offsets of the reader's group that a predecessor left pending, by aborting an empty transaction.

        A broker killed at the wrong moment (seen with Apache Kafka 4.4) keeps offsets of a transaction that has ended pending,
        and nobody can ever read the group's position again. The marker of this abort ends what the same transactional id left.
        It also waits until this writer's own last commit, which returns when the broker has promised it, is written into every
        partition: whoever reads them next finds all of it. Raises: Unavailable.
        """
        outsider = Consumer(
            connection(self.kafka) | {"group.id": reader.group}
        )  # a static member not yet in would be refused

        def act() -> None:
            self.producer.begin_transaction()
            nothing = [TopicPartition(broker_name(self.kafka, topic.name), 0, 0)]
            self.producer.send_offsets_to_transaction(nothing, outsider.consumer_group_metadata(), COMMIT_TIMEOUT)
            self.producer.abort_transaction(COMMIT_TIMEOUT)

        try:
            self._guard(act)
        finally:
            outsider.close()

    def commit(self, reader: Reader, offsets: Mapping[tuple[str, int], int]) -> None:
        """Commit the transaction together with the consumed `offsets` (next to read).

        Raises: Fenced when partitions moved meanwhile: `abort` and go on from what is committed; Unavailable, also when another
        process has taken over this transactional id: the caller ends, and its successor starts from what is committed.
        """
        parts = [
            TopicPartition(broker_name(self.kafka, topic), partition, at) for (topic, partition), at in offsets.items()
        ]

        def act() -> None:
            if parts:
                metadata = reader.group_metadata()
                _resumed(lambda timeout: self.producer.send_offsets_to_transaction(parts, metadata, timeout))
            _resumed(self.producer.commit_transaction)

        self._guard(act)

    def abort(self) -> None:
        """Abort the transaction: nobody ever reads what was sent in it.

        Raises: Unavailable.
        """
        self._guard(lambda: _resumed(self.producer.abort_transaction))
        self.producer.poll(0)
        self.failed.clear()  # what was still queued was taken back, on purpose

    def _note_failure(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self.failed.append(error.str())

    def _note_loss(self, error: KafkaError) -> None:
        self.is_lost = self.is_lost or error.code() == KafkaError._ALL_BROKERS_DOWN

    def _serve(self, act: Callable[[], int]) -> int:
        """Let the client call back. A fatal error, as for a login that may write nowhere, it raises amid its callbacks.

        What they then do fails with a SystemError that has the reason as its cause. Raises: Unavailable.
        """
        try:
            return act()
        except (KafkaException, SystemError) as error:
            told = error if isinstance(error, KafkaException) else error.__cause__ or error.__context__ or error
            why = reason(told) if isinstance(told, KafkaException) else str(told)
            raise Unavailable(f"nothing can be written to {self.bootstrap} any more: {why}") from error

    def _guard(self, act: Callable[[], Any]) -> None:
        try:
            act()
        except KafkaException as error:
            first = error.args[0]
            has_moved = first.code() in MOVED and first.txn_requires_abort()
            kind = Fenced if has_moved else Unavailable
            raise kind(f"Kafka transaction failed at {self.bootstrap}: {reason(error)}") from error


def _resumed(step: Callable[[float], Any]) -> None:
    """Do a step of a transaction, and take it up once more when its time ran out: perhaps the process was paused within it.

    librdkafka goes on with a step in the background and allows nothing but to ask for its end again.
    """
    try:
        step(COMMIT_TIMEOUT)
    except KafkaException as error:
        if not error.args[0].retriable():
            raise
        step(RESUME_TIMEOUT)
