"""How many records the stages have still to read, by the broker and the lake where a stage itself does not answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from infra.embedded.readiness import fetch
from infra.embedded.state import Stack
from quantstream.observability.metrics_page import parse_metrics
from quantstream.observability.metrics_page import total as total_of

if TYPE_CHECKING:
    from quantstream.settings import Kafka

KAFKA_WITHIN = 2.0  # seconds
METRIC = "quantstream_sink_lag_records"


def total(stack: Stack, sink_is_ready: bool, notes: list[str]) -> int:
    """Return what the consumer groups and the sink have still to read, in records; `notes` take what a person should know of it.

    Raises: Unavailable when the broker, or the lake that it has to be compared with, does not answer.
    """
    from quantstream.kafka import group_lag
    from quantstream.messages.stages import STAGES

    kafka = kafka_of(stack)
    behind = 0
    if "sink" in stack.processes:
        own = of_sink(stack) if sink_is_ready else None
        if own is None:
            notes.append(
                "the sink is not at work: its part of the lag is all that came after its last rows in the lake"
            )
        behind += stored_lag(stack, kafka) if own is None else own
    for stage in STAGES.values():
        if stage.name != "sink" and stage.name in stack.processes:
            for topic in stage.reads:
                behind += group_lag(kafka, stage.group, topic, KAFKA_WITHIN)
    return behind


def of_sink(stack: Stack, get: Callable[[str], bytes | None] = fetch) -> int | None:
    """Return the sink's own count of records to read, None when it does not tell; for while it is ready."""
    port = (stack.processes.get("sink") or {}).get("http_port")
    body = get(f"http://127.0.0.1:{port}/metrics") if port else None
    try:
        lag = total_of(parse_metrics((body or b"").decode(errors="replace")), METRIC)
    except ValueError:
        return None
    return None if lag is None else int(lag)


def kafka_of(stack: Stack) -> Kafka:
    """Return how a stack's broker is reached, and what is before its names there."""
    from quantstream.settings import Kafka

    return Kafka(bootstrap=stack.kafka, topic_prefix=stack.settings.get("QUANTSTREAM_KAFKA__TOPIC_PREFIX", ""))


def stored_lag(stack: Stack, kafka: Kafka) -> int:
    """Return how many records the topics hold after what the lake says of its sink's progress: at least what is to be read.

    Raises: Unavailable.
    """
    from quantstream.kafka import Reader
    from quantstream.lake.store import Lake
    from quantstream.messages.stages import SINK
    from streaming.sink.stored_progress import TABLES, application

    lake, reader = Lake(stack.settings["QUANTSTREAM_LAKE"]), Reader(kafka)
    behind = 0
    try:
        for topic in SINK.reads:
            table = lake.table(TABLES[topic.name])
            for partition in reader.partitions(topic):
                low, high = reader.ends(topic.name, partition)
                at = table.transaction_version(application(kafka.topic_prefix, (topic.name, partition)))
                behind += high - max(low, low if at is None else int(at))
    finally:
        reader.close()
    return behind
