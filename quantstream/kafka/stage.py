"""The one consuming stage: partitions are assigned, revoked or lost, and commits fenced, once for all that read a group's topics.

A process may be paused, doubled or fenced at any instant. What it read before its partitions moved is neither written nor
committed afterwards: partitions that are revoked are committed while they are still held; work on those that are lost, or whose
commit is fenced, is dropped; and partitions still held go on from what is committed, without a restart. A subclass says only what
it does with a batch, what its state is and how it commits.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence

from confluent_kafka import Message

from quantstream.core.accounts import Account
from quantstream.core.errors import Fenced
from quantstream.kafka.connection import Partition
from quantstream.kafka.orphans import OrphanWatch
from quantstream.kafka.reader import BATCH, Reader
from quantstream.messages.topics import Topic
from quantstream.observability.balance import BalanceSheet
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics

log = logging.getLogger(__name__)


class PartitionedStage(ABC):
    """A member of a group that holds some partitions and their state."""

    first_limit = 1  # messages that the first reading of a turn waits for
    limit = BATCH  # messages of each further reading

    def __init__(
        self, reader: Reader, topics: Sequence[Topic], wait_s: float, metrics: Metrics, health: Health
    ) -> None:
        """`wait_s` is how long a turn waits for its first message, seconds."""
        self.reader, self.read_topics, self.wait_s = reader, list(topics), wait_s
        self.metrics, self.health = metrics, health
        self.rebalances = metrics.counter(
            "rebalances_total", "partitions that moved, and commits that were fenced", "outcome"
        )
        self.gone = metrics.counter(
            "gone_records_total", "records deleted unread, or read and no longer in their topic"
        )
        self.balance = BalanceSheet(metrics)
        self.orphans = OrphanWatch(reader, self.read_topics)
        self.held: set[Partition] = set()
        self.is_behind = False  # what was taken since the last commit does not count: go back to it
        self._unassigned: set[Partition] = set()  # partitions revoked or lost in this turn
        self._has_moved = False  # partitions came or went during the reading in hand
        self._has_failed = False  # the process ends: nothing that was taken half is committed on the way out

    @abstractmethod
    def restore(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Replace the state of some partitions by the committed one; return the offsets at which reading goes on.

        Raises: Unavailable.
        """

    @abstractmethod
    def forget(self, partitions: Sequence[Partition]) -> None:
        """Drop the state of partitions that are assigned to others now."""

    @abstractmethod
    def take(self, messages: list[Message]) -> None:
        """Process messages of held partitions; others see nothing of it before the commit."""

    @abstractmethod
    def flush(self) -> None:
        """Commit the results and offsets of all messages taken, in one transaction.

        Raises: Fenced when the group or the table has moved on; Unavailable, which ends the process.
        """

    @abstractmethod
    def discard(self) -> None:
        """Drop what was taken since the last commit; the state of held partitions is restored afterwards."""

    @abstractmethod
    def accounts(self) -> Iterable[tuple[str, Account]]:
        """Return the account of each symbol held, as it stands now between two batches."""

    def linger(self, count: int, elapsed: float) -> float:
        """Return how many seconds to wait for more; 0 ends the turn's reading. The last reading brought `count` messages."""
        return 0.0

    def is_due(self) -> bool:
        """Tell whether this turn ends with a commit."""
        return True

    def idle(self) -> None:  # noqa: B027  (most have nothing to do then)
        """Do work that can wait for an idle turn."""

    def revoked(self, partitions: Sequence[Partition]) -> None:  # noqa: B027
        """Prepare for the next owner of partitions, after the last commit of them."""

    def resume(self, reached: Mapping[Partition, int | None]) -> dict[Partition, int]:
        """Return where reading goes on from what was `reached` (None: nothing yet), and tell of records that are gone.

        Raises: Unavailable.
        """
        begin = {}
        for part, offset in reached.items():
            low, high = self.reader.ends(*part)
            begin[part] = low if offset is None else min(max(offset, low), high)
            if offset is not None and begin[part] != offset:
                self.gone.inc(abs(begin[part] - offset))
                why = (
                    "were deleted before they were read"
                    if offset < low
                    else "were read and are not in the topic any more"
                )
                log.error(
                    "records are gone",
                    extra={"partition": _names([part]), "count": abs(begin[part] - offset), "reason": why},
                )
        return begin

    def rewound(
        self, partitions: Sequence[Partition], records: int
    ) -> tuple[dict[Partition, int], dict[Partition, int]]:
        """Return where to begin so that up to `records` already committed ones come again, and where the new ones begin.

        A stage with finite memory rebuilds it so. Raises: Unavailable.
        """
        new_from = self.resume(self.reader.committed(partitions, self.health.beat))
        begin = {part: max(self.reader.ends(*part)[0], new - records) for part, new in new_from.items()}
        return begin, new_from

    def start(self) -> None:
        """Join the group."""
        self.reader.subscribe(self.read_topics, self._assigned, self._revoked, self._lost)

    def turn(self) -> None:
        """Read what is waiting, work on it and commit it when it is due.

        Raises: Unavailable; the process then ends and its successor restores the committed state.
        """
        try:
            self._turn()
        except BaseException:
            self._has_failed = True
            raise

    def _turn(self) -> None:
        self._unassigned.clear()
        count = 0
        for messages in self._readings():
            count += len(messages)
            self.take(messages)
            messages.clear()  # they hold the client's buffers
        if not count:
            self.idle()
        if self.is_due():
            self.commit()
        if self.is_behind:
            self._go_back()
        elif self.balance.is_due():
            self.balance.show(self.accounts())
        self.health.beat()
        self.metrics.lag.set(self.reader.lag())
        if orphans := self.orphans.look():
            self.rebalances.labels("orphaned").inc(len(orphans))
            log.warning("nobody reads partitions; they are shared out again", extra={"partitions": _names(orphans)})

    def stop(self) -> None:
        """Commit what was taken and leave the group.

        Raises: Unavailable.
        """
        try:
            self._revoked(sorted(self.held))
        except BaseException:
            self.orphans.close()
            self.reader.close()
            raise
        self.orphans.close()
        self.reader.leave()

    def commit(self) -> None:
        """Commit what was taken, unless it does not count any more.

        Raises: Unavailable.
        """
        if self.is_behind or self._has_failed:
            return
        try:
            self.flush()
        except Fenced as error:
            log.warning("partitions moved before a commit", extra={"reason": str(error)})
            self.rebalances.labels("fenced").inc()
            self._abort()

    def _readings(self) -> Iterator[list[Message]]:
        messages = self._read(self.wait_s, self.first_limit)
        begun = time.monotonic()
        while messages:
            count = len(messages)
            yield messages
            left = self.linger(count, time.monotonic() - begun)
            messages = self._read(left, self.limit) if left > 0 else []

    def _read(self, timeout: float, limit: int) -> list[Message]:
        """Return what came of held partitions, nothing once that does not count; partitions move in here."""
        self._has_moved = False
        messages = self.reader.poll(timeout, limit)
        if self.is_behind:
            return []
        if self._has_moved:  # some may be of partitions that were revoked while these were collected
            return [message for message in messages if (message.topic(), message.partition()) in self.held]
        return messages

    def _assigned(self, partitions: list[Partition]) -> Mapping[Partition, int]:
        self._has_moved = True
        is_repeated = bool((self._unassigned | self.held).intersection(partitions))
        offsets = self._restored(partitions)
        self.held |= set(partitions)
        self.rebalances.labels("assigned").inc(len(partitions))
        log.info("partitions assigned", extra={"partitions": _names(partitions)})
        if is_repeated:  # records of them from before may still be handed over, or wait for the commit
            self._abort()
        self.health.ready()
        return offsets

    def _revoked(self, partitions: list[Partition]) -> None:
        self._has_moved = True
        self.commit()
        self.rebalances.labels("revoked").inc(len(partitions))
        log.info("partitions revoked", extra={"partitions": _names(partitions)})
        self._unassign(partitions)
        if not self._has_failed:  # a broker that is away would hang it until the watchdog's patience is over
            self.revoked(partitions)

    def _lost(self, partitions: list[Partition]) -> None:
        self._has_moved = True
        self.rebalances.labels("lost").inc(len(partitions))
        log.warning("partitions lost", extra={"partitions": _names(partitions)})
        if not self._has_failed:  # else an abort would hide why
            self._abort()
        self._unassign(partitions)

    def _unassign(self, partitions: list[Partition]) -> None:
        self.held -= set(partitions)
        self._unassigned |= set(partitions)
        self.forget(partitions)

    def _abort(self) -> None:
        """Undo what was taken since the last commit."""
        self.discard()
        self.is_behind = True

    def _go_back(self) -> None:
        """Restore what is held from what is committed, and read on from there."""
        held = sorted(self.held)
        if held and not self.reader.seek(self._restored(held)):
            return  # the client is about to tell that these are lost: once more after the next reading
        self.is_behind = False

    def _restored(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        self.health.beat()
        self.forget(partitions)
        return self.restore(partitions) if partitions else {}


def _names(partitions: Iterable[Partition]) -> str:
    return " ".join(f"{topic}-{number}" for topic, number in sorted(partitions))
