"""Kafka's own upgrade: a log of the format that the manifests name, under a newer broker, then the format raised.

It is what the runbook's two steps do, by Kafka's own programs; `kafka-features` is the one jar that the broker does not need.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from confluent_kafka import Producer

from infra.embedded import broker as local_broker
from infra.embedded import jars
from infra.embedded.jars import KAFKA_VERSION, cache_folder, ensure_jars
from quantstream.kafka import OFFSET_BEGINNING, Reader, ensure_topics
from quantstream.messages.topics import CANDLES, TRADES
from quantstream.settings import Kafka
from tests.infra.test_rendered import versions

pytestmark = [pytest.mark.broker, pytest.mark.slow]
TOOLS = f"org.apache.kafka:kafka-tools:{KAFKA_VERSION}"
CHECKSUM = "4eb9a7fbfd63badfd8d1a677aa2d54b47b2b2d442ff7d68fd223972afea1954c"
NEWEST = KAFKA_VERSION.rpartition(".")[0]
SENT = [f"trade {number}".encode() for number in range(500)]


@pytest.fixture(scope="module")
def programs() -> Iterator[Path]:
    """The folder of the broker's jars, and of `kafka-features` beside them."""
    cache = cache_folder()
    own = cache / f"kafka-tools-{KAFKA_VERSION}"
    if not (own / jars.jar_name(TOOLS)).is_file():
        own.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=cache) as repository:
            jars._fetch_one(TOOLS, CHECKSUM, Path(repository), own)
    with TemporaryDirectory() as name:
        for jar in (*ensure_jars(cache).glob("*.jar"), *own.glob("*.jar")):
            (Path(name) / jar.name).symlink_to(jar)
        yield Path(name)


def formatted(state: Path, release: str, programs: Path) -> None:
    """Make a broker's storage of an older format, which the broker then finds."""
    data = state / "kafka" / "data"
    data.mkdir(parents=True)
    config = state / "kafka" / "server.properties"
    config.write_text(local_broker.server_properties(data, 9092, 9093))
    words = ("--cluster-id", "AAAAAAAAAAAAAAAAAAAAAA", "--config", str(config), "--standalone")
    tool = local_broker.java_command(
        programs, "kafka.tools.StorageTool", "format", *words, "--release-version", release
    )
    subprocess.run(tool, check=True, capture_output=True, timeout=120)


def features(programs: Path, kafka: Kafka, *words: str) -> tuple[int, str]:
    """Run `kafka-features`; return its exit code and what it says."""
    name = "org.apache.kafka.tools.FeatureCommand"
    command = local_broker.java_command(programs, name, "--bootstrap-server", kafka.bootstrap, *words)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stdout + done.stderr


def metadata_version(programs: Path, kafka: Kafka) -> str:
    """Return the format that all brokers have agreed on."""
    code, told = features(programs, kafka, "describe")
    assert code == 0, told
    (found,) = re.findall(r"metadata\.version.*FinalizedVersionLevel: (\S+)", told)
    return str(found)


def write(kafka: Kafka) -> None:
    """Write trades in a transaction, as stages do."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": "stage-0"})
    producer.init_transactions(60)
    producer.begin_transaction()
    for value in SENT:
        producer.produce(TRADES.name, value, "BTCUSDT", partition=0)
    producer.commit_transaction(60)


def trades(kafka: Kafka, expected: int) -> list[bytes]:
    """Read the topic from its beginning, until as many have come as are expected."""
    reader = Reader(kafka)
    reader.assign({(TRADES.name, 0): OFFSET_BEGINNING})
    found: list[bytes] = []
    while len(found) < expected:
        found += [message.value() for message in reader.poll(0.5)]
    reader.close()
    return found


def test_records_stay_when_the_program_then_the_format_is_upgraded_which_has_no_way_back(
    programs: Path, tmp_path: Path
) -> None:
    older = versions()["KAFKA_METADATA"]
    formatted(tmp_path, older, programs)
    port = local_broker.free_port()
    kafka = Kafka(bootstrap=f"127.0.0.1:{port}")
    with local_broker.running(tmp_path, port):
        ensure_topics(kafka, (TRADES, CANDLES))
        write(kafka)
        assert metadata_version(programs, kafka) == older, "a newer program leaves the format alone"
        code, told = features(programs, kafka, "upgrade", "--release-version", NEWEST)
        assert code == 0, told
        assert trades(kafka, len(SENT)) == SENT
        write(kafka)
        code, told = features(programs, kafka, "downgrade", "--release-version", older)
        assert code != 0, told
    with local_broker.running(tmp_path, port):
        assert metadata_version(programs, kafka).startswith(NEWEST)
        assert trades(kafka, 2 * len(SENT)) == 2 * SENT
