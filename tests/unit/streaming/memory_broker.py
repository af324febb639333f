"""A broker in memory for whole stages: logs, committed positions, and partitions that a test moves between members."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from zlib import crc32

from quantstream.core.errors import Fenced
from quantstream.kafka import ANY_PARTITION, Message, Partition, PartitionedStage
from quantstream.messages.topics import Topic


class MemoryBroker:
    """The logs of partitions and what groups have committed of them."""

    def __init__(self, partitions: int = 2) -> None:
        self.partitions = partitions
        self.logs: dict[Partition, list[Message]] = {}
        self.committed: dict[tuple[str, Partition], int] = {}

    def append(self, topic: Topic, key: str | None, value: bytes, partition: int = ANY_PARTITION) -> None:
        raw = None if key is None else key.encode()
        number = crc32(raw or b"") % self.partitions if partition == ANY_PARTITION else partition
        log = self.logs.setdefault((topic.name, number), [])
        log.append(Message(topic=topic.name, partition=number, offset=len(log), key=raw, value=value))


class MemoryReader:
    """A member of a group; partitions move at its next poll."""

    member = ""  # no broker counts it in: nobody looks for partitions that a group has given to nobody

    def __init__(self, broker: MemoryBroker, group: str = "") -> None:
        self.broker, self.group = broker, group
        self.at: dict[Partition, int] = {}
        self.todo: list[Callable[[], None]] = []

    def subscribe(self, topics: Any, assigned: Any, revoked: Any, lost: Any) -> None:
        self._assigned, self._revoked, self._lost = assigned, revoked, lost

    def assigned(self, parts: list[Partition]) -> None:
        self.at.update(self._assigned(parts))

    def revoked(self, parts: list[Partition]) -> None:
        self._revoked(parts)
        self._drop(parts)

    def lost(self, parts: list[Partition]) -> None:
        self._lost(parts)
        self._drop(parts)

    def _drop(self, parts: Iterable[Partition]) -> None:
        for part in parts:
            self.at.pop(part, None)

    def poll(self, timeout: float, limit: int = 1_000) -> list[Message]:
        while self.todo:
            self.todo.pop(0)()
        found: list[Message] = []
        for part, at in sorted(self.at.items()):
            some = self.broker.logs.get(part, [])[at : at + limit - len(found)]
            self.at[part] = at + len(some)
            found += some
        return found

    def committed(
        self, parts: Iterable[Partition], waiting: Callable[[], None] = lambda: None
    ) -> dict[Partition, int | None]:
        return {part: self.broker.committed.get((self.group, part)) for part in parts}

    def seek(self, offsets: Mapping[Partition, int]) -> bool:
        self.at.update(offsets)
        return True

    def assign(self, offsets: Mapping[Partition, int]) -> None:
        self.at = {part: max(offset, 0) for part, offset in offsets.items()}

    def positions(self) -> dict[Partition, int]:
        return dict(self.at)

    def partitions(self, topic: Topic) -> range:
        return range(self.broker.partitions)

    def ends(self, topic: str, partition: int) -> tuple[int, int]:
        return 0, len(self.broker.logs.get((topic, partition), []))

    def written_end(self, topic: str, partition: int) -> int:
        return self.ends(topic, partition)[1]

    def lag(self) -> int:
        return 0

    def close(self) -> None:
        self.at.clear()

    leave = close


class MemoryWriter:
    """A transactional producer; `fenced` makes the next commit fail as that of a member which the group has left behind."""

    is_lost = False

    def __init__(self, broker: MemoryBroker) -> None:
        self.broker = broker
        self.sent: list[tuple[Topic, str, bytes, int]] = []
        self.fenced = False

    def begin(self) -> None:
        assert not self.sent

    def send(self, topic: Topic, key: str, value: bytes, partition: int = ANY_PARTITION) -> None:
        self.sent.append((topic, key, value, partition))

    def commit(self, reader: MemoryReader, offsets: Mapping[Partition, int]) -> None:
        if self.fenced:
            self.fenced = False
            raise Fenced("the group has moved on")
        self.flush()
        self.broker.committed.update({(reader.group, part): offset for part, offset in offsets.items()})

    def flush(self) -> None:
        for topic, key, value, partition in self.sent:
            self.broker.append(topic, key, value, partition)
        self.sent.clear()

    def abort(self) -> None:
        self.sent.clear()

    def release(self, *_: object) -> None:
        """Wait for nothing."""


def hand_over(
    parts: list[Partition], old: PartitionedStage | None, new: PartitionedStage, how: str = "revoked"
) -> None:
    """Let a member give partitions up in its next poll, or lose them, and another take them in its own."""
    if old is not None:
        reader: Any = old.reader
        reader.todo.append(lambda: getattr(reader, how)(parts))
        old.turn()
    taker: Any = new.reader
    taker.todo.append(lambda: taker.assigned(parts))
    new.turn()
