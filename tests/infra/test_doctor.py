"""The doctor: each finding is ok or says what to do."""

from __future__ import annotations

import socket
from datetime import date
from pathlib import Path

import pytest

from infra.cli import doctor
from infra.cli.doctor import Finding
from infra.embedded.jars import KAFKA_VERSION
from infra.embedded.state import State
from quantstream.settings import Ports, Settings
from quantstream.settings_loader import load_settings


@pytest.mark.parametrize("found", [(3, 11), (3, 12), (3, 13)])
def test_supported_python_is_ok(found: tuple[int, int]) -> None:
    assert doctor.check_python(found) == Finding("Python", True, f"3.{found[1]}")


@pytest.mark.parametrize("found", [(3, 10), (3, 14)])
def test_other_python_is_told_how_to_choose_one(found: tuple[int, int]) -> None:
    finding = doctor.check_python(found)
    assert not finding.is_ok
    assert "QUANTSTREAM_PYTHON" in finding.text


def test_missing_package_is_named() -> None:
    assert doctor.check_packages(["pandas", "no-such-package"]) == Finding(
        "packages", False, "no-such-package not installed; run make setup"
    )


def test_missing_jars_are_said_with_the_way_to_fetch_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANTSTREAM_CACHE", str(tmp_path))
    text = f"its jars are not in {tmp_path}/kafka-{KAFKA_VERSION} yet; run make jars once with a network"
    assert doctor.check_jars() == Finding("Kafka", False, text)


def test_schedules_that_ran_out_are_said() -> None:
    text = (
        "releases known: consumer_prices until 2026-12-31, employment until 2026-12-31, fed_decision until 2028-01-26"
    )
    assert doctor.check_schedules(today=date(2026, 11, 25)) == Finding("schedules", True, text)
    late = doctor.check_schedules(today=date(2027, 1, 1))
    assert not late.is_ok
    assert "the U.S. consumer price index comes is known until 2026-12-31 only" in late.text
    assert "quantstream calendar renew FILE" in late.text


def test_taken_port_is_named_with_its_holder() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        settings = load_settings(ports=Ports(mlflow=port))
        finding = doctor.check_ports(settings, is_running=False)
        assert not finding.is_ok
        assert f"{port} for mlflow by" in finding.text
        assert doctor.check_ports(settings, is_running=True) == Finding("ports", True, "in use by the running stack")


def test_damaged_state_is_found(state: State) -> None:
    state.stack_file.write_text("[")
    finding = doctor.check_state(state)
    assert not finding.is_ok
    assert "is damaged" in finding.text


def test_folder_that_is_not_there_yet_is_fine(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    assert doctor.check_state(State.at(folder)) == Finding("state", True, f"{folder} will be made")
    assert not folder.exists()


def test_everything_is_examined(settings: Settings) -> None:
    findings = doctor.examine(State.at(settings.state), settings)
    assert [finding.what for finding in findings] == [
        *("Python", "packages", "Java", "Kafka", "memory", "schedules", "disk", "ports", "state", "processes"),
    ]
