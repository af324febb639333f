"""A model of `confluent_kafka.Consumer` over the model broker, callbacks inside `consume`, heartbeats in the background."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, OFFSET_INVALID, KafkaError, Message
from confluent_kafka import TopicPartition as _TopicPartition

from tests.dst.broker import ABORTED, Broker, Log, refusal
from tests.dst.groups import Group
from tests.dst.simulation import MS, SECOND, me

Part = tuple[str, int]
Callback = Callable[[Any, list[Any]], None]
KEPT_IN_HAND = (
    0.3  # how often records collected before a revocation are handed over after it: librdkafka's barrier is late
)
SPITE = 0.8  # how often a rebalance waits for the next record to come first: the worst instant


class TopicPartition(_TopicPartition):  # type: ignore[misc]
    """One whose error can be set."""

    error: KafkaError | None = None


@dataclass(frozen=True)
class GroupMetadata:
    """What `consumer_group_metadata` knows."""

    group: str
    member: str
    generation: int
    instance: str | None


@dataclass
class PartitionMetadata:
    """A topic in `list_topics`."""

    partitions: dict[int, None]


@dataclass
class ClusterMetadata:
    """What `list_topics` returns."""

    topics: dict[str, PartitionMetadata]


def topic_listing(broker: Broker) -> ClusterMetadata:
    """Return the broker's topics."""
    return ClusterMetadata({n: PartitionMetadata(dict.fromkeys(range(c))) for n, c in broker.topics.items()})


