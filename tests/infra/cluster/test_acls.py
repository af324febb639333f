"""The rights of production's manifests on a real broker with TLS and SCRAM: what a stage does is allowed, all else is refused.

The broker's metadata are in the format that the manifests name, so its rules are those of the cluster's Kafka.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from pydantic import SecretStr

from infra.embedded import broker as local_broker
from infra.embedded.free_ports import free_ports
from infra.embedded.jars import cache_folder, ensure_jars
from quantstream.core.errors import QuantStreamError
from quantstream.kafka import Reader, Writer, ensure_topics, group_lag
from quantstream.kafka.dead_letters import dead_letter
from quantstream.messages.stages import STAGES
from quantstream.messages.topics import CANDLES, DEAD, TOPICS, Topic
from quantstream.settings import Kafka
from tests.infra.manifests import Object, of_kind, render
from tests.infra.test_kafka_tls import authority, keystore, properties
from tests.infra.test_rendered import versions

pytestmark = pytest.mark.broker
PASSWORD = "correct-horse-battery"
OPERATOR = "the operator"
AUTHORIZER = (
    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\nsuper.users=User:ANONYMOUS\n"
)
TYPES = {"topic": ResourceType.TOPIC, "group": ResourceType.GROUP, "transactionalId": ResourceType.TRANSACTIONAL_ID}
PATTERNS = {"literal": ResourcePatternType.LITERAL, "prefix": ResourcePatternType.PREFIXED}


def bindings(user: Object) -> Iterator[AclBinding]:
    """Go through what Strimzi's user operator would give a `KafkaUser`."""
    for acl in user["spec"]["authorization"]["acls"]:
        resource = acl["resource"]
        place = TYPES[resource["type"]], resource["name"], PATTERNS[resource["patternType"]]
        for operation in acl["operations"]:
            who = f"User:{user['metadata']['name']}"
            yield AclBinding(*place, who, "*", AclOperation[operation.upper()], AclPermissionType.ALLOW)


@pytest.fixture(scope="module")
def logins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Kafka]]:
    """The settings of each user of the manifests, on a broker that has their rights and all topics."""
    folder = tmp_path_factory.mktemp("rights")
    issuer, ports = authority("the cluster's authority"), free_ports(3)
    (folder / "ca.pem").write_bytes(issuer.pem)
    (folder / "keystore.pem").write_bytes(keystore(issuer))
    config = folder / "server.properties"
    config.write_text(properties(folder, ports) + AUTHORIZER)
    process = started(folder, config)
    try:
        inner = f"127.0.0.1:{ports[1]}"  # where the operators come in: anonymous there is a super user
        local_broker.wait_until_ready(inner, process)
        ensure_topics(Kafka(bootstrap=inner))
        writer = Writer(Kafka(bootstrap=inner))
        for topic in TOPICS:
            writer.send(topic, "BTCUSDT", b"one", partition=0)  # something to read
        writer.flush()
        users = of_kind(render("prod"), "KafkaUser")
        admin = AdminClient({"bootstrap.servers": inner})
        names = [one["metadata"]["name"] for one in users]
        assert {f"{name}-b" for name in names if not name.endswith("-b")} < set(names)  # a second login of each
        set_passwords(inner, dict.fromkeys(names, PASSWORD))
        results = [*admin.create_acls([acl for one in users for acl in bindings(one)]).values()]
        for result in results:
            result.result(30)
        own: dict[str, Any] = {
            "security": "SASL_SSL",
            "password": SecretStr(PASSWORD),
            "ca_file": str(folder / "ca.pem"),
        }
        found = {name: Kafka(bootstrap=f"127.0.0.1:{ports[0]}", user=name, **own) for name in names}
        yield found | {OPERATOR: Kafka(bootstrap=inner)}
    finally:
        local_broker.stop(process)


def set_passwords(inner: str, passwords: Mapping[str, str]) -> None:
    """Do what the user operator does when a secret changes."""
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    made = [UserScramCredentialUpsertion(name, info, password.encode()) for name, password in passwords.items()]
    admin = AdminClient({"bootstrap.servers": inner})
    for result in admin.alter_user_scram_credentials(made).values():
        result.result(30)


