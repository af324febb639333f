"""Whatever JSON another server or a damaged file holds in the place of what was promised is told in one sentence."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dashboard.stage_status import read_addresses
from infra.cli import champions
from infra.cli.checks import check_exchange, check_same_market
from infra.embedded import orphan_processes
from infra.embedded.airflow import environment
from infra.embedded.airflow.api import AirflowApi, Task
from infra.embedded.state import State
from quantstream.core.errors import Misconfigured, QuantStreamError, Unavailable
from quantstream.settings_loader import load_settings
from tests.unit.json_values import values

TOLD = st.sampled_from(
    [
        *("urls", "processes", "http_port", "market", "files", "session", "created", "admin", "model_version", "tags"),
        *("version", "error_code", "symbols", "symbol", "status", "code", "dags", "dag_id", "dag_runs", "content"),
        *("import_errors", "task_instances", "metadatabase", "scheduler", "error_detail", "access_token"),
    ]
)
ODD = values(TOLD)


class _Airflow(AirflowApi):
    def __init__(self, answer: Any) -> None:
        super().__init__("http://airflow", "secret")
        self._answer = answer

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        return {"access_token": "t"} if path == "/auth/token" else self._answer


def _told(action: Callable[[], Any], *errors: type[QuantStreamError]) -> None:
    """Do it; a sentence of ours is as right as an answer."""
    try:
        action()
    except errors as error:
        assert str(error)  # noqa: PT017  (either is right)


@given(ODD)
@example([])
@example({"dags": [5], "dag_runs": {"a": 1}, "content": [{"error_detail": [3]}], "import_errors": "no"})
def test_what_is_not_airflow_is_unavailable(odd: Any) -> None:
    api = _Airflow(odd)
    task = Task("task", -1, "", "success", 1, 1.0)
    questions: list[Callable[[], Any]] = [
        *(api.dag_ids, api.import_errors, lambda: api.trigger("dag")),
        *(lambda: api.runs("dag"), lambda: api.run("dag", "run"), lambda: api.tasks("dag", "run")),
        lambda: api.log("dag", "run", task),
    ]
    for ask in questions:
        _told(ask, Unavailable)


@given(ODD, st.sampled_from([200, 404, 500]))
@example({"model_version": "seven"}, 200)
@example({"model_version": {"version": 1, "tags": {"a": 1}}}, 200)
def test_what_is_not_the_registry_is_unavailable(odd: Any, status: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(champions, "ask", lambda url: (status, json.dumps(odd).encode()))
        _told(lambda: champions.champions("http://mlflow"), Unavailable)


@given(ODD)
def test_what_is_not_the_exchange_is_told(odd: Any) -> None:
    settings = load_settings(exchange="binance", symbols="BTCUSDT")
    _told(lambda: check_exchange(settings, lambda path, query: odd), Misconfigured)


@given(ODD)
@example({"urls": None, "processes": {"mlflow": {"http_port": None}}})
@example({"urls": [], "processes": {"mlflow": {"http_port": None}}})
@example({"urls": {"mlflow": 5}, "processes": {"mlflow": {"http_port": None}}})
@example({"market": None})
@example({"market": {"files": 5}})
@example({"session": None, "created": 1})
@example([])
def test_damaged_files_of_the_state_are_told_of(odd: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        state = State.at(Path(folder))
        clock = state.folder / "exchange" / "clock.json"
        clock.parent.mkdir()
        passwords = state.folder / environment.PASSWORD_FILE
        for path in (state.stack_file, state.processes_file, state.session_file, clock, passwords):
            path.write_text(json.dumps(odd))
        _told(lambda: read_addresses(state.stack_file), Unavailable)
        _told(state.read, Misconfigured)
        _told(state.described, Misconfigured)
        _told(lambda: check_same_market(state.folder, None), Misconfigured)
        _told(lambda: environment.password(state.folder), Misconfigured)
        orphan_processes._session(state)
