"""How every client reaches the broker, and what its refusals say."""

from __future__ import annotations

import logging
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from quantstream.settings import Kafka

TIMEOUT = 15.0  # seconds for an answer of the broker
Partition = tuple[str, int]  # topic's name and partition's number


def connection(kafka: Kafka) -> dict[str, Any]:
    """Return the client settings that every consumer, producer and admin shares."""
    config: dict[str, Any] = {"bootstrap.servers": kafka.bootstrap, "security.protocol": kafka.security}
    if kafka.ca_file:
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
    """Return what the client library says went wrong."""
    first = error.args[0]
    return first.str() if isinstance(first, KafkaError) else str(error)
