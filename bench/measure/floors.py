"""What nobody can be faster than: the Kafka client reading a topic alone, and reading it with a JSON decoder behind."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from quantstream.kafka import OFFSET_BEGINNING, Reader
from quantstream.settings import Kafka

PATIENCE = 60.0  # seconds without a record


def read_alone(kafka: Kafka, topic: str, partitions: int, trades: int) -> Rate:
    """Return the rate of consuming values and nothing else."""
    return _rate(kafka, topic, partitions, trades, lambda value: value)


def read_and_decode(kafka: Kafka, topic: str, partitions: int, trades: int) -> Rate:
    """Return the rate of consuming values and decoding each as untyped JSON with the standard library."""
    return _rate(kafka, topic, partitions, trades, json.loads)


def read_and_decode_typed(kafka: Kafka, topic: str, partitions: int, trades: int) -> Rate:
    """Return the rate of consuming values and decoding each as untyped JSON with msgspec, the fastest decoder there is here."""
    import msgspec

    return _rate(kafka, topic, partitions, trades, msgspec.json.Decoder().decode)


@dataclass(frozen=True)
class Rate:
    """How fast something went: by the clock, and by the processor time that it took, which other load does not change."""

    per_s: float
    per_cpu_s: float


class Stopwatch:
    """Times a stretch of work of this process and all its threads."""

    def __init__(self) -> None:
        self.started, self.cpu = time.perf_counter(), time.process_time()

    def rate(self, count: int) -> Rate:
        """Return how fast `count` things were done since the start."""
        return Rate(count / (time.perf_counter() - self.started), count / (time.process_time() - self.cpu))


def _rate(kafka: Kafka, topic: str, partitions: int, trades: int, act: Callable[[bytes], Any]) -> Rate:
    reader = Reader(kafka)
    reader.assign({(topic, partition): OFFSET_BEGINNING for partition in range(partitions)})
    left, watch, heard = trades, None, time.perf_counter()
    while left > 0:
        messages = reader.consumer.consume(10_000, 1.0)
        if messages:
            heard = time.perf_counter()
        elif time.perf_counter() - heard > PATIENCE:
            raise TimeoutError(f"{topic} holds only {trades - left} of {trades} records")
        watch = watch or Stopwatch()
        for message in messages:
            act(message.value())
        left -= len(messages)
    rate = (watch or Stopwatch()).rate(trades)
    reader.close()
    return rate
