"""What flows through the system of pods, read from its broker by a client in one of them: only there its name is known."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.infra.pods.conftest import System
from tests.infra.pods.podman import podman

PATIENCE = 300.0  # seconds; a candle of 5 minutes closes every 10 s at 30 times the speed
READ = """
import json, sys
from quantstream.kafka import OFFSET_BEGINNING, Reader, partition_counts
from quantstream.settings import Kafka
kafka = Kafka(bootstrap="kafka:9092")
topic = sys.argv[1]
reader = Reader(kafka)
values = []
for partition in range(partition_counts(kafka)[topic]):
    _, end = reader.ends(topic, partition)
    reader.assign({(topic, partition): OFFSET_BEGINNING})
    empty = 0
    while empty < 3 and reader.positions().get((topic, partition), 0) < end:  # the last offset may be a transaction's marker
        batch = reader.poll(0.5)
        empty = 0 if batch else empty + 1
        values += [message.value().decode() for message in batch if message.value()]
reader.close()
print(json.dumps({"count": len(values), "last": values[-50:]}))
"""


def read(system: System, topic: str) -> tuple[int, list[Any]]:
    """Return how many committed records a topic holds, and the last of them."""
    told = podman("exec", system.pod("exchange").container(), "timeout", "90", "python", "-c", READ, topic)
    found = json.loads(told.splitlines()[-1])
    return found["count"], [json.loads(one) for one in found["last"]]


def records(system: System, topic: str, more_than: int = 0, seconds: float = PATIENCE) -> int:
    """Wait until a topic holds more records than that; return how many there are."""
    deadline = time.monotonic() + seconds
    while (count := read(system, topic)[0]) <= more_than:
        assert time.monotonic() < deadline, (
            f"{topic} holds {count} records, not more than {more_than}, after {seconds:g} s"
        )
        time.sleep(2)
    return count
