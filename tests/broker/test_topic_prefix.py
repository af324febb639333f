"""Two systems on one broker, one of them with a prefix before its topics' names: neither reads, writes or fences the other's."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from dashboard.live import Tail
from infra.embedded import broker as local_broker
from infra.embedded.free_ports import free_port
from ml.promotion.announcements import Announcements
from ml.promotion.decisions import Change, Decision
from quantstream.kafka import Writer, ensure_topics, group_lag, partition_counts
from quantstream.kafka.news import News
from quantstream.lake.store import Lake
from quantstream.messages.stages import AGGREGATE
from quantstream.messages.topics import EVENTS, MODELS, TOPICS, TRADES, Topic
from quantstream.settings import Kafka
from tests.broker.test_live_path import Processes, assert_equals_the_exchange, wait_for
from tests.topics import read_topic

pytestmark = pytest.mark.broker
PREFIX = "restored."
STAGES = ("aggregate", "sink", "ingest")


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Processes]:
    """The system without a prefix, on a broker of the test's own."""
    port = free_port()
    with local_broker.running(tmp_path / "broker", port):
        system = Processes(folder(tmp_path / "live"), Kafka(bootstrap=f"127.0.0.1:{port}"))
        system.env |= {"QUANTSTREAM_SYMBOLS": "BTCUSDT"}
        yield system
        system.stop()


@pytest.fixture
def restored(tmp_path: Path, live: Processes) -> Iterator[Processes]:
    """The one beside it, as like it as can be: instances of the same names, another symbol to tell them apart by."""
    system = Processes(folder(tmp_path / "restored"), Kafka(bootstrap=live.env["QUANTSTREAM_KAFKA__BOOTSTRAP"]))
    system.env |= {"QUANTSTREAM_SYMBOLS": "ETHUSDT", "QUANTSTREAM_KAFKA__TOPIC_PREFIX": PREFIX}
    yield system
    system.stop()


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def kafka_of(system: Processes) -> Kafka:
    prefix = system.env.get("QUANTSTREAM_KAFKA__TOPIC_PREFIX", "")
    return Kafka(bootstrap=system.env["QUANTSTREAM_KAFKA__BOOTSTRAP"], topic_prefix=prefix)


def candles(system: Processes) -> int:
    return Lake(str(system.folder / "lake")).candles().num_rows


def command(system: Processes, *arguments: str) -> dict[str, object]:
    done = subprocess.run(
        system.argv(arguments[0]) + list(arguments[1:]), env=system.env, capture_output=True, timeout=120
    )
    assert done.returncode == 0, done.stderr.decode()
    return dict(json.loads(done.stdout))


def repaired(system: Processes) -> int:
    return subprocess.run(system.argv("repair"), env=system.env, capture_output=True, timeout=120).returncode


def keys(kafka: Kafka) -> set[str]:
    return {(each.key() or b"").decode() for each in read_topic(kafka, TRADES)}


def test_a_system_with_a_prefix_runs_beside_the_live_one_and_neither_touches_the_other(
    live: Processes, restored: Processes
) -> None:
    rest = live.exchange("--symbols", "BTCUSDT,ETHUSDT", "--speed", "60", "--history-days", "2", "--seed", "21")
    restored.env |= {name: live.env[name] for name in ("QUANTSTREAM_ENDPOINTS__WS", "QUANTSTREAM_ENDPOINTS__REST")}
    for system in (live, restored):
        for stage in STAGES:
            system.start(stage)
    wait_for(lambda: min(candles(live), candles(restored)) >= 3, 120)
    names = {topic.name for topic in TOPICS}
    found = {name for name in partition_counts(Kafka(bootstrap=kafka_of(live).bootstrap)) if not name.startswith("__")}
    assert found == names | {PREFIX + name for name in names}
    assert (keys(kafka_of(live)), keys(kafka_of(restored))) == ({"BTCUSDT"}, {"ETHUSDT"})
    admin = AdminClient({"bootstrap.servers": kafka_of(live).bootstrap})  # its answers come only while it is there
    groups = {each.group_id for each in admin.list_consumer_groups().result(30).valid}
    assert {"quantstream-aggregate", "restored.quantstream-aggregate", "restored.quantstream-sink"} <= groups
    seen = candles(live), candles(restored)  # neither fenced the other, though both are the instance "0"
    wait_for(lambda: candles(live) > seen[0] and candles(restored) > seen[1], 120)
    assert [
        name for system in (live, restored) for name, each in system.running.items() if each.poll() is not None
    ] == []
    for system in (live, restored):
        assert_equals_the_exchange(Lake(str(system.folder / "lake")), rest, system.env["QUANTSTREAM_SYMBOLS"])
        assert group_lag(kafka_of(system), AGGREGATE.group, TRADES) >= 0
        replayed = command(
            system, "replay", *(word for part in range(4) for word in ("--from-offset", f"{part}:0")), "--json"
        )
        assert (replayed["different"], replayed["absent"]) == (0, 0)
        assert int(str(replayed["equal"])) >= 3
        assert command(system, "verify", "--json")["different"] == 0
        assert repaired(system) == 0
        tail = Tail(kafka_of(system))
        tail.start()
        wait_for(lambda tail=tail: bool(tail.symbols()))  # type: ignore[misc]
        tail.close()
        assert [tail.symbols()] == [system.env["QUANTSTREAM_SYMBOLS"].split(",")]


def test_a_promotion_wakes_the_scorers_of_its_own_system_alone(fresh_broker: Kafka) -> None:
    ours, theirs = (fresh_broker.model_copy(update={"topic_prefix": prefix}) for prefix in ("ours.", "theirs."))
    news = []
    for kafka in (ours, theirs):
        ensure_topics(kafka)
        wait_for(lambda kafka=kafka: set(partition_counts(kafka)) == {topic.name for topic in TOPICS})  # type: ignore[misc]
        news.append(News(kafka, MODELS))
        news[-1].wait(2.0)  # listens from now on
    for kafka, version in ((ours, "2"), (theirs, "3")):
        assert Announcements(kafka)(
            Decision(datetime.now(UTC), "quantstream-risk", version, Change.PROMOTED, "1", "a test", "no worse")
        )
    for kafka, version, heard in zip((ours, theirs), ("2", "3"), news, strict=True):
        assert heard.wait(30.0)
        for topic, between in (
            (MODELS, '","version":"'),
            (EVENTS, " "),
        ):  # what it heard was its own: there is nothing else
            assert [f"quantstream-risk{between}{version}" in text for text in texts(kafka, topic)] == [True]
        heard.close()
    assert texts(fresh_broker, MODELS) == []


def texts(kafka: Kafka, topic: Topic) -> list[str]:
    return [(each.value() or b"").decode() for each in read_topic(kafka, topic)]


def test_topics_of_a_prefix_are_made_with_it_and_read_back_under_their_own_names(fresh_broker: Kafka) -> None:
    anew = fresh_broker.model_copy(update={"topic_prefix": "anew-"})
    ensure_topics(anew)
    declared = {topic.name for topic in TOPICS}  # others' topics are not of this system
    wait_for(lambda: set(partition_counts(anew)) == declared)  # new ones are not known at once
    writer = Writer(anew)
    writer.send(EVENTS, "ingest", b"one")
    writer.flush()
    assert [(each.topic(), each.value()) for each in read_topic(anew, EVENTS)] == [(EVENTS.name, b"one")]
    assert read_topic(anew.model_copy(update={"topic_prefix": ""}), EVENTS) == []
