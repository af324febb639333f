"""`bench.aggregate` on a topic that somebody else filled: other partitions, aggregates, duplicates; and a loss would show."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from bench.measure import readback, source
from quantstream.decode.columns import Parser
from quantstream.messages.topics import DEAD
from quantstream.settings import Kafka

HERE = Path(__file__).resolve().parents[2]
TRADES = 3_000


def aggregates(rng: random.Random) -> Iterator[tuple[str, str]]:
    """Yield events as `json.dumps` prints them, each for one to five trades, some twice, some cut short."""
    ids: dict[str, int] = {}
    for symbol, raw in source.events(TRADES, 20):
        event = json.loads(raw)
        first = ids.get(symbol, 100)
        ids[symbol] = first + rng.choice([1, 1, 2, 5])
        numbers = {"a": event["t"], "f": first, "l": ids[symbol] - 1}
        kept = {key: event[key] for key in ("E", "s", "p", "q", "T", "m")}
        for _ in range(1 + (rng.random() < 0.05)):
            yield symbol, json.dumps({"e": "aggTrade"} | kept | numbers)
        if rng.random() < 0.01:
            yield symbol, raw.decode()[:30]


@pytest.fixture
def filled(broker: Kafka) -> tuple[str, int]:
    """A topic of six partitions, and how many records it holds."""
    topic, events = f"foreign.{uuid.uuid4().hex[:8]}", list(aggregates(random.Random(4)))
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    for made in admin.create_topics([NewTopic(topic, 6, 1)]).values():
        made.result()
    producer = Producer({"bootstrap.servers": broker.bootstrap, "compression.type": "zstd"})
    for symbol, text in events:
        producer.produce(topic, key=symbol, value=text)
    producer.flush()
    return topic, len(events)


@pytest.mark.broker
@pytest.mark.parametrize("asked", [1.0, 0.1])
def test_a_topic_of_another_producer_is_counted_exactly_once(
    broker: Kafka, filled: tuple[str, int], asked: float
) -> None:
    topic, records = filled
    dead = readback.records(broker, DEAD.name, 1)
    command = [sys.executable, "-m", "bench.aggregate", "--bootstrap", broker.bootstrap, "--topic", topic, "--json"]
    command += ["--trades", str(int(records * asked)), "--no-floors"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE, check=True, timeout=120)
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["exactly_once"] is True
    assert int(records * asked) <= found["trades"] <= records
    assert readback.records(broker, DEAD.name, 1) == dead, "the broker may be somebody's: its dead letters are not ours"


def test_ids_are_counted_once_whatever_overlaps() -> None:
    spans, parser = readback.Spans(), Parser()
    events = [{"f": 1, "l": 5}, {"f": 3, "l": 8}, {"f": 3, "l": 4}, {"f": 20, "l": 20}, {"f": 20, "l": 20}]
    base = {"e": "aggTrade", "s": "A", "a": 1, "p": "1", "q": "1", "T": 1_754_006_400_000, "m": True}
    values = [json.dumps(base | event).encode() for event in events]
    spans.add(parser.parse(values, [b"A"] * 5, [0] * 5), parser.symbols.names)
    assert spans.count() == 8 + 1
    spans.add(parser.parse([values[0].replace(b'"A"', b'"B"')], [b"B"], [0]), parser.symbols.names)
    assert spans.count() == 8 + 1 + 5
