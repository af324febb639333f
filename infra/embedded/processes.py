"""The processes of the embedded stack as data: what runs, with what environment, after what, and how it says that it is ready."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from infra.embedded.airflow import environment
from infra.embedded.plan import Plan
from infra.embedded.state import PROJECT
from quantstream.messages.stages import SINK, STAGES

THREADS = "2"  # of numeric libraries: several processes share the machine's cores
QUIET = {
    "PYTHONUNBUFFERED": "1",
    "OMP_NUM_THREADS": THREADS,
    "OMP_WAIT_POLICY": "passive",  # threads that spin while they wait took fifteen times the work of a fit on a busy machine
    "OPENBLAS_NUM_THREADS": THREADS,
    "TF_NUM_INTRAOP_THREADS": THREADS,
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "TF_ENABLE_ONEDNN_OPTS": "0",  # the same numbers on every machine
    "MALLOC_ARENA_MAX": "2",  # glibc's arenas per thread cost more memory than they save time here
    "GIT_PYTHON_REFRESH": "quiet",  # MLflow asks for git, which need not be there
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
}
YIELDING = 10  # niceness of what nobody waits for by the second: the live path's milliseconds come first
MIGRATE = "airflow-migrate"  # runs once and ends; not one of the stack's processes to a person


@dataclass(frozen=True)
class Process:
    """One process. `ready` is the address of its readiness check (`infra.embedded.readiness`); `after` must be ready first."""

    name: str
    argv: Sequence[str]
    ready: str
    after: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    http_port: int | None = None
    stop_seconds: int = 10
    runs_once: bool = False
    niceness: int = 0  # how far it gives way where there are fewer cores than work

    def described(self) -> dict[str, Any]:
        """Return it as plain data for `processes.json`."""
        return asdict(self)


def process_table(plan: Plan) -> list[Process]:
    """Return the processes of a plan, each after those that it waits for."""
    processes = [_broker(plan), *_exchange(plan), _mlflow(plan), *_stages(plan), _dashboard(plan), *_airflow(plan)]
    shared = plan.environment | QUIET
    return [_with(process, shared) for process in processes]


def _with(process: Process, shared: Mapping[str, str]) -> Process:
    return Process(**(asdict(process) | {"env": {**shared, **process.env}}))


def _broker(plan: Plan) -> Process:
    ports = ["--port", str(plan.kafka_port), "--controller-port", str(plan.controller_port)]
    argv = [sys.executable, "-m", "infra.embedded.broker", "--state", str(plan.state.folder), *ports]
    return Process("broker", argv, f"kafka://{plan.kafka}", stop_seconds=30)


def _exchange(plan: Plan) -> list[Process]:
    if not plan.is_simulated:
        return []
    folder = plan.state.folder / "exchange"
    argv = [
        *(sys.executable, "-m", "streaming", "simulate", "--host", "127.0.0.1", "--port", str(plan.exchange_port)),
        *("--symbols", ",".join(plan.settings.symbols), "--speed", f"{plan.market.speed:g}"),
        *("--clock-file", str(folder / "clock.json"), "--truth", str(folder / "truth.jsonl")),
    ]
    if plan.kind != "spot":
        argv += ["--market", plan.kind]
    if plan.market.seed is not None:
        argv += ["--seed", str(plan.market.seed)]
    if plan.market.regime:
        argv += ["--regime", plan.market.regime]
    for recording in plan.market.recordings:
        argv += ["--recording", str(recording.absolute())]
    return [Process("exchange", argv, plan.urls["exchange_ping"])]


def _mlflow(plan: Plan) -> Process:
    port = str(plan.pages["mlflow"])
    database = plan.state.folder / "mlflow" / "mlflow.db"
    argv = [
        *(
            sys.executable,
            "-m",
            "infra.embedded.mlflow_server",
            "--host",
            "127.0.0.1",
            "--port",
            port,
            "--workers",
            "1",
        ),
        *("--backend-store-uri", f"sqlite:///{database}", "--artifacts-destination", str(plan.state.artifacts)),
    ]
    env = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # a queue of background jobs that nothing here uses
    return Process("mlflow", argv, f"{plan.urls['mlflow']}/health", env=env)


def _stages(plan: Plan) -> list[Process]:
    sources = {"ingest": ("exchange",) if plan.is_simulated else ()}
    return [
        Process(
            name,
            [sys.executable, "-m", "streaming", name],
            f"http://127.0.0.1:{port}/readyz",
            after=("broker", *sources.get(name, ()), *(("mlflow",) if STAGES[name].needs_models else ())),
            env={"QUANTSTREAM_HTTP_PORT": str(port), "QUANTSTREAM_HTTP_HOST": "127.0.0.1"},
            http_port=port,
            stop_seconds=20,  # a last commit on a busy machine
            niceness=YIELDING
            if name == SINK.name
            else 0,  # its commits take both cores, and the lake is seconds behind anyway
        )
        for name, port in plan.http_ports.items()
    ]


def _dashboard(plan: Plan) -> Process:
    argv = [
        *(sys.executable, "-m", "streamlit", "run", str(PROJECT / "dashboard" / "app.py")),
        *("--server.address", "127.0.0.1", "--server.port", str(plan.pages["dashboard"]), "--server.headless", "true"),
        *("--browser.gatherUsageStats", "false", "--server.fileWatcherType", "none", "--client.toolbarMode", "minimal"),
    ]
    return Process("dashboard", argv, f"{plan.urls['dashboard']}/_stcore/health", after=("broker",))


def _airflow(plan: Plan) -> list[Process]:
    port = plan.pages["airflow"]
    env = environment.environment(plan.state.airflow, port)
    health = f"airflow+{plan.urls['airflow']}/api/v2/monitor/health"
    parts = {
        "airflow-api": "metadatabase",
        "airflow-scheduler": "scheduler",
        "airflow-dag-processor": "dag_processor",
        "airflow-triggerer": "triggerer",
    }
    processes = [Process(MIGRATE, environment.migrate_command(), "ended://", env=env, runs_once=True)]
    for name, argv in environment.commands(port).items():
        niceness = YIELDING if name == "airflow-scheduler" else 0  # its tasks train models
        ready = f"{health}#{parts[name]}"
        processes.append(Process(name, argv, ready, (MIGRATE,), env, stop_seconds=15, niceness=niceness))
    return processes
