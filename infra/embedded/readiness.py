"""Whether a process does its work yet, by asking it: an address per process, so that readiness is data."""

from __future__ import annotations

import json
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.parse import urldefrag
from urllib.request import ProxyHandler, build_opener

from quantstream.core.errors import Unavailable

TIMEOUT = 2.0  # seconds; all is on this machine
_opener = build_opener(ProxyHandler({}))  # loopback is never behind a proxy


def is_ready(address: str, timeout: float = TIMEOUT) -> bool:
    """Ask a readiness address.

    `http://…` answers 200; `kafka://HOST:PORT` lists its topics; `airflow+http://…/health#PART` says that part is healthy.
    """
    scheme, _, rest = address.partition("://")
    if scheme == "kafka":
        return _kafka_answers(rest, timeout)
    if scheme == "airflow+http":
        url, part = urldefrag(f"http://{rest}")
        body = fetch(url, timeout)
        return body is not None and _part_is_healthy(body, part)
    return fetch(address, timeout) is not None


def fetch(url: str, timeout: float = TIMEOUT) -> bytes | None:
    """Return the body that a local address answers with status 200, or None."""
    answer = ask(url, timeout)
    return answer[1] if answer is not None and answer[0] == 200 else None


def ask(url: str, timeout: float = TIMEOUT) -> tuple[int, bytes] | None:
    """Return a local address's status and answer, or None when nothing answers."""
    try:
        try:
            with _opener.open(url, timeout=timeout) as answer:
                return int(answer.status), answer.read()
        except HTTPError as error:
            return error.code, error.read()  # a refusal may also break off in its middle
    except (URLError, HTTPException, OSError):  # not there yet: the caller asks again
        return None


def _part_is_healthy(body: bytes, part: str) -> bool:
    try:
        return bool(json.loads(body)[part]["status"] == "healthy")
    except (ValueError, KeyError, TypeError):
        return False


def _kafka_answers(bootstrap: str, timeout: float) -> bool:
    import socket

    host, _, port = bootstrap.partition(":")
    try:
        socket.create_connection((host, int(port)), timeout).close()  # refuses at once, where a Kafka client would wait
    except OSError:
        return False
    from quantstream.kafka import partition_counts
    from quantstream.settings import Kafka

    try:
        partition_counts(Kafka(bootstrap=bootstrap), timeout)
    except Unavailable:
        return False
    return True
