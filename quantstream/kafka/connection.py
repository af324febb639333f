"""How every client reaches the broker, and what its refusals say."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from quantstream.core.errors import Misconfigured, QuantStreamError, Unavailable
from quantstream.settings import Kafka

TIMEOUT = 15.0  # seconds for an answer of the broker
Partition = tuple[str, int]  # topic's name and partition's number


def connection(kafka: Kafka) -> dict[str, Any]:
    """Return the client settings that every consumer, producer and admin shares.

    Raises: Misconfigured when the file of the authority cannot be read.
    """
    config: dict[str, Any] = {"bootstrap.servers": kafka.bootstrap, "security.protocol": kafka.security}
    if kafka.ca_file:
        if not Path(kafka.ca_file).is_file():
            raise Misconfigured(f"QUANTSTREAM_KAFKA__CA_FILE={kafka.ca_file} is no file; name the authority's PEM file")
        config["ssl.ca.location"] = kafka.ca_file
    if kafka.user:
        config |= {
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": kafka.user,
            "sasl.password": kafka.password.get_secret_value(),
        }
    config |= {
        "reconnect.backoff.ms": 250,
        "reconnect.backoff.max.ms": 2_000,
    }  # else it tries, and logs, 20 times a second
    config["logger"] = logging.getLogger("kafka.client")
    return config


def reason(error: KafkaException) -> str:
    """Return the client library's reason for an error."""
    first = error.args[0]
    return first.str() if isinstance(first, KafkaError) else str(error)


def refusal(kafka: Kafka, error: KafkaException, heard: Iterable[KafkaError] = ()) -> QuantStreamError:
    """Return what a person should know of a call that failed, going by what the client heard from the broker meanwhile.

    librdkafka tells the call itself only that no broker answers; the reason comes beside it, as a notice.
    """
    codes = {one.code() for one in heard}
    if KafkaError._AUTHENTICATION in codes:
        return Misconfigured(
            f"Kafka at {kafka.bootstrap} refused the login of {kafka.user}; "
            "check QUANTSTREAM_KAFKA__USER and QUANTSTREAM_KAFKA__PASSWORD"
        )
    if KafkaError._SSL in codes:
        return Misconfigured(
            f"Kafka at {kafka.bootstrap} could not prove over TLS who it is; set QUANTSTREAM_KAFKA__CA_FILE to the "
            "certificate of the authority that signed its own, and check that it listens for TLS there"
        )
    return Unavailable(f"no Kafka broker answers at {kafka.bootstrap}: {reason(error)}")
