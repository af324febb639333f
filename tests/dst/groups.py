"""A model of Kafka's classic groups: members, sessions, generations, static members, cooperative-sticky assignment, offsets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Protocol

from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException, TopicPartition

from tests.dst.simulation import MS, Process, Simulation

Part = tuple[str, int]
HEARTBEAT = 3_000 * MS  # librdkafka's default: how late a member hears of a rebalance at most


class Client(Protocol):
    """A consumer as its group sees it."""

    process: Process
    instance: str | None
    session: int  # µs
    topics: Sequence[str]
    owned: set[Part]

    def take_generation(self, member: str, generation: int) -> None:
        """Hear that a rebalance is complete."""

    def take_assignment(self, generation: int, parts: set[Part]) -> None:
        """Hear what is its."""

    def asked_to_join(self, group: Group, round_: int) -> None:
        """Hear of a rebalance."""

    def lost(self) -> None:
        """Hear that it is a member no more."""

    def removed(self, member: str) -> None:
        """Hear, with what it asked last, that its joining came to nothing."""

    def fenced(self, member: str) -> None:
        """Hear that another has its instance's name."""


class Member:
    """One member of a group."""

    def __init__(self, name: str, client: Client) -> None:
        self.name, self.client = name, client
        self.owned: set[Part] = set()
        self.target: set[Part] = set()


