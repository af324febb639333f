"""Messages as values."""

from __future__ import annotations

from collections.abc import Mapping
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


def header_texts(message: Message) -> dict[str, str]:
    """Return a message's headers as text."""
    return {name: (value or b"").decode(errors="replace") for name, value in message.headers() or ()}
