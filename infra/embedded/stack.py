"""The embedded stack as one thing: start it, find it running, stop it, remove it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection, Sequence

from infra.embedded import orphan_processes
from infra.embedded.airflow import environment
from infra.embedded.jars import cache_folder, fetch_jars
from infra.embedded.plan import Plan
from infra.embedded.processes import Process, process_table
from infra.embedded.start_order import PATIENCE, Startup
from infra.embedded.state import Stack, State, write_private
from infra.embedded.supervisor import Supervisor, start_supervisor
from quantstream.core.errors import Unavailable

STOP_PATIENCE = 40.0  # seconds; the slowest process may take 30
LAST = ("broker",)  # stopped when all that writes to it has stopped

Report = Callable[[Startup], None]


def is_running(state: State) -> bool:
    """Whether a supervisor answers for this state."""
    return state.socket.exists() and Supervisor(state).is_running()


def start(plan: Plan, report: Report, only: Collection[str] | None = None, patience: float = PATIENCE) -> Supervisor:
    """Start a plan's processes (or `only` some of them) and return when all are ready. On failure nothing is left running.

    Raises: Misconfigured, Unavailable.
    """
    state = plan.state
    jars = fetch_jars(cache_folder())
    if not jars.is_dir():
        raise Unavailable(f"{jars} went away")
    processes = [process for process in process_table(plan) if only is None or process.name in only]
    _prepare(plan, processes)
    try:
        supervisor = start_supervisor(state, processes)
        Startup(processes, supervisor, {"broker": lambda: _make_topics(plan)}).run(report, patience)
    except BaseException:  # also Ctrl-C: whatever the reason, a start that failed leaves nothing running
        stop(state)
        raise
    return supervisor


def _prepare(plan: Plan, processes: Sequence[Process]) -> None:
    state = plan.state
    state.make()
    for folder in ("kafka", "lake", "mlflow", "exchange"):
        (state.folder / folder).mkdir(exist_ok=True)
    state.artifacts.mkdir(exist_ok=True)
    environment.prepare(state.airflow)
    orphan_processes.end(orphan_processes.find(state))
    write_private(state.processes_file, {process.name: process.described() for process in processes})
    state.write(
        Stack(
            urls=plan.urls,
            kafka=plan.kafka,
            processes={
                process.name: {"http_port": process.http_port} for process in processes if not process.runs_once
            },
            airflow_password_file=str(state.airflow / environment.PASSWORD_FILE),
            settings=plan.environment,
            supervisor={"socket": str(state.socket), "config": str(state.supervisor_config)},
        )
    )


def _make_topics(plan: Plan) -> None:
    from quantstream.kafka import ensure_topics

    ensure_topics(plan.settings.kafka.model_copy(update={"bootstrap": plan.kafka}))


def stop(state: State, report: Callable[[str], None] = lambda _: None) -> int:
    """Stop everything of a state, the broker last; return how many processes had to be found by their mark.

    Raises: Unavailable when something survives even that.
    """
    if is_running(state):
        _stop_by_supervisor(Supervisor(state), report)
    found = orphan_processes.find(state)
    orphan_processes.end(found)
    if left := orphan_processes.find(state):
        pids = ", ".join(str(process.pid) for process in left)
        raise Unavailable(f"some processes of {state.folder} do not end (pids {pids}); end them by hand")
    state.socket.unlink(missing_ok=True)
    state.session_file.unlink(missing_ok=True)
    if state.socket.parent != state.folder:
        shutil.rmtree(state.socket.parent, ignore_errors=True)
    return len(found)


def _stop_by_supervisor(supervisor: Supervisor, report: Callable[[str], None]) -> None:
    """Ask politely, in two waves; what this leaves is found by its mark."""
    try:
        names = [name for name, seen in supervisor.processes().items() if seen.state not in ("stopped", "exited")]
        for wave in ([name for name in names if name not in LAST], [name for name in names if name in LAST]):
            for name in wave:
                supervisor.stop(name)
            _wait_until_stopped(supervisor, wave, report)
        supervisor.shut_down()
        deadline = time.monotonic() + STOP_PATIENCE
        while supervisor.is_running() and time.monotonic() < deadline:
            time.sleep(0.05)
    except Unavailable as error:
        report(str(error))


def _wait_until_stopped(supervisor: Supervisor, names: Collection[str], report: Callable[[str], None]) -> None:
    deadline = time.monotonic() + STOP_PATIENCE
    left: list[str] = list(names)
    while left and time.monotonic() < deadline:
        seen = supervisor.processes()
        still = [name for name in left if seen[name].state not in ("stopped", "exited", "fatal")]
        if still != left:
            report(", ".join(still))
        left = still
        time.sleep(0.1)


def remove(state: State) -> None:
    """Stop a stack and remove its state folder, and its models where they are kept outside."""
    stop(state)
    for path in state.artifacts.iterdir() if state.artifacts.is_dir() else ():
        if path.name != "README.md":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(state.folder, ignore_errors=False) if state.folder.exists() else None