class Consumer:
    """One consumer of the process that makes it."""

    def __init__(self, broker: Broker, config: dict[str, Any]) -> None:
        self.broker, self.sim, self.process = broker, broker.sim, me()
        self.group_name: str = config["group.id"]
        self.instance: str | None = config.get("group.instance.id")
        self.session = int(config.get("session.timeout.ms", 45_000)) * MS
        self.reset = config.get("auto.offset.reset", "latest")
        self.topics: Sequence[str] = ()
        self.owned: set[Part] = set()
        self.positions: dict[Part, int] = {}  # OFFSET_INVALID: to be asked of the group
        self.versions: dict[Part, int] = {}  # changes with each assignment and seek
        self.member, self.generation, self.least_generation = "", -1, 0
        self.joined_as = ""
        self.operations: list[tuple[str, set[Part]]] = []  # for the application to serve
        self.is_closed = self.has_left = self.is_fenced = self.has_told_fatal = False
        self.must_join = self.is_serving = self.is_lost_next = self.is_leaving = False
        self.callbacks: dict[str, Callback] = {}
        self._version = self._absence = 0
        self.asked_in = -1  # the rebalance that waits for the application's answer
        self._waits_for: str = ""

    # membership: in the background

    def subscribe(
        self,
        topics: Sequence[str],
        on_assign: Callback | None = None,
        on_revoke: Callback | None = None,
        on_lost: Callback | None = None,
    ) -> None:
        """Join the group with the next heartbeats."""
        self.process.call("subscribe", self.group_name)
        self.topics = list(topics)
        self.callbacks = {
            "assign": on_assign or Consumer.incremental_assign,
            "revoke": on_revoke or Consumer.incremental_unassign,
            "lost": on_lost or Consumer.incremental_unassign,
        }
        self.broker.clients.append(self._broker_away)
        self.process.at_death.append(self._absent)
        self.process.at_pause.append(self._absent)
        self.process.told.setdefault("at_resume", []).append(self._back)
        self.process.aside(self.sim.latency(), self._join)

    @property
    def group(self) -> Group:
        """The group at its coordinator."""
        return self.broker.group(self.group_name)

    def _join(self) -> None:
        if self.is_closed or self.is_fenced or self.is_leaving:
            return
        if self.broker.is_down:
            self.process.aside(self.broker.down_until - self.sim.now + 1, self._join)
        elif self.member and self.member not in self.group.members:
            self._heartbeat()
        elif self.member:
            self.least_generation = self.group.generation + 1
            self.group.rejoin(self.member, self.owned)
        elif self.joined_as not in self.group.members:  # else its joining is under way
            group = self.group
            is_replaced = bool(self.instance and self.instance in group.static) and not group.is_preparing
            self.least_generation = group.generation + (0 if is_replaced else 1)
            self.joined_as = group.join(self)

    def take_generation(self, member: str, generation: int) -> None:
        """Hear that a rebalance is complete."""
        if generation >= self.least_generation and not self.is_closed and member == self.joined_as:
            self.member, self.generation = member, generation
            self.process.aside(self._soon(), self._heartbeat)  # which may find that the group has gone on since
            if self.group.is_preparing:  # already the next one: a heartbeat says so
                self.process.aside(self.sim.latency(), self.asked_to_join, self.group, self.group.round)

    def take_assignment(self, generation: int, parts: set[Part]) -> None:
        """Hear what is this member's; the application serves it."""
        if generation < self.least_generation or self.is_closed or self.is_leaving or self.generation != generation:
            return
        if gone := self.owned - parts:
            self._tell_application("revoke", gone)
            self.must_join = True
        coming = set().union(*(some for what, some in self.operations if what == "assign"))
        self._tell_application("assign", parts - self.owned - coming)  # of none, too: each rebalance says so

    def asked_to_join(self, group: Group, round_: int) -> None:
        """Join again once the application has served what it was told."""
        if self.is_closed or self.is_fenced:
            return
        if self.member not in group.members:
            self._heartbeat()
            return  # if it is none yet, its first joining is still under way
        if not group.is_preparing or group.round != round_:
            return
        if self.is_rebalancing:
            self.asked_in = round_
        else:
            self.least_generation = group.generation + 1
            group.rejoin(self.member, self.owned, round_)

    def lost(self) -> None:
        """Hear that it is a member no more."""
        if self.is_closed or self.is_fenced or self.is_leaving:
            return
        self.sim.note(self.process.name, "membership lost", self.member)
        self.generation, self.member, self.joined_as = -1, "", ""
        self.least_generation = 1 << 60
        if self.is_rebalancing:
            self.is_lost_next = True
        elif self.owned:
            self._tell_application("lost", set(self.owned))
            self.must_join = True
        else:
            self._join()

    @property
    def is_rebalancing(self) -> bool:
        """Whether the application has yet to answer what it was told: nothing else happens meanwhile."""
        return self.is_serving or bool(self.operations)

    def removed(self, member: str) -> None:
        """Hear, with what it asked last, that its joining came to nothing: join again."""
        if member == self.joined_as and self.member != member:
            self._join()

    def fenced(self, member: str) -> None:
        """Hear that another has its instance's name: nothing fixes that."""
        if member != self.joined_as:
            return  # it knew already that it is that member no more
        self.is_fenced = True
        if self._waits_for:
            self.process.wake()

    def _absent(self) -> None:
        """Send no more heartbeats, for the process is paused or dead: the session runs out."""
        self._absence += 1
        left = self.session - self.sim.rng.randrange(3 * SECOND)
        self.sim.after(max(left, MS), self._session_ends, self._absence, self.member)

    def _session_ends(self, absence: int, member: str) -> None:
        if absence != self._absence or self.has_left:
            return
        if self.broker.is_down:  # it comes back with every session new
            again = self.broker.down_until - self.sim.now + self.session
            self.sim.after(again, self._session_ends, absence, member)
            return
        for name, one in list(self.group.members.items()):
            if one.client is self:
                self.group.remove(name)

    def _back(self) -> None:
        self._absence += 1
        self.process.aside(self._soon(), self._heartbeat)

    def _soon(self) -> int:
        """When a thread that woke sends its first heartbeat: at once, or after a slow answer."""
        draw = self.sim.rng.random()
        return int(10 * MS * draw) if draw < 0.5 else int(2 * SECOND * (draw - 0.5))

    def _heartbeat(self) -> None:
        if self.is_closed or self.generation < 0:
            return
        if self.member not in self.group.members:
            if self.instance and self.instance in self.group.static:
                self.fenced(self.member)
            else:
                self.lost()

    def _broker_away(self, duration: int) -> None:
        """Count a member as lost when it hears no answer for a session."""
        if duration > self.session and not self.process.is_dead:
            self.process.aside(self.session, self._unheard)

    def _unheard(self) -> None:
        if self.broker.is_down and self.generation >= 0 and not self.is_closed and not self.is_fenced:
            self.lost()

    def _tell_application(self, what: str, parts: set[Part]) -> None:
        self.operations.append((what, parts))
        if self._waits_for == "records" and self.sim.rng.random() < SPITE:
            self.process.aside(self.sim.rng.randrange(3 * SECOND), self._remind)
        else:
            self._remind()

    def _remind(self) -> None:
        if self._waits_for and self.operations:
            self.process.wake()

    # the application's side

    def _serve(self) -> None:
        what, parts = self.operations.pop(0)
        some = [self._partition(part, OFFSET_INVALID) for part in sorted(parts)]
        self.sim.note(self.process.name, what, sorted(parts))
        self.is_serving = True
        try:
            self.callbacks[what](self, some)
        finally:
            self.is_serving = False
            if what != "assign":
                self._drop(parts)
        if ambush := self.process.told.pop("ambush", None):
            self.process.armed.append((self.process.calls + ambush[0], ambush[1]))
        if self.operations or self.is_closed:
            return
        if self.is_leaving:
            self._leave()
            return
        if self.is_lost_next and self.owned:
            self._tell_application("lost", set(self.owned))
            self.must_join = True
        elif self.is_lost_next or self.must_join:
            self.must_join = False
            self.process.aside(self.sim.latency(), self._join)
        elif self.asked_in >= 0:
            self.process.aside(self.sim.latency(), self.asked_to_join, self.group, self.asked_in)
        self.is_lost_next, self.asked_in = False, -1

    @staticmethod
    def _partition(part: Part, offset: int) -> TopicPartition:
        return TopicPartition(*part, offset)

    def incremental_assign(self, parts: Sequence[Any]) -> None:
        """Hold more partitions."""
        for part in parts:
            self._hold((part.topic, part.partition), part.offset)

    def incremental_unassign(self, parts: Sequence[Any]) -> None:
        """Hold some no more."""
        self._drop({(part.topic, part.partition) for part in parts})

    def assign(self, parts: Sequence[Any]) -> None:
        """Hold these and no others, without a group."""
        self.process.call("assign", len(parts))
        self._drop(set(self.owned))
        self.incremental_assign(parts)

    def _hold(self, part: Part, offset: int) -> None:
        self._version += 1
        self.owned.add(part)
        self.versions[part] = self._version
        log = self.broker.logs[part]
        self.positions[part] = {OFFSET_BEGINNING: 0, OFFSET_END: log.stable}.get(offset, max(offset, OFFSET_INVALID))
        log.watchers.append(self._woken)

    def _drop(self, parts: set[Part]) -> None:
        for part in parts & self.owned:
            self.owned.discard(part)
            self.broker.logs[part].watchers.remove(self._woken)
            del self.positions[part], self.versions[part]

    def _woken(self) -> None:
        if self._waits_for == "records":
            self.process.wake(self.sim.latency() // 4)

    def seek(self, part: Any) -> None:
        """Read on from another offset."""
        self.process.call("seek", (part.topic, part.partition, part.offset))
        key = (part.topic, part.partition)
        if key not in self.owned:
            raise refusal(KafkaError._STATE, "a partition that is not assigned cannot be sought in")
        self._version += 1
        self.versions[key], self.positions[key] = self._version, max(part.offset, 0)

    def consume(self, num_messages: int = 1, timeout: float = -1) -> list[Message]:
        """Serve callbacks and return records: at once when it is one that is wanted, else those of `timeout` seconds."""
        self.process.call("consume", num_messages)
        give_up_at = self.sim.now + int(timeout * SECOND)
        taken: list[tuple[Part, int, Message]] = []
        while not self.is_fenced:
            if self.operations:
                if num_messages > 1 or self.sim.rng.random() < 0.7:  # what was fetched before it comes before it
                    self._collect(taken, num_messages, timeout >= 1)
                    if len(taken) >= num_messages:
                        break
                self._serve()
                if self.sim.rng.random() >= KEPT_IN_HAND:
                    taken = [item for item in taken if self.versions.get(item[0]) == item[1]]
                continue
            if num_messages == 1 or self.sim.now >= give_up_at:
                self._collect(taken, num_messages, timeout >= 1)
                if taken or self.sim.now >= give_up_at:
                    break
            self._waits_for = "records" if num_messages == 1 else "operations"
            try:
                self.process.wait(give_up_at - self.sim.now, can_be_woken=True)
            finally:
                self._waits_for = ""
        if self.is_fenced and not taken:
            return self._fatal_once(give_up_at)
        if taken:
            self.sim.note(self.process.name, "took", [f"{t[0][1]}@{t[2].offset()}" for t in (taken[0], taken[-1])])
        return [message for _, _, message in taken]

    def _fatal_once(self, give_up_at: int) -> list[Message]:
        """Say once that nothing comes any more; as librdkafka has it, the error itself does not claim to be fatal."""
        if self.has_told_fatal:
            self.process.wait(max(give_up_at - self.sim.now, 1))
            return []
        self.has_told_fatal = True
        return [Message(error=KafkaError(KafkaError._FATAL, "another has this instance's name"))]

    def _collect(self, taken: list[tuple[Part, int, Message]], most: int, waits_long: bool) -> None:
        if self.broker.is_down:
            return
        parts = sorted(self.owned)
        if len(parts) > 1:
            self.sim.rng.shuffle(parts)
        if most > 1 and not waits_long and self.sim.rng.random() < 0.2:  # not all of it was fetched yet
            most = len(taken) + self.sim.rng.randrange(1, 40)
        for part in parts:
            if len(taken) >= most:
                return
            log = self.broker.logs[part]
            if self.positions[part] == OFFSET_INVALID and not self._find_position(part):
                continue
            self._collect_from(log, part, taken, most)

    def _collect_from(self, log: Log, part: Part, taken: list[tuple[Part, int, Message]], most: int) -> None:
        place, stable, version = self.positions[part], log.stable, self.versions[part]
        while place < stable and len(taken) < most:
            entry = log.entries[place]
            if not entry.is_marker and not (entry.transaction and entry.transaction.outcome.get(part) == ABORTED):
                message = Message(part[0], part[1], place, entry.key, entry.value, entry.headers, None, (1, entry.at))
                taken.append((part, version, message))
            place += 1
        self.positions[part] = place

    def _find_position(self, part: Part) -> bool:
        if part in self.group.pending:
            return False
        offset = self.group.offsets.get(part)
        if offset is None:
            offset = 0 if self.reset == "earliest" else self.broker.logs[part].stable
        self.positions[part] = offset
        return True

    def committed(self, parts: Sequence[Any], timeout: float) -> list[Any]:
        """Return what the group has committed; what a transaction has not decided yet is waited for."""
        self.broker.ask("committed", [(part.topic, part.partition) for part in parts], timeout)
        pending = self.group.pending
        keys = [(part.topic, part.partition) for part in parts]
        give_up_at = self.sim.now + int(timeout * SECOND)
        while any(key in pending for key in keys) and self.sim.now < give_up_at:
            me().wait(100 * MS)
        if any(key in pending for key in keys) and self.sim.rng.random() < 0.5:  # it says so of the whole, or of each
            raise refusal(KafkaError._TIMED_OUT, "offsets are not decided yet", retriable=True)
        found = []
        for key in keys:
            one = self._partition(key, self.group.offsets.get(key, OFFSET_INVALID))
            if key in pending:
                one.offset, one.error = OFFSET_INVALID, KafkaError(KafkaError.UNSTABLE_OFFSET_COMMIT, "not decided yet")
            found.append(one)
        return found

    def get_watermark_offsets(self, part: Any, timeout: float = 0, cached: bool = False) -> tuple[int, int]:
        """Return the first and the next offset, as committed reading sees them."""
        if not cached:
            self.broker.ask("ends", (part.topic, part.partition), timeout)
        return 0, self.broker.logs[part.topic, part.partition].stable

    def position(self, parts: Sequence[Any]) -> list[TopicPartition]:
        """Return the next offsets to be handed over."""
        return [
            self._partition(key, self.positions.get(key, OFFSET_INVALID))
            for key in ((part.topic, part.partition) for part in parts)
        ]

    def assignment(self) -> list[TopicPartition]:
        """Return what is assigned."""
        return [self._partition(part, OFFSET_INVALID) for part in sorted(self.owned)]

    def consumer_group_metadata(self) -> GroupMetadata:
        """Return who this is to its group, as far as it has heard."""
        self.process.call("group metadata", self.generation)
        return GroupMetadata(self.group_name, self.member, self.generation, self.instance)

    def memberid(self) -> str:
        """Return its name as the group has it, as far as it has heard; empty when the group has none for it."""
        return self.member

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> ClusterMetadata:
        """Return the topics."""
        self.broker.ask("list topics", topic or "", timeout)
        return topic_listing(self.broker)

    def unsubscribe(self) -> None:
        """Leave the group once the application has given everything up."""
        self.process.call("unsubscribe", self.group_name)
        self.is_leaving = True
        what = "lost" if self.generation < 0 or self.is_fenced else "revoke"
        self.operations = [(what, set(self.owned))] if self.owned else []
        if not self.operations:
            self._leave()

    def _leave(self) -> None:
        name, self.member, self.joined_as, self.generation = self.member, "", "", -1
        if name in self.group.members and not self.broker.is_down:
            self.has_left = True
            self.group.remove(name)

    def close(self) -> None:
        """Give everything up; a static member's name stays with the group until its session ends."""
        if self.is_closed:
            return
        self.process.call("close", self.group_name)
        if self.topics and self.owned:
            what = "lost" if self.generation < 0 or self.is_fenced else "revoke"
            self.operations = [(what, set(self.owned))]
            self._serve()
        self.is_closed = True
        self._drop(set(self.owned))
        if self.topics:
            self.broker.clients.remove(self._broker_away)
            self._absent()
            if self.instance is None:
                self.has_left = True
                self.group.remove(self.member)
