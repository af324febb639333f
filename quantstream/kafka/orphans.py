"""Partitions that a group has given to nobody, noticed and shared out again.

A static member that is started again before it had given up what it was to give up gets its old share back without a
rebalance (Kafka's classic groups; `tests/dst/scenes.py` shows it on a real broker). What it was to give up is then read by
nobody until the next rebalance, and no member's lag tells. Every member looks at the group from time to time; the first of
them lets a visitor join and leave, which is a rebalance.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from confluent_kafka import Consumer, ConsumerGroupState, KafkaException
from confluent_kafka.admin import AdminClient

from quantstream.core.errors import Unavailable
from quantstream.kafka.connection import Partition, connection
from quantstream.kafka.names import broker_name, declared_name
from quantstream.kafka.reader import Reader
from quantstream.messages.topics import Topic

log = logging.getLogger(__name__)
EVERY = 10.0  # seconds between two looks; what two of them in a row find, no rebalance under way will fix
VISIT = 20.0  # seconds in which a visitor must have joined: members hear of it with their next heartbeat


class OrphanWatch:
    """One member's check of its group, without waiting for the broker except for the list of partitions."""

    def __init__(self, reader: Reader, topics: Sequence[Topic], clock: Callable[[], float] = time.monotonic) -> None:
        self.reader, self.topics, self.clock = reader, list(topics), clock
        self.found: set[Partition] = set()  # at the last look
        self._admin: AdminClient | None = None
        self._asked: Future[Any] | None = None
        self._look_at = clock() + EVERY
        self._visitor: Consumer | None = None
        self._leave_at = 0.0

    def look(self) -> set[Partition]:
        """Continue the check that is under way; return the orphaned partitions when a rebalance was begun for them."""
        if self._visitor is not None:
            self._go_on_visiting(self._visitor)
            return set()
        if self._asked is None:
            if self.clock() >= self._look_at and self.reader.member:
                self._admin = self._admin or AdminClient(connection(self.reader.kafka))
                self._asked = self._admin.describe_consumer_groups([self.reader.group])[self.reader.group]
            return set()
        if not self._asked.done():
            return set()
        asked, self._asked, self._look_at = self._asked, None, self.clock() + EVERY
        try:
            orphans = self._orphans(asked.result())
        except (KafkaException, Unavailable) as error:  # the next look asks again; that the broker is away, others tell
            log.debug("the group cannot be looked at", extra={"reason": str(error)})
            return set()
        still, self.found = orphans & self.found, orphans
        if still:
            self._visit()
        return still

    def close(self) -> None:
        """End the check that is under way."""
        if self._visitor is not None:
            self._visitor.close()
            self._visitor = None

    def _orphans(self, group: Any) -> set[Partition]:
        """Return what no member has; nothing while a rebalance is under way, or where it is for another member to act."""
        members = sorted(member.member_id for member in group.members)
        if group.state != ConsumerGroupState.STABLE or not members or members[0] != self.reader.member:
            return set()
        given = {
            (declared_name(self.reader.kafka, p.topic), p.partition)
            for member in group.members
            for p in member.assignment.topic_partitions
        }
        every = {(topic.name, number) for topic in self.topics for number in self.reader.partitions(topic)}
        return every - given

    def _visit(self) -> None:
        config = connection(self.reader.kafka) | {
            "group.id": self.reader.group,
            "partition.assignment.strategy": "cooperative-sticky",
            "enable.auto.commit": False,
        }
        self._visitor, self._leave_at = Consumer(config), self.clock() + VISIT
        self._visitor.subscribe([broker_name(self.reader.kafka, topic.name) for topic in self.topics])

    def _go_on_visiting(self, visitor: Consumer) -> None:
        visitor.consume(1, 0.001)
        if visitor.memberid() or self.clock() >= self._leave_at:
            self.close()
