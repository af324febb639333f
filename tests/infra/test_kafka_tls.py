"""Kafka over TLS with SCRAM logins, against a real broker with such a listener: what flows, and what a person is told."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from infra.embedded import broker as local_broker
from infra.embedded.free_ports import free_ports
from infra.embedded.jars import cache_folder, ensure_jars
from infra.embedded.state import PROJECT
from quantstream.core.errors import Misconfigured
from quantstream.kafka import Reader, Writer, ensure_topics, group_lag
from quantstream.messages.topics import CANDLES, TRADES
from quantstream.settings import Kafka
from quantstream.settings_loader import load_settings

USER, PASSWORD = "aggregate", "correct-horse-battery"
PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Authority:
    """A certificate authority of the test's own."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        """Its certificate, as clients get it."""
        return self.certificate.public_bytes(PEM)


def certificate(name: str, key: ec.EllipticCurvePrivateKey, issuer: Authority | None) -> x509.Certificate:
    """Return a certificate for a day: an authority's own, or a server's on 127.0.0.1 signed by one."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
    )
    return builder.sign(issuer.key if issuer else key, hashes.SHA256())


def authority(name: str) -> Authority:
    """Return a new authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    return Authority(certificate(name, key, None), key)


def keystore(issuer: Authority) -> bytes:
    """Return the broker's key and chain as the PEM file that Kafka reads."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private + certificate("broker", key, issuer).public_bytes(PEM) + issuer.pem


def properties(folder: Path, ports: list[int]) -> str:
    """Return the configuration of a broker that clients reach over TLS with a login only."""
    tls, inner, controller = ports
    own = local_broker.SMALL | {
        "listeners": f"CLIENTS://127.0.0.1:{tls},PLAINTEXT://127.0.0.1:{inner},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"CLIENTS://127.0.0.1:{tls},PLAINTEXT://127.0.0.1:{inner}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,CLIENTS:SASL_SSL",
        "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
        "log.dirs": f"{folder}/data",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.clients.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
        "listener.name.clients.ssl.keystore.type": "PEM",
        "listener.name.clients.ssl.keystore.location": f"{folder}/keystore.pem",
    }
    return "".join(f"{name}={value}\n" for name, value in own.items())


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A broker behind TLS and SCRAM, and the settings that reach it."""
    folder = tmp_path_factory.mktemp("secured")
    issuer = authority("the cluster's authority")
    (folder / "ca.pem").write_bytes(issuer.pem)
    (folder / "keystore.pem").write_bytes(keystore(issuer))
    ports = free_ports(3)
    config = folder / "server.properties"
    config.write_text(properties(folder, ports))
    jars = ensure_jars(cache_folder())
    scram = f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"
    arguments = (
        "--cluster-id",
        "AAAAAAAAAAAAAAAAAAAAAA",
        "--config",
        str(config),
        "--standalone",
        "--add-scram",
        scram,
    )
    formatted = local_broker.java_command(jars, "kafka.tools.StorageTool", "format", *arguments)
    subprocess.run(formatted, check=True, capture_output=True)
    with (folder / "broker.log").open("wb") as log:
        process = subprocess.Popen(
            local_broker.java_command(jars, "kafka.Kafka", str(config)), stdout=log, stderr=subprocess.STDOUT
        )
    try:
        local_broker.wait_until_ready(f"127.0.0.1:{ports[1]}", process)
        yield Kafka(
            bootstrap=f"127.0.0.1:{ports[0]}",
            security="SASL_SSL",
            user=USER,
            password=SecretStr(PASSWORD),
            ca_file=str(folder / "ca.pem"),
        )
    finally:
        local_broker.stop(process)


def changed(kafka: Kafka, **fields: object) -> Kafka:
    """Return the settings with some of them other."""
    return kafka.model_copy(update=fields)


