"""Models of `confluent_kafka.Producer` and `AdminClient` over the model broker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any
from zlib import crc32

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, Message

from tests.dst.broker import ABORTED, COMMITTED, Broker, Entry, Identity, refusal
from tests.dst.consumer import ClusterMetadata, GroupMetadata, topic_listing
from tests.dst.simulation import MS, SECOND, me

Report = Callable[[KafkaError | None, Message], None]


class Producer:
    """One producer of the process that makes it; what is queued goes out behind its back, and dies with it."""

    def __init__(self, broker: Broker, config: dict[str, Any]) -> None:
        self.broker, self.sim, self.process = broker, broker.sim, me()
        name = config.get("transactional.id")
        self.identity: Identity | None = broker.identity(name) if name else None
        self.epoch = -1
        self.patience = int(config.get("message.timeout.ms", 300_000)) * MS
        self.on_error: Callable[[KafkaError], None] = config.get("error_cb", lambda error: None)
        self.queue: list[tuple[str, int, Entry, Report | None]] = []
        self.notices: list[KafkaError] = []
        self.failed: list[tuple[Report, KafkaError]] = []
        self.is_in_transaction = self.is_on_its_way = False
        self.broken: KafkaError | None = None
        broker.clients.append(self._broker_away)

    def _broker_away(self, duration: int) -> None:
        if not self.process.is_dead:
            self.notices.append(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))

    def produce(
        self,
        topic: str,
        value: bytes | None = None,
        key: str | bytes | None = None,
        partition: int = -1,
        on_delivery: Report | None = None,
        headers: Sequence[tuple[str, bytes]] | None = None,
    ) -> None:
        """Queue one record."""
        raw = key.encode() if isinstance(key, str) else key
        if partition < 0:
            partition = crc32(raw or b"") % self.broker.topics[topic]
        if partition >= self.broker.topics[topic]:
            raise refusal(KafkaError._UNKNOWN_PARTITION, f"{topic} has no partition {partition}")
        if self.identity is not None and not self.is_in_transaction:
            raise refusal(KafkaError._STATE, "no transaction has begun")
        entry = Entry(raw, value, list(headers) if headers else None, self.broker.wall_ms())
        self.queue.append((topic, partition, entry, on_delivery))
        if not self.is_on_its_way:
            self.is_on_its_way = True
            self.process.aside(5 * MS + self.sim.latency(), self._send)

    def _send(self) -> None:
        self.is_on_its_way = False
        if not self.queue:
            return
        if self.broker.is_down or self._must_wait:
            self.is_on_its_way = True
            self.process.aside(max(self.broker.down_until - self.sim.now, 20 * MS), self._send)
            return
        self._append_all()

    @property
    def _must_wait(self) -> bool:
        """Whether the transaction before this one is not written everywhere yet."""
        before = self.identity.current if self.identity else None
        return before is not None and before.epoch == self.epoch and before.unwritten > 0

    def _append_all(self) -> None:
        queue, self.queue = self.queue, []
        transaction = None
        if self.identity is not None:
            if self.epoch != self.identity.epoch:
                self.broken = KafkaError(KafkaError._FENCED, "a newer producer has this transactional id", True)
                self.failed += [(report, self.broken) for *_, report in queue if report]
                return
            transaction = self.broker.transaction(self.identity, self.epoch)
        logs = {}
        for topic, partition, entry, _ in queue:
            entry.transaction = transaction
            log = logs[topic, partition] = self.broker.logs[topic, partition]
            log.append(entry)
        for part in logs:
            self.sim.note(self.process.name, "sent", (part, len(logs[part].entries)))
        if transaction is None:
            for log in logs.values():
                log.told()

    def poll(self, timeout: float = 0) -> int:
        """Serve reports and notices."""
        notices, self.notices = self.notices, []
        for notice in notices:
            self.on_error(notice)
        failed, self.failed = self.failed, []
        for report, error in failed:
            report(error, Message())
        if timeout:
            self.process.wait(int(timeout * SECOND))
        return len(failed)

    def flush(self, timeout: float = -1) -> int:
        """Wait until all is at the broker; return how many records are not."""
        self._flush(timeout)
        self.poll(0)
        return len(self.queue)

    def _flush(self, timeout: float) -> None:
        give_up_at = self.sim.now + int(timeout * SECOND)
        if self.queue:
            self.process.call("flush", len(self.queue))
        while self.queue and self.sim.now < give_up_at:
            if not self.broker.is_down and not self._must_wait:
                self._append_all()
            else:
                self.process.wait(20 * MS)

    def __len__(self) -> int:
        return len(self.queue)

    # transactions

    def init_transactions(self, timeout: float) -> None:
        """Take the transactional id over: what its last producer left open is aborted, and that one fenced."""
        identity = self._own()
        self.broker.ask("init transactions", identity.name, timeout)
        identity.epoch += 1
        if identity.current is not None and identity.current.state == "open":
            self.broker.finish(identity.current, ABORTED)
        self.broker.wait_for(lambda: identity.current is None, "init transactions", timeout)
        identity.epoch += 1
        self.epoch = identity.epoch

    def begin_transaction(self) -> None:
        """Begin; the broker hears of it with the first record."""
        self._raise_if_broken()
        if self.is_in_transaction:
            raise refusal(KafkaError._STATE, "a transaction is under way")
        self.is_in_transaction = True

    def send_offsets_to_transaction(self, parts: Sequence[Any], metadata: GroupMetadata, timeout: float) -> None:
        """Make offsets of a group a part of the transaction."""
        self._raise_if_broken()
        identity = self._own()
        self.broker.ask("send offsets", [(p.topic, p.partition, p.offset) for p in parts], timeout)
        self._flush(timeout)
        self.broker.wait_for(lambda: not self._must_wait, "send offsets", timeout)
        self._check_epoch()
        group = self.broker.group(metadata.group)
        transaction = self.broker.transaction(identity, self.epoch)
        transaction.offsets.setdefault(group.name, {})
        group.check(metadata.member, metadata.instance, metadata.generation)
        offsets = {(part.topic, part.partition): part.offset for part in parts}
        transaction.offsets[group.name] |= offsets
        group.add_pending(transaction, offsets)

    def commit_transaction(self, timeout: float) -> None:
        """End the transaction: it counts once this returns; what it wrote is seen a little later."""
        self._end(COMMITTED, "commit", timeout)

    def abort_transaction(self, timeout: float) -> None:
        """End the transaction: nothing of it counts."""
        self.failed += [(report, KafkaError(KafkaError._PURGE_QUEUE)) for *_, report in self.queue if report]
        self.queue.clear()
        self._end(ABORTED, "abort", timeout)

    def _end(self, outcome: str, what: str, timeout: float) -> None:
        self._raise_if_broken()
        identity = self._own()
        if outcome == COMMITTED:
            self._flush(timeout)
            self._raise_if_broken()
        has_come = self._must_wait is False and not self.broker.is_down
        self.broker.ask(what, identity.name, timeout)
        self.broker.wait_for(lambda: not self._must_wait, what, timeout)
        self._check_epoch()
        transaction = identity.current
        if transaction is not None:
            self.broker.finish(transaction, outcome)
        self.is_in_transaction = False
        if has_come and self.broker.is_down:
            raise refusal(KafkaError._TIMED_OUT, f"{what}: the broker did not answer", retriable=True)
        self.process.call(f"{what} answered", identity.name)

    def _own(self) -> Identity:
        assert self.identity is not None, "not a transactional producer"
        return self.identity

    def _check_epoch(self) -> None:
        if self.epoch != self._own().epoch:
            self.broken = KafkaError(KafkaError._FENCED, "a newer producer has this transactional id", True)
            self._raise_if_broken()

    def _raise_if_broken(self) -> None:
        if self.broken is not None:
            raise refusal(self.broken.code(), self.broken.str(), fatal=True)


class AdminClient:
    """As much of it as stages ask."""

    def __init__(self, broker: Broker, config: dict[str, Any]) -> None:
        self.broker = broker

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> ClusterMetadata:
        """Return the topics."""
        self.broker.ask("list topics", topic or "", timeout)
        return topic_listing(self.broker)

    def list_offsets(
        self, specs: dict[Any, Any], isolation_level: Any = None, request_timeout: float = -1
    ) -> dict[Any, Future[Any]]:
        """Return where logs end, open transactions counted in: as uncommitted reading sees it."""
        assert isolation_level == IsolationLevel.READ_UNCOMMITTED
        found = {}
        for part in specs:
            self.broker.ask("written end", (part.topic, part.partition), request_timeout)
            found[part] = Future[Any]()
            found[part].set_result(SimpleNamespace(offset=len(self.broker.logs[part.topic, part.partition].entries)))
        return found

    def describe_consumer_groups(self, names: list[str]) -> dict[str, Future[Any]]:
        """Return what the coordinator knows of groups."""
        found = {}
        for name in names:
            found[name] = Future[Any]()
            try:
                self.broker.ask("describe group", name, 1)
            except KafkaException as error:
                found[name].set_exception(error)
            else:
                found[name].set_result(self.broker.group(name).described())
        return found

    def poll(self, timeout: float = 0) -> int:
        """Serve nothing."""
        return 0
