"""A client that does as it is told, one call at a time: the same code over the real client library and over the model.

`python -m tests.dst.actor` is one over the real library, commands and answers a JSON line each, so that a test can stop it with
SIGSTOP; in the model it is a process of the world.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

READ = {
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "isolation.level": "read_committed",
    "partition.assignment.strategy": "cooperative-sticky",
    "session.timeout.ms": 6_000,
    "heartbeat.interval.ms": 300,
}
NAMES = {getattr(KafkaError, name): name for name in dir(KafkaError) if isinstance(getattr(KafkaError, name), int)}


class Actor:
    """One consumer and one producer of a process."""

    def __init__(self, bootstrap: str, consumer: Callable[..., Any], producer: Callable[..., Any]) -> None:
        self.common = {"bootstrap.servers": bootstrap}
        self.make_consumer, self.make_producer = consumer, producer
        self.told: list[list[Any]] = []
        self.kept: Any = None

    def do(self, what: str, *arguments: Any) -> Any:
        """Do one thing and return what came of it; an error is its name and what it asks for."""
        try:
            return getattr(self, what)(*arguments)
        except KafkaException as error:
            first = error.args[0]
            return [NAMES.get(first.code(), first.code()), first.fatal(), first.txn_requires_abort()]

    def join(self, group: str, instance: str, topic: str) -> None:
        """Join a group as a static member."""
        config = READ | self.common | {"group.id": group, "group.instance.id": instance}
        self.consumer = self.make_consumer(config)

        def assigned(consumer: Any, parts: Any) -> None:
            self.told.append(["assign", sorted(part.partition for part in parts)])
            consumer.incremental_assign(parts)

        def gone(what: str) -> Callable[[Any, Any], None]:
            def act(consumer: Any, parts: Any) -> None:
                self.told.append([what, sorted(part.partition for part in parts)])
                consumer.incremental_unassign(parts)

            return act

        self.consumer.subscribe([topic], on_assign=assigned, on_revoke=gone("revoke"), on_lost=gone("lost"))

    def leave(self) -> None:
        """Leave the group for good, as a named member."""
        self.consumer.unsubscribe()
        while self.consumer.memberid():
            self.consumer.consume(1, 0.05)
        self.consumer.close()

    def read(self, topic: str, partitions: int, group: str = "alone") -> None:
        """Read a topic from its beginning without a group."""
        self.consumer = self.make_consumer(READ | self.common | {"group.id": group})
        self.consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])

    def poll(self, count: int, seconds: float) -> list[Any]:
        """Return partition, offset and value of what comes, or the error's name."""
        found: list[Any] = []
        for message in self.consumer.consume(count, seconds):
            if message.error():
                found.append([NAMES.get(message.error().code()), message.error().fatal()])
            else:
                found.append([message.partition(), message.offset(), (message.value() or b"").decode()])
        return sorted(found)

    def holds(self) -> list[int]:
        """Return the partitions that are assigned."""
        return sorted(part.partition for part in self.consumer.assignment())

    def callbacks(self) -> list[list[Any]]:
        """Return what callbacks came since last asked."""
        told, self.told = self.told, []
        return told

    def position(self, topic: str, partition: int) -> int:
        """Return the next offset to come."""
        found: int = self.consumer.position([TopicPartition(topic, partition)])[0].offset
        return found

    def ends(self, topic: str, partition: int) -> list[int]:
        """Return the ends of a partition as this consumer sees them."""
        return list(self.consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10))

    def committed(self, topic: str, partition: int, seconds: float) -> Any:
        """Return the group's offset."""
        one = self.consumer.committed([TopicPartition(topic, partition)], timeout=seconds)[0]
        return one.offset if one.error is None else NAMES.get(one.error.code())

    def start(self, name: str) -> str:
        """Make a transactional producer."""
        config = {"transactional.id": name, "enable.idempotence": True, "transaction.timeout.ms": 60_000}
        self.producer = self.make_producer(self.common | config)
        self.producer.init_transactions(15)
        return "ok"

    def begin(self) -> str:
        """Begin a transaction."""
        self.producer.begin_transaction()
        return "ok"

    def send(self, topic: str, partition: int, *values: str) -> str:
        """Send values and wait until they are there."""
        for value in values:
            self.producer.produce(topic, value.encode(), "key", partition)
        self.producer.flush(10)
        return "ok"

    def remember(self) -> None:
        """Keep who it is to its group now."""
        self.kept = self.consumer.consumer_group_metadata()

    def offsets(self, topic: str, partition: int, offset: int, who: str = "now") -> str:
        """Add the group's offset to the transaction: as who it is `now`, was when `kept`, or as an `outsider`."""
        if who == "outsider":
            metadata = self.make_consumer(self.common | {"group.id": topic + "-group"}).consumer_group_metadata()
        else:
            metadata = self.kept if who == "kept" else self.consumer.consumer_group_metadata()
        self.producer.send_offsets_to_transaction([TopicPartition(topic, partition, offset)], metadata, 10)
        return "ok"

    def commit(self) -> str:
        """Commit."""
        self.producer.commit_transaction(10)
        return "ok"

    def abort(self) -> str:
        """Abort."""
        self.producer.abort_transaction(10)
        return "ok"


def main() -> None:
    """Serve commands from stdin."""
    from confluent_kafka import Consumer, Producer

    actor = Actor(sys.argv[1], Consumer, Producer)
    for line in sys.stdin:
        print(json.dumps(actor.do(*json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
