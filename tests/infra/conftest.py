"""A plan on free ports, a tiny process table under a real supervisor, and the command line as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from infra.embedded import stack
from infra.embedded.plan import Market, Plan
from infra.embedded.state import PROJECT, State
from quantstream.settings import Settings
from quantstream.settings_loader import load_settings

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    """A state folder that is stopped at the end, whatever the test left running."""
    place = State.at(tmp_path / "state")
    place.make()
    yield place
    stack.stop(place)


@pytest.fixture
def plan(state: State) -> Plan:
    """A plan with fixed ports; nothing listens on them unless a test does."""
    return Plan(
        state=state,
        settings=load_settings(state=state.folder, symbols="BTCUSDT,ETHUSDT"),
        market=Market(),
        pages={"dashboard": 8501, "airflow": 8080, "mlflow": 5000},
        kafka_port=9092,
        controller_port=9093,
        exchange_port=9094,
        http_ports={"ingest": 9101, "aggregate": 9102, "detect": 9103, "sink": 9104, "score": 9105},
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Default settings with a state folder of the test's own."""
    return load_settings(state=tmp_path / "state")


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Run `quantstream …` as a user does, with only the settings that are given."""

    def run(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("QUANTSTREAM_")}
        command = [sys.executable, "-m", "infra.cli.commands", *arguments]
        environment = own | {"QUANTSTREAM_STATE": str(tmp_path / "state")} | dict(env or {})
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=120, check=False, cwd=PROJECT
        )

    return run
