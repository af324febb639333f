"""Messages as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from confluent_kafka import Message


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


def contents(messages: Sequence[Message]) -> tuple[list[bytes], list[bytes | None], list[int]]:
    """Return the values, keys and partitions of many messages: three loops in C instead of one here."""
    values: list[bytes] = list(map(Message.value, messages))
    if None in values:
        values = [value or b"" for value in values]
    return values, list(map(Message.key, messages)), list(map(Message.partition, messages))


def next_offsets(messages: Sequence[Message], partitions: Sequence[int]) -> dict[tuple[str, int], int]:
    """Return, for each partition among one topic's messages in order of arrival, the offset after its last one."""
    last = dict(zip(partitions, messages, strict=True))
    return {(message.topic(), partition): message.offset() + 1 for partition, message in last.items()}


def header_texts(message: Message) -> dict[str, str]:
    """Return a message's headers as text."""
    return {name: (value or b"").decode(errors="replace") for name, value in message.headers() or ()}
