"""Dead letters: records that nobody can parse, with the reason and where they came from."""

from __future__ import annotations

import logging

from quantstream.kafka.writer import Writer
from quantstream.messages.payloads import DeadRecord, encode
from quantstream.messages.topics import DEAD, Topic

log = logging.getLogger(__name__)
MAX_RAW = 4_096  # characters of a dead record that are kept


def dead_letter(writer: Writer, source: str, reason: str, raw: bytes, at: int, topic: Topic = DEAD) -> None:
    """Write a dead letter and log it. `at` is the wall clock, µs."""
    log.warning("dead letter", extra={"source": source, "reason": reason})
    text = raw[:MAX_RAW].decode("utf-8", errors="replace")
    writer.send(topic, source.split(" ")[0], encode(DeadRecord(source, reason, text, at)))