def started(folder: Path, config: Path) -> subprocess.Popen[bytes]:
    """Format the broker's folder with the cluster's version of metadata, and start it."""
    jars, release = ensure_jars(cache_folder()), versions()["KAFKA_METADATA"]
    arguments = (
        "--cluster-id",
        "AAAAAAAAAAAAAAAAAAAAAA",
        "--config",
        str(config),
        "--standalone",
        "--release-version",
        release,
    )
    subprocess.run(
        local_broker.java_command(jars, "kafka.tools.StorageTool", "format", *arguments),
        check=True,
        capture_output=True,
    )
    with (folder / "broker.log").open("wb") as log:
        return subprocess.Popen(
            local_broker.java_command(jars, "kafka.Kafka", str(config)), stdout=log, stderr=subprocess.STDOUT
        )


def may_write(kafka: Kafka, topic: Topic, transaction: str = "") -> bool:
    """Say whether a login may write a record to a topic."""
    writer = Writer(kafka, transaction) if transaction else Writer(kafka)
    try:
        if transaction:
            writer.begin()
        writer.send(topic, "BTCUSDT", b"one", partition=0)
        writer.flush()
        writer.check()
    except QuantStreamError:
        return False
    return True


@pytest.mark.parametrize("second", ["", "-b"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_may_write_what_it_is_said_to_and_nothing_else(
    logins: Mapping[str, Kafka], stage: str, second: str
) -> None:
    allowed = {topic.name for topic in TOPICS if may_write(logins[f"{stage}{second}"], topic)}
    assert allowed == {topic.name for topic in STAGES[stage].writes}


@pytest.mark.parametrize("stage", [name for name, stage in STAGES.items() if DEAD in stage.writes])
def test_a_stage_may_write_a_dead_letter(logins: Mapping[str, Kafka], stage: str) -> None:
    fenced = f"quantstream-{stage}-0" if stage in ("aggregate", "score") else None
    writer = Writer(logins[stage], fenced) if fenced else Writer(logins[stage])
    if fenced:
        writer.begin()
    dead_letter(writer, f"{stage} market.candles.v1-0-7", "no candle", b"x", 0)
    writer.flush()
    writer.check()


@pytest.mark.parametrize("stage", [name for name, stage in STAGES.items() if stage.reads])
def test_a_stage_may_join_its_group_and_read(logins: Mapping[str, Kafka], stage: str) -> None:
    kafka = logins[stage]
    assert ensure_topics(kafka) == []
    reader = Reader(kafka, STAGES[stage].group, f"{stage}-0")
    reader.subscribe(list(STAGES[stage].reads))
    joined: set[str] = set()
    for _ in range(60):  # half a minute, in the worst case
        reader.poll(0.5)
        joined |= {topic for topic, _ in reader.positions()}
        if len(joined) == len(STAGES[stage].reads):
            break
    reader.close()
    assert joined == {topic.name for topic in STAGES[stage].reads}


def test_the_scaler_sees_lags_and_writes_nothing(logins: Mapping[str, Kafka]) -> None:
    (candles,) = STAGES["score"].reads
    assert group_lag(logins["keda"], STAGES["score"].group, candles) >= 0
    assert [topic.name for topic in TOPICS if may_write(logins["keda"], topic)] == []


def test_passwords_are_rotated_while_a_stage_reads_and_writes(logins: Mapping[str, Kafka]) -> None:
    """The steps of `infra/k8s/rotate`: the second login's password, the pods' change to it, the end of the first one's."""
    inner, old = logins[OPERATOR].bootstrap, logins["aggregate"]
    fresh = logins["aggregate-b"].model_copy(update={"password": SecretStr("quite-another-one")})
    writer, reader = Writer(old), Reader(old, STAGES["aggregate"].group, "aggregate-7")
    reader.subscribe(list(STAGES["aggregate"].reads))
    wrote = 0

    def goes_on(by: Writer, readers: Reader) -> None:
        nonlocal wrote
        by.send(CANDLES, "BTCUSDT", b"one", partition=0)
        by.flush()
        by.check()
        wrote += 1
        readers.poll(0.2)

    goes_on(writer, reader)
    set_passwords(inner, {"aggregate-b": "quite-another-one"})
    goes_on(writer, reader)
    assert may_write(old, CANDLES)  # a pod that is killed just now comes back
    assert may_write(fresh, CANDLES)
    reader.close()
    successor, anew = Writer(fresh), Reader(fresh, STAGES["aggregate"].group, "aggregate-7")
    anew.subscribe(list(STAGES["aggregate"].reads))
    goes_on(successor, anew)
    set_passwords(inner, {"aggregate": "nobody-is-told"})
    goes_on(successor, anew)
    anew.close()
    assert wrote == 4
    assert may_write(fresh, CANDLES)
    assert not may_write(old, CANDLES)
    set_passwords(inner, {"aggregate": PASSWORD, "aggregate-b": PASSWORD})
