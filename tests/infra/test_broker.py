"""The embedded broker: what it is told, and that nothing stored is lost when it is killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.embedded import broker as local_broker
from quantstream.kafka import OFFSET_BEGINNING, Message, Reader, Writer, ensure_topics, group_lag, partition_counts
from quantstream.messages.topics import TOPICS, TRADES, Topic
from quantstream.settings import Kafka


def test_broker_listens_on_loopback_only_and_keeps_its_data_in_the_state_folder() -> None:
    properties = dict(
        line.split("=", 1)
        for line in local_broker.server_properties(Path("/somewhere/kafka/data"), 9092, 9093).splitlines()
    )
    assert properties["listeners"] == "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"
    assert properties["advertised.listeners"] == "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"
    assert properties["log.dirs"] == "/somewhere/kafka/data"
    assert properties["auto.create.topics.enable"] == "false"


JAVA = """Exception in thread "main" org.apache.kafka.common.config.ConfigException: Invalid value
\tat kafka.tools.StorageTool.main(StorageTool.scala)
Caused by: java.nio.file.FileSystemException: /data: No space left on device
\t... 8 more
"""


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (JAVA, "Caused by: java.nio.file.FileSystemException: /data: No space left on device"),
        ("StorageTool: error\nthe cluster id is odd\n", "the cluster id is odd"),
        ("", "no reason given"),
    ],
)
def test_why_java_ended_is_told_by_the_line_that_says_it(said: str, cause: str) -> None:
    assert local_broker.cause_of(said) == cause


@pytest.mark.broker
def test_broker_has_every_declared_topic(broker: Kafka) -> None:
    counts = partition_counts(broker)
    assert {topic.name: counts[topic.name] for topic in TOPICS} == {topic.name: topic.partitions for topic in TOPICS}


@pytest.mark.broker
def test_broker_killed_at_once_still_has_every_acknowledged_record(tmp_path: Path) -> None:
    port = local_broker.free_port()
    kafka = Kafka(bootstrap=f"127.0.0.1:{port}")
    sent = [f"trade {number}".encode() for number in range(1000)]
    with local_broker.running(tmp_path, port) as process:
        ensure_topics(kafka)
        writer = Writer(kafka)
        for value in sent:
            writer.send(TRADES, "BTCUSDT", value, partition=0)
        writer.flush()
        process.kill()
        process.wait()
    with local_broker.running(tmp_path, port):
        reader = Reader(kafka)
        reader.assign({(TRADES.name, 0): OFFSET_BEGINNING})
        received: list[bytes] = []
        while len(received) < len(sent):
            received += [message.value() for message in reader.poll(0.5)]
        reader.close()
        assert received == sent
        assert group_lag(kafka, "nobody-yet", TRADES) == len(sent)


@pytest.mark.broker
def test_a_partition_read_to_its_end_keeps_a_lag_of_one_for_the_marker_of_its_last_transaction(broker: Kafka) -> None:
    """So nothing may wait for 0: alerts, scalers and the monitor are held to that by tests/monitor."""
    topic = Topic("test.markers.v1", "symbol", "any", partitions=1)
    ensure_topics(broker, (topic,))
    writer = Writer(broker, "markers")
    writer.begin()
    writer.send(topic, "BTCUSDT", b"a candle", partition=0)
    reader = Reader(broker, "reads-markers")
    writer.commit(reader, {})
    reader.assign({(topic.name, 0): OFFSET_BEGINNING})
    read: list[Message] = []
    while not read:
        read += reader.poll(0.5)
    (message,) = read
    assert reader.ends(topic.name, 0) == (0, 2)  # the candle and the marker
    writer.begin()
    writer.commit(
        reader, {(topic.name, 0): message.offset() + 1}
    )  # as every stage commits: the offset after what it read
    assert group_lag(broker, "reads-markers", topic) == 1
    reader.close()