class Group:
    """One group at its coordinator."""

    def __init__(self, sim: Simulation, name: str, topics: Mapping[str, int]) -> None:
        self.sim, self.name, self.topics = sim, name, topics
        self.members: dict[str, Member] = {}
        self.static: dict[str, str] = {}
        self.generation = 0
        self.is_preparing = False
        self.joined: set[str] = set()
        self.round = self.named = 0
        self.offsets: dict[Part, int] = {}
        self.went_back: list[str] = []  # offsets that a commit moved backwards, in words
        self.pending: dict[Part, list[Any]] = {}  # transactions that have offsets of it not yet decided

    # membership

    def join(self, client: Client) -> str:
        """Take a member in and return its name; one with an instance's name takes the place of the one before."""
        self.named += 1
        member = Member(f"{client.instance or 'member'}-{self.named}", client)
        before = self.members.get(self.static.get(client.instance or "", ""))
        self.members[member.name] = member
        if client.instance:
            self.static[client.instance] = member.name
        if before is None:
            self._prepare()
            self.joined.add(member.name)
            self._complete_if_all()
            return member.name
        del self.members[before.name]
        self.joined.discard(before.name)
        if before.client is not client:
            before.client.process.aside(self._soon(), before.client.fenced, before.name)
        member.target = before.target
        if self.is_preparing:
            self.joined.add(member.name)
            self._complete_if_all()
        else:
            self._tell(member)
        return member.name

    def rejoin(self, name: str, owned: Iterable[Part], round_: int | None = None) -> None:
        """Take note that a member has joined again, with what it holds."""
        member = self.members.get(name)
        if member is None or (round_ is not None and (round_ != self.round or not self.is_preparing)):
            return
        if round_ is None and not self.is_preparing:
            self._prepare()
        member.owned = set(owned)
        self.joined.add(name)
        self._complete_if_all()

    def remove(self, name: str) -> None:
        """Let a member go: it left, or its session ended."""
        member = self.members.pop(name, None)
        if member is None:
            return
        self.sim.note(self.name, "removes", name)
        if member.client.instance and self.static.get(member.client.instance) == name:
            del self.static[member.client.instance]
        self.joined.discard(name)
        member.client.process.aside(self._soon(), member.client.removed, name)
        if not self.members:
            self.generation += 1
            self.is_preparing = False
        elif self.is_preparing:
            self._complete_if_all()
        else:
            self._prepare()

    def _prepare(self) -> None:
        if self.is_preparing:
            return
        self.is_preparing, self.joined = True, set()
        self.sim.note(self.name, "prepares", sorted(self.members))
        self.round += 1
        for member in self.members.values():
            member.client.process.aside(self._soon(), member.client.asked_to_join, self, self.round)

    def _soon(self) -> int:
        draw = self.sim.rng.random()
        return int(draw * (HEARTBEAT if draw < 0.5 else 200 * MS))

    def _complete_if_all(self) -> None:
        if not self.is_preparing or self.joined != self.members.keys() or not self.members:
            return
        self.is_preparing = False
        self.generation += 1
        self._assign()
        self.sim.note(self.name, "generation", self.generation)
        for member in self.members.values():
            self._tell(member)

    def _tell(self, member: Member) -> None:
        client, generation = member.client, self.generation
        target, answered = set(member.target), self.sim.latency()
        client.process.aside(answered, client.take_generation, member.name, generation)
        client.process.aside(answered + self.sim.latency(), client.take_assignment, generation, target)

    def _assign(self) -> None:
        """Cooperative-sticky: who holds partitions keeps them, up to a fair share; what others still hold goes to nobody yet."""
        names = sorted(self.members)
        claims: dict[Part, str] = {}
        for name in names:
            for part in sorted(self.members[name].owned):
                claims.setdefault(part, name)
        everything = [
            (t, n)
            for t in sorted({t for m in names for t in self.members[m].client.topics})
            for n in range(self.topics[t])
        ]
        share, extra = divmod(len(everything), len(names))
        kept = {name: [p for p in everything if claims.get(p) == name] for name in names}
        order = sorted(names, key=lambda name: (-len(kept[name]), name))
        quota = {name: share + (rank < extra) for rank, name in enumerate(order)}
        for name in names:
            self.members[name].target = set(kept[name][: quota[name]])
        free = [part for part in everything if part not in claims]
        for part in free:
            name = min(names, key=lambda name: (len(self.members[name].target) - quota[name], name))
            self.members[name].target.add(part)

    def described(self) -> SimpleNamespace:
        """Return members and what each was given, as an administrator is told."""
        state = ConsumerGroupState.PREPARING_REBALANCING if self.is_preparing else ConsumerGroupState.STABLE
        members = [
            SimpleNamespace(
                member_id=name,
                assignment=SimpleNamespace(topic_partitions=[TopicPartition(*part) for part in sorted(member.target)]),
            )
            for name, member in self.members.items()
        ]
        return SimpleNamespace(state=state, members=members)

    def orphans(self) -> list[Part]:
        """Return the partitions that no member was given, though there are members and no rebalance is under way."""
        if self.is_preparing or not self.members:
            return []
        topics = {topic for member in self.members.values() for topic in member.client.topics}
        given = set().union(*(member.target for member in self.members.values()))
        return [(t, n) for t in sorted(topics) for n in range(self.topics[t]) if (t, n) not in given]

    # offsets

    def check(self, member: str, instance: str | None, generation: int) -> None:
        """Raise what the coordinator answers to a transaction's offsets of one that is not, or no longer, such a member."""
        if generation < 0 and not self.members:
            return
        if generation < 0 and not member and not instance:
            return
        if instance:
            known = self.static.get(instance)
            if known is None:
                raise _moved(KafkaError.UNKNOWN_MEMBER_ID)
            if known != member:
                raise _moved(KafkaError.FENCED_INSTANCE_ID)
        elif member not in self.members:
            raise _moved(KafkaError.UNKNOWN_MEMBER_ID)
        if generation != self.generation:
            raise _moved(KafkaError.ILLEGAL_GENERATION)

    def add_pending(self, transaction: Any, offsets: Mapping[Part, int]) -> None:
        """Keep a transaction's offsets until it ends."""
        for part in offsets:
            if transaction not in self.pending.setdefault(part, []):
                self.pending[part].append(transaction)

    def end_pending(self, transaction: Any, is_committed: bool) -> None:
        """Make a transaction's offsets those of the group, or forget them."""
        for part, offset in transaction.offsets[self.name].items():
            if transaction in self.pending.get(part, ()):
                self.pending[part].remove(transaction)
                if not self.pending[part]:
                    del self.pending[part]
            if is_committed:
                if offset < self.offsets.get(part, 0):
                    self.went_back.append(f"{self.name}: {part} from {self.offsets[part]} to {offset}")
                self.offsets[part] = offset
                self.sim.note(self.name, "offset", (part, offset))


def _moved(code: int) -> KafkaException:
    return KafkaException(KafkaError(code, "the group has moved on", False, False, True))