@pytest.mark.broker
def test_records_and_transactions_flow_through_tls_and_scram(secured: Kafka) -> None:
    ensure_topics(secured)
    writer = Writer(secured)
    writer.send(TRADES, "BTCUSDT", b"one trade", partition=0)
    writer.flush()
    reader, transaction = Reader(secured, "secured"), Writer(secured, "secured-0")
    reader.subscribe([TRADES])
    received: list[bytes] = []
    while len(received) < 1:
        received += [message.value() for message in reader.poll(0.5)]
    transaction.begin()
    transaction.send(CANDLES, "BTCUSDT", b"a candle")
    transaction.commit(reader, reader.positions())
    assert received == [b"one trade"]
    assert group_lag(secured, "secured", TRADES) == 0
    reader.close()


@pytest.mark.broker
def test_wrong_password_is_said_in_one_sentence_without_the_password(secured: Kafka) -> None:
    wrong = changed(secured, password=SecretStr("not-the-password"))
    with pytest.raises(Misconfigured) as told:
        ensure_topics(wrong, timeout=3)
    assert str(told.value) == (
        f"Kafka at {secured.bootstrap} refused the login of aggregate; "
        "check QUANTSTREAM_KAFKA__USER and QUANTSTREAM_KAFKA__PASSWORD"
    )


@pytest.mark.broker
def test_unknown_authority_is_said_in_one_sentence(secured: Kafka, tmp_path: Path) -> None:
    (tmp_path / "other.pem").write_bytes(authority("somebody else").pem)
    with pytest.raises(Misconfigured) as told:
        ensure_topics(changed(secured, ca_file=str(tmp_path / "other.pem")), timeout=3)
    assert str(told.value) == (
        f"Kafka at {secured.bootstrap} could not prove over TLS who it is; set QUANTSTREAM_KAFKA__CA_FILE to the "
        "certificate of the authority that signed its own, and check that it listens for TLS there"
    )


@pytest.mark.broker
def test_stage_with_a_wrong_password_ends_with_code_2_and_logs_no_secret(secured: Kafka, tmp_path: Path) -> None:
    secret = "wrong-and-not-to-be-seen"
    own = {name: value for name, value in os.environ.items() if not name.startswith("QUANTSTREAM_")}
    given = {
        "QUANTSTREAM_STATE": str(tmp_path),
        "QUANTSTREAM_KAFKA__BOOTSTRAP": secured.bootstrap,
        "QUANTSTREAM_KAFKA__SECURITY": "SASL_SSL",
        "QUANTSTREAM_KAFKA__USER": USER,
        "QUANTSTREAM_KAFKA__PASSWORD": secret,
        "QUANTSTREAM_KAFKA__CA_FILE": secured.ca_file,
    }
    command = [sys.executable, "-m", "streaming", "aggregate"]
    done = subprocess.run(
        command, env=own | given, cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False
    )
    output = done.stdout + done.stderr
    assert (done.returncode, "refused the login of aggregate" in output, "Traceback" in output) == (2, True, False)
    assert secret not in output


def test_authority_file_that_is_not_there_is_named() -> None:
    absent = Kafka(security="SASL_SSL", user=USER, password=SecretStr(PASSWORD), ca_file="/no/such/ca.crt")
    with pytest.raises(Misconfigured, match=r"QUANTSTREAM_KAFKA__CA_FILE=/no/such/ca.crt is no file"):
        ensure_topics(absent)


def test_half_a_login_is_refused_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANTSTREAM_KAFKA__SECURITY", "SASL_SSL")
    with pytest.raises(Misconfigured, match="SASL_SSL needs a login"):
        load_settings()


def test_login_over_an_open_line_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANTSTREAM_KAFKA__USER", USER)
    monkeypatch.setenv("QUANTSTREAM_KAFKA__PASSWORD", PASSWORD)
    with pytest.raises(Misconfigured, match="a login is sent over TLS only") as told:
        load_settings()
    assert PASSWORD not in str(told.value)


def test_settings_print_no_password() -> None:
    assert PASSWORD not in repr(Kafka(security="SASL_SSL", user=USER, password=SecretStr(PASSWORD)))
