"""How many records the stages have still to read, by the broker and the lake where a stage itself does not answer."""

from __future__ import annotations

from collections.abc import Callable

from infra.embedded.readiness import fetch
from infra.embedded.state import Stack
from quantstream.observability.metrics_page import parse_metrics
from quantstream.observability.metrics_page import total as total_of

KAFKA_WITHIN = 2.0  # seconds
METRIC = "quantstream_sink_lag_records"


def total(stack: Stack, sink_is_ready: bool, notes: list[str]) -> int:
    """Return what the consumer groups and the sink have still to read, in records; `notes` take what a person should know of it.

    Raises: Unavailable when the broker, or the lake that it has to be compared with, does not answer.
    """
    from quantstream.kafka import group_lag
    from quantstream.messages.stages import STAGES
    from quantstream.settings import Kafka

    kafka = Kafka(bootstrap=stack.kafka)
    behind = 0
    if "sink" in stack.processes:
        own = of_sink(stack) if sink_is_ready else None
        if own is None:
            notes.append(
                "the sink is not at work: its part of the lag is all that came after its last rows in the lake"
            )
        behind += stored_lag(stack, kafka.bootstrap) if own is None else own
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


def stored_lag(stack: Stack, bootstrap: str) -> int:
    """Return how many records the topics hold after what the lake says of its sink's progress: at least what is to be read.

    Raises: Unavailable.
    """
    from quantstream.kafka import Reader
    from quantstream.lake.store import Lake
    from quantstream.messages.stages import SINK
    from quantstream.settings import Kafka
    from streaming.sink.stage import TABLES

    lake, reader = Lake(stack.settings["QUANTSTREAM_LAKE"]), Reader(Kafka(bootstrap=bootstrap))
    behind = 0
    try:
        for topic in SINK.reads:
            table = lake.table(TABLES[topic.name])
            for partition in reader.partitions(topic):
                low, high = reader.ends(topic.name, partition)
                at = table.transaction_version(f"sink/{topic.name}/{partition}")
                behind += high - max(low, low if at is None else int(at))
    finally:
        reader.close()
    return behind
