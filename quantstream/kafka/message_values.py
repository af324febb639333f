"""Messages as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray


@dataclass(frozen=True)
class Record:
    """One message, its headers as text."""

    topic: str
    partition: int
    offset: int
    key: str
    value: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    timestamp_ms: int = 0


def record(message: Message) -> Record:
    """Return a message as a value."""
    return Record(
        topic=message.topic(),
        partition=message.partition(),
        offset=message.offset(),
        key=(message.key() or b"").decode(errors="replace"),
        value=message.value() or b"",
        headers=header_texts(message),
        timestamp_ms=message.timestamp()[1],
    )


def contents(messages: Sequence[Message]) -> tuple[list[bytes], list[bytes | None], NDArray[np.int64]]:
    """Return the values, keys and partitions of many messages: three loops in C instead of one here."""
    values: list[bytes] = list(map(Message.value, messages))
    if None in values:
        values = [value or b"" for value in values]
    partitions = np.fromiter(map(Message.partition, messages), np.int64, len(messages))
    return values, list(map(Message.key, messages)), partitions


def next_offsets(messages: Sequence[Message], partitions: NDArray[np.int64]) -> dict[tuple[str, int], int]:
    """Return, for each partition among one topic's messages in order of arrival, the offset after its last one."""
    found, rows = np.unique(partitions[::-1], return_index=True)
    last = zip(found.tolist(), (len(partitions) - 1 - rows).tolist(), strict=True)
    return {(messages[row].topic(), partition): messages[row].offset() + 1 for partition, row in last}


def header_texts(message: Message) -> dict[str, str]:
    """Return a message's headers as text."""
    return {name: (value or b"").decode(errors="replace") for name, value in message.headers() or ()}


def sent_at(message: Message) -> int:
    """Return when the producer sent a message, µs by its clock; 0 for one that does not say."""
    milliseconds: int = message.timestamp()[1]
    return max(0, milliseconds) * 1_000
