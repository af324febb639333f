"""A small client of Airflow's REST API: start this DAG, how far is it; for progress bars and for tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from infra.embedded.airflow.environment import USER
from quantstream.core.errors import Misconfigured, Unavailable

FINISHED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


@dataclass(frozen=True)
class Run:
    """One run of a DAG; `state` is queued, running, success or failed; times are ISO 8601 or empty."""

    dag_id: str
    run_id: str
    state: str
    kind: str  # manual, scheduled, asset_triggered
    queued_at: str
    started_at: str
    ended_at: str

    @property
    def is_finished(self) -> bool:
        """Whether it has ended, well or not."""
        return self.state in FINISHED


@dataclass(frozen=True)
class Task:
    """One task of a run; `label` tells mapped ones apart (a symbol, a model)."""

    task_id: str
    map_index: int
    label: str
    state: str
    try_number: int
    seconds: float

    @property
    def is_finished(self) -> bool:
        """Whether it has ended, well or not."""
        return self.state in FINISHED


class AirflowApi:
    """Airflow at one address; logs in by itself and again when its token has expired."""

    def __init__(self, address: str, password: str, user: str = USER, timeout: float = 30.0) -> None:
        """`address` like http://127.0.0.1:8080; `timeout` in seconds for each answer."""
        self.address = address.rstrip("/")
        self.user = user
        self.timeout = timeout
        self._password = password
        self._token = ""

    def dag_ids(self) -> list[str]:
        """Return the DAGs that the DAG processor has read so far."""
        with self._understood():
            return [str(dag["dag_id"]) for dag in self._call("GET", "/api/v2/dags?limit=100")["dags"]]

    def import_errors(self) -> dict[str, str]:
        """Return what went wrong in each DAG file that could not be read."""
        with self._understood():
            errors = self._call("GET", "/api/v2/importErrors?limit=100")["import_errors"]
            return {str(error["filename"]): str(error["stack_trace"]) for error in errors}

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Start a DAG with its parameters `conf` and return the run's id.

        Raises: Unavailable when Airflow does not answer or has not read the DAG yet.
        """
        body = {"logical_date": None, "conf": conf or {}}
        with self._understood():
            return str(self._call("POST", f"/api/v2/dags/{quote(dag_id)}/dagRuns", body)["dag_run_id"])

    def runs(self, dag_id: str, limit: int = 10) -> list[Run]:
        """Return a DAG's newest runs, newest first."""
        path = f"/api/v2/dags/{quote(dag_id)}/dagRuns?limit={limit}&order_by=-run_after"
        with self._understood():
            return [_run(row) for row in self._call("GET", path)["dag_runs"]]

    def run(self, dag_id: str, run_id: str) -> Run:
        """Return one run."""
        with self._understood():
            return _run(self._call("GET", f"/api/v2/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}"))

    def tasks(self, dag_id: str, run_id: str) -> list[Task]:
        """Return a run's tasks, mapped ones as one each."""
        path = f"/api/v2/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}/taskInstances?limit=100"
        with self._understood():
            return [_task(row) for row in self._call("GET", path)["task_instances"]]

    def log(self, dag_id: str, run_id: str, task: Task) -> list[str]:
        """Return the messages that a task logged in its newest try."""
        run = f"/api/v2/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}"
        path = f"{run}/taskInstances/{task.task_id}/logs/{task.try_number}?map_index={task.map_index}&full_content=true"
        with self._understood():
            return [_line(entry) for entry in self._call("GET", path)["content"]]

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """Translate what reading another server's answer raises. Raises: Unavailable."""
        try:
            yield
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise Unavailable(
                f"what answers at {self.address} is not Airflow, or one of another version: {error!r}"
            ) from error

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        if not self._token:
            self._log_in()
        try:
            return self._send(method, path, body)
        except HTTPError as error:
            if error.code != 401:
                raise Unavailable(f"Airflow refused {method} {path}: {error.code} {_detail(error)}") from error
        self._log_in()
        try:
            return self._send(method, path, body)
        except HTTPError as error:
            raise Unavailable(f"Airflow refused {method} {path}: {error.code} {_detail(error)}") from error

    def _log_in(self) -> None:
        self._token = ""
        try:
            answer = self._send("POST", "/auth/token", {"username": self.user, "password": self._password})
        except HTTPError as error:
            if error.code == 401:
                raise Misconfigured(
                    f"Airflow at {self.address} does not know this password; it belongs to another state folder"
                ) from error
            raise Unavailable(f"Airflow did not log {self.user} in: {error.code} {_detail(error)}") from error
        self._token = str(answer["access_token"])

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        """Send one request. Raises: HTTPError for a refusal, Unavailable when nothing sensible answers."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        try:
            with urlopen(Request(self.address + path, data, headers, method=method), timeout=self.timeout) as answer:
                return json.loads(answer.read() or b"null")
        except HTTPError:
            raise
        except (URLError, HTTPException, OSError, ValueError, RecursionError) as error:
            raise Unavailable(f"Airflow does not answer at {self.address}: {error}") from error


def _run(row: dict[str, Any]) -> Run:
    return Run(
        dag_id=str(row["dag_id"]),
        run_id=str(row["dag_run_id"]),
        state=str(row["state"]),
        kind=str(row["run_type"]),
        queued_at=str(row.get("queued_at") or ""),
        started_at=str(row.get("start_date") or ""),
        ended_at=str(row.get("end_date") or ""),
    )


def _task(row: dict[str, Any]) -> Task:
    return Task(
        task_id=str(row["task_id"]),
        map_index=int(row["map_index"]),
        label=str(row.get("rendered_map_index") or ""),
        state=str(row["state"] or "none"),
        try_number=int(row["try_number"]),
        seconds=float(row.get("duration") or 0.0),
    )


def _line(entry: Any) -> str:
    """Return a log entry's message, with the exception's own sentence where it reports one."""
    if not isinstance(entry, dict):
        return str(entry)
    errors = [f"{error.get('exc_type')}: {error.get('exc_value')}" for error in entry.get("error_detail") or []]
    return ": ".join([str(entry.get("event", "")), *errors])


def _detail(error: HTTPError) -> str:
    try:
        return str(json.loads(error.read()).get("detail", error.reason))
    except (ValueError, AttributeError, OSError, HTTPException, RecursionError):
        return str(error.reason)
