"""The embedded stack's own processes under its own supervisor: broker, exchange and stages, nothing that people look at."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from infra.embedded import stack
from infra.embedded.free_ports import free_ports
from infra.embedded.plan import Market, Plan, make_plan
from infra.embedded.processes import Process, process_table
from infra.embedded.readiness import fetch, is_ready
from infra.embedded.start_order import Startup
from infra.embedded.state import State, write_private
from infra.embedded.supervisor import Supervisor, start_supervisor
from quantstream.kafka import ensure_topics
from quantstream.lake.store import Lake
from quantstream.settings import PARTITIONS, Kafka
from quantstream.settings_loader import load_settings
from tests.chaos.exchange import Exchange
from tests.chaos.schedule import STAGES, replica

WITH_RULE = ("detect", "score")
WHOLE = ("broker", "exchange", *STAGES)


@dataclass(frozen=True)
class Size:
    """What runs: symbols, how fast the exchange's clock goes, trades per exchange second of the busiest symbol.

    `replicas` are the numbers of those that each stage has beside its first process; they are not started.
    """

    symbols: tuple[str, ...] = ("BTCUSDT", "ETHUSDT", "XRPUSDT")
    intervals: tuple[str, ...] = ("1m", "5m")
    speed: float = 40.0
    trades_per_second: float = 4.0
    sink_commit_ms: int = 1000
    commit_ms: int = 100
    partitions: int = PARTITIONS
    replicas: tuple[int, ...] = ()
    history_days: int = 1


@dataclass
class Platform:
    """The running processes and the doors to what they made."""

    state: State
    plan: Plan
    processes: Mapping[str, Process]
    supervisor: Supervisor
    size: Size

    @property
    def kafka(self) -> Kafka:
        """Where the broker is."""
        return Kafka(bootstrap=self.plan.kafka)

    @property
    def lake(self) -> Lake:
        """What the sink wrote."""
        return Lake(str(self.state.folder / "lake"))

    @property
    def exchange(self) -> Exchange:
        """Where the truth is."""
        return Exchange(self.plan.urls["exchange_rest"])

    def pid(self, name: str) -> int | None:
        """Return the living process's pid."""
        return self.supervisor.processes()[name].pid

    def log(self, name: str, since: int = 0) -> str:
        """Return what a process said after so many characters; those that are not text count as one each."""
        whole = ""
        for suffix in (".log.2", ".log.1", ".log"):
            path = self.state.logs / f"{name}{suffix}"
            whole += path.read_text(errors="replace") if path.exists() else ""
        return whole[since:]

    def is_ready(self, name: str) -> bool:
        """Whether a process says that it does its work."""
        return is_ready(self.processes[name].ready)

    def metrics(self, name: str) -> bytes:
        """Return a stage's metrics page, empty while it is down."""
        return fetch(f"http://127.0.0.1:{self.processes[name].http_port}/metrics") or b""

    def wait_until_ready(self, seconds: float = 120) -> list[str]:
        """Wait for all of them; return those that are not ready in time."""
        deadline = time.monotonic() + seconds
        left = [name for name in self.processes if name in WHOLE]
        while left and time.monotonic() < deadline:
            left = [name for name in left if not self.is_ready(name)]
            time.sleep(0.2)
        return left


@contextmanager
def running(
    folder: Path,
    size: Size,
    seed: int,
    module: str = "tests.chaos.stage",
    env: Mapping[str, str] | None = None,
) -> Iterator[Platform]:
    """Run the platform on a state folder of its own; leave nothing running. `env` is the stages' alone."""
    state = State.at(folder)
    settings = load_settings(state=state.folder, symbols=",".join(size.symbols))
    plan = make_plan(settings, Market(speed=size.speed, seed=seed), {})
    state.make()
    for name in ("kafka", "lake", "exchange"):
        (state.folder / name).mkdir(exist_ok=True)
    processes = {process.name: process for process in _processes(plan, size, module, env or {})}
    write_private(state.processes_file, {name: process.described() for name, process in processes.items()})
    try:
        supervisor = start_supervisor(state, processes.values())
        topics = {"broker": lambda: ensure_topics(Kafka(bootstrap=plan.kafka, partitions=size.partitions))}
        first = [process for name, process in processes.items() if name in WHOLE]
        Startup(first, supervisor, topics).run(lambda _: None)
        yield Platform(state, plan, processes, supervisor, size)
    finally:
        stack.stop(state)


def _processes(plan: Plan, size: Size, module: str, env: Mapping[str, str]) -> list[Process]:
    own = {
        "QUANTSTREAM_INTERVALS": ",".join(size.intervals),
        "QUANTSTREAM_SINK_COMMIT_MS": str(size.sink_commit_ms),
        "QUANTSTREAM_COMMIT_MS": str(size.commit_ms),
        "QUANTSTREAM_KAFKA__PARTITIONS": str(size.partitions),
        **env,
    }
    processes = []
    for process in process_table(plan):
        if process.name not in WHOLE:
            continue
        argv = list(process.argv)
        if process.name == "exchange":
            argv += ["--trades-per-second", str(size.trades_per_second), "--history-days", str(size.history_days)]
            argv += ["--weight-limit", "1000000"]  # the judge asks a lot
            argv = [part for part in argv if part != "--truth" and not part.endswith("truth.jsonl")]
        if process.name in WITH_RULE:
            argv = [sys.executable, "-m", module, process.name]
        after = [name for name in process.after if name in WHOLE]
        processes.append(replace(process, argv=argv, after=after, env={**process.env, **own}))
    return processes + _replicas(plan, size, processes)


def _replicas(plan: Plan, size: Size, processes: list[Process]) -> list[Process]:
    """The stages' further processes, told apart as pods are."""
    stages = [process for process in processes if process.name in STAGES]
    used = {plan.kafka_port, plan.controller_port, plan.exchange_port, *plan.http_ports.values(), *plan.pages.values()}
    ports = iter(free_ports(len(stages) * len(size.replicas), used))
    found = []
    for number in size.replicas:
        for stage in stages:
            port = next(ports)
            env = {**stage.env, "QUANTSTREAM_HTTP_PORT": str(port), "QUANTSTREAM_INSTANCE": str(number)}
            ready = f"http://127.0.0.1:{port}/readyz"
            found.append(replace(stage, name=replica(stage.name, number), ready=ready, env=env, http_port=port))
    return found
