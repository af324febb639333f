"""Where recorded progress went back: in the lake's commits, and in what the groups committed, one after the other as written."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from quantstream.kafka import Message
from quantstream.messages.topics import Topic
from quantstream.settings import Kafka
from tests.topics import read_topic

OFFSETS = Topic("__consumer_offsets", "source", "the broker")
OFFSET_KEYS = (0, 1)  # versions of a key that names a group's offset; others name its members


class Step(NamedTuple):
    """One commit: whose progress, and where it stood afterwards."""

    whose: str
    reached: int


def lake_steps(folder: Path) -> Iterator[Step]:
    """Yield what the commits of a Delta table recorded, oldest first."""
    for commit in sorted((folder / "_delta_log").glob("*.json")):
        for line in commit.read_text().splitlines():
            action = json.loads(line).get("txn")
            if action:
                yield Step(f"{folder.name} {action['appId']}", int(action["version"]))


def group_steps(kafka: Kafka) -> Iterator[Step]:
    """Yield what the groups committed, of each partition oldest first; nothing of it is compacted within a run."""
    for message in read_topic(kafka, OFFSETS):
        step = parse_offset(message)
        if step is not None:
            yield step


def parse_offset(message: Message) -> Step | None:
    """Return the commit in a record of the broker's own topic; None for what is something else (Kafka: OffsetCommitKey/Value)."""
    key, value = message.key() or b"", message.value() or b""
    (version,) = struct.unpack_from(">h", key)
    if version not in OFFSET_KEYS or not value:
        return None
    group, at = _text(key, 2)
    topic, at = _text(key, at)
    (partition,) = struct.unpack_from(">i", key, at)
    (reached,) = struct.unpack_from(">q", value, 2)
    return Step(f"{group} {topic}-{partition}", reached)


def _text(raw: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">h", raw, at)
    return raw[at + 2 : at + 2 + length].decode(), at + 2 + length


def went_back(steps: Iterable[Step]) -> list[str]:
    """Return in words where progress that was recorded is less than before."""
    newest: dict[str, int] = {}
    found = []
    for whose, reached in steps:
        if reached < newest.get(whose, 0):
            found.append(f"{whose} went back from {newest[whose]} to {reached}")
        newest[whose] = reached
    return found
