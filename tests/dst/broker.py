"""A model of a Kafka broker: logs with transactions, committed reads, a transaction coordinator; its groups are `groups.py`.

What it must have in common with Apache Kafka is held to it by `test_contract.py`, the same scenes over both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, KafkaException

from tests.dst.groups import Group
from tests.dst.simulation import EPOCH, MS, SECOND, Simulation, me

Part = tuple[str, int]  # topic and partition
OPEN, COMMITTED, ABORTED = "open", "committed", "aborted"
TRANSACTION_TIMEOUT = 60 * SECOND


@dataclass
class Entry:
    """One offset of a log: a record, or (`is_marker`) the end of a transaction."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]] | None
    at: int  # ms
    transaction: Transaction | None = None
    is_marker: bool = False


@dataclass
class Transaction:
    """What one producer does between begin and end."""

    owner: Identity
    epoch: int
    number: int
    first: dict[Part, int] = field(default_factory=dict)  # offset of its first record
    outcome: dict[Part, str] = field(default_factory=dict)  # as each log's marker says; missing: not yet
    offsets: dict[str, dict[Part, int]] = field(default_factory=dict)  # by group
    state: str = OPEN
    unwritten: int = 0  # markers that are promised and not there yet


class Identity:
    """A transactional id at the coordinator."""

    def __init__(self, name: str) -> None:
        self.name, self.epoch, self.numbers = name, -1, 0
        self.current: Transaction | None = None  # the one under way, or whose markers are not all written


class Log:
    """One partition."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.entries: list[Entry] = []
        self.open: dict[int, Transaction] = {}  # by first offset
        self.watchers: list[Callable[[], None]] = []

    @property
    def stable(self) -> int:
        """The last stable offset: where committed reading ends."""
        return min(self.open) if self.open else len(self.entries)

    def append(self, entry: Entry) -> int:
        """Add an entry and return its offset."""
        offset = len(self.entries)
        self.entries.append(entry)
        if entry.transaction is not None and not entry.is_marker and self.part not in entry.transaction.first:
            entry.transaction.first[self.part] = offset
            self.open[offset] = entry.transaction
        return offset

    def told(self) -> None:
        """Wake who waits for records."""
        for watcher in list(self.watchers):
            watcher()


def refusal(code: int, text: str, fatal: bool = False, abort: bool = False, retriable: bool = False) -> KafkaException:
    """Return the client library's exception."""
    return KafkaException(KafkaError(code, text, fatal, retriable, abort))


class Broker:
    """Topics, groups and transactions; away while `down_until` lies ahead."""

    def __init__(self, sim: Simulation, topics: dict[str, int], marker_delay: int) -> None:
        """`topics` with their numbers of partitions; `marker_delay` in µs: how late ends of transactions are written at most."""
        self.sim, self.marker_delay = sim, marker_delay
        self.topics: dict[str, int] = {}
        self.logs: dict[Part, Log] = {}
        for name, count in topics.items():
            self.add_topic(name, count)
        self.groups: dict[str, Group] = {}
        self.identities: dict[str, Identity] = {}
        self.down_until = 0
        self.clients: list[Callable[[int], None]] = []  # told how long the broker is away

    def add_topic(self, name: str, partitions: int) -> None:
        """Make a topic."""
        self.topics[name] = partitions
        self.logs |= {(name, number): Log((name, number)) for number in range(partitions)}

    def group(self, name: str) -> Group:
        """Return a group, an empty one if it was never heard of."""
        if name not in self.groups:
            self.groups[name] = Group(self.sim, name, self.topics)
        return self.groups[name]

    def go_down(self, duration: int) -> None:
        """Be away for so long (µs)."""
        self.sim.note("broker", "away", duration)
        self.down_until = self.sim.now + duration
        for tell in list(self.clients):
            tell(duration)
        self.sim.after(duration, self._back)

    def _back(self) -> None:
        if self.sim.now >= self.down_until:
            for log in self.logs.values():
                log.told()

    @property
    def is_down(self) -> bool:
        """Whether nobody answers."""
        return self.sim.now < self.down_until

    def ask(self, what: str, detail: object, timeout: float) -> None:
        """Pass a switch point to the broker and wait for it to be there.

        Raises: KafkaException when it is not within `timeout` seconds.
        """
        me().call(what, detail)
        give_up_at = self.sim.now + int(timeout * SECOND)
        while self.is_down:
            if self.sim.now >= give_up_at:
                raise refusal(KafkaError._TIMED_OUT, f"{what}: the broker does not answer", retriable=True)
            me().wait(min(self.down_until, give_up_at) - self.sim.now)

    def wait_for(self, done: Callable[[], bool], what: str, timeout: float) -> None:
        """Wait until it has come to that.

        Raises: KafkaException.
        """
        give_up_at = self.sim.now + int(timeout * SECOND)
        while not done():
            if self.sim.now >= give_up_at:
                raise refusal(KafkaError._TIMED_OUT, f"{what} took too long", retriable=True)
            me().wait(50 * MS)

    def wall_ms(self) -> int:
        """Return the broker's clock, ms."""
        return (EPOCH + self.sim.now) // 1000

    # the transaction coordinator

    def identity(self, name: str) -> Identity:
        """Return a transactional id."""
        return self.identities.setdefault(name, Identity(name))

    def transaction(self, identity: Identity, epoch: int) -> Transaction:
        """Return the transaction under way of a producer, begun if there is none.

        Raises: KafkaException when another has taken the id over.
        """
        self.check(identity, epoch)
        if identity.current is None:
            identity.numbers += 1
            identity.current = Transaction(identity, epoch, identity.numbers)
            self.sim.after(TRANSACTION_TIMEOUT, self._time_out, identity.current)
        return identity.current

    def check(self, identity: Identity, epoch: int) -> None:
        """Raise when another has taken the id over."""
        if epoch != identity.epoch:
            raise refusal(KafkaError._FENCED, f"{identity.name} is fenced: a newer producer has its id", fatal=True)

    def finish(self, transaction: Transaction, outcome: str) -> None:
        """Promise the end of a transaction; its markers follow, each log's in its own time."""
        transaction.state = outcome
        self.sim.note("broker", f"{transaction.owner.name} {outcome}", transaction.number)
        places: list[Part | str] = [*transaction.first, *transaction.offsets]
        transaction.unwritten = len(places)
        for place in places:
            delay = self.sim.rng.randrange(self.marker_delay) if self.sim.rng.random() < 0.3 else 500
            self.sim.after(delay, self._mark, transaction, place)
        if not places:
            self._complete(transaction)

    def _mark(self, transaction: Transaction, place: Part | str) -> None:
        if self.is_down:
            self.sim.after(self.down_until - self.sim.now + 1, self._mark, transaction, place)
            return
        if isinstance(place, str):
            self.group(place).end_pending(transaction, transaction.state == COMMITTED)
        else:
            log = self.logs[place]
            log.append(Entry(None, None, None, self.wall_ms(), transaction, is_marker=True))
            transaction.outcome[place] = transaction.state
            del log.open[transaction.first[place]]
            log.told()
        transaction.unwritten -= 1
        if not transaction.unwritten:
            self._complete(transaction)

    def _complete(self, transaction: Transaction) -> None:
        if transaction.owner.current is transaction:
            transaction.owner.current = None

    def _time_out(self, transaction: Transaction) -> None:
        if transaction.state == OPEN and transaction.owner.current is transaction:
            transaction.owner.epoch += 1
            self.finish(transaction, ABORTED)
