"""Ports: the wanted one, the next free one with a word about it, or a clear no."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.embedded import free_ports
from quantstream.core.errors import Misconfigured


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_free_port_that_is_wanted_is_chosen_without_a_word() -> None:
    port = free_ports.free_port()
    assert free_ports.choose("dashboard", port, is_named=True) == free_ports.Choice(port, "")


def test_taken_default_moves_to_the_next_free_port_and_says_who_holds_it(taken: int) -> None:
    choice = free_ports.choose("dashboard", taken, is_named=False)
    assert choice.port > taken
    assert free_ports.is_free(choice.port)
    assert f"port {taken} for dashboard is taken by" in choice.note
    assert f"(pid {os.getpid()})" in choice.note
    assert f"using {choice.port}" in choice.note


def test_taken_port_that_the_person_named_is_refused(taken: int) -> None:
    with pytest.raises(Misconfigured, match=f"port {taken} for mlflow is taken by .*--mlflow-port"):
        free_ports.choose("mlflow", taken, is_named=True)


def test_port_promised_to_another_page_is_not_given_twice() -> None:
    port = free_ports.free_port()
    assert free_ports.choose("airflow", port, is_named=False, avoid={port}).port != port


@pytest.mark.parametrize("port", [0, -1, 65_536])
def test_impossible_port_is_refused(port: int) -> None:
    with pytest.raises(Misconfigured, match="is not a port for dashboard"):
        free_ports.choose("dashboard", port, is_named=True)


@pytest.mark.parametrize(
    ("outgoing", "chosen"),
    [
        ("32768\t60999\n", range(20_000, 32_000)),
        ("16000 65535", range(4_000, 16_000)),
        ("9000 30000", range(30_001, 65_536)),
        ("1024 65535", range(20_000, 32_000)),  # no room outside it
        ("", range(20_000, 32_000)),
    ],
)
def test_internal_ports_are_none_that_an_outgoing_connection_may_take(
    outgoing: str, chosen: range, tmp_path: Path
) -> None:
    (tmp_path / "range").write_text(outgoing)
    assert free_ports.internal_ports(tmp_path / "range") == chosen


def test_internal_ports_are_the_usual_ones_where_the_system_does_not_say(tmp_path: Path) -> None:
    assert free_ports.internal_ports(tmp_path / "absent") == free_ports.INTERNAL


def test_ports_asked_for_together_are_different() -> None:
    assert len(set(free_ports.free_ports(200))) == 200


def test_internal_port_is_never_one_to_avoid() -> None:
    port = free_ports.free_port(rng=random.Random(1))
    assert port in free_ports.internal_ports()
    assert free_ports.free_port(avoid={port}, rng=random.Random(1)) != port
