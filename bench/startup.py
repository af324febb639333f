"""`quantstream up` from the command to everything ready, on to the first models serving, and the memory of the whole stack."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from bench.measure import result
from infra.cli.champions import champions
from infra.embedded.state import State
from infra.embedded.supervisor import Supervisor
from quantstream.messages.models import MODEL_NAMES

READY, AIM_READY = 60, 30  # s
MEMORY, AIM_MEMORY = 4.0, 3.0  # GB of PSS
PATIENCE = 600.0
SETTLE = 15.0  # seconds after ready: imports that are put off have been made
COMMAND = [sys.executable, "-m", "infra.cli.commands"]


def main(argv: list[str] | None = None) -> int:
    """Measure, print, return the exit code."""
    options = result.parser(__doc__ or "")
    given = options.parse_args(argv)
    if given.quick:
        return result.show(_quick(), given.json)
    with tempfile.TemporaryDirectory(prefix="bench-startup-") as folder:
        found = _measure(Path(folder) / "state")
    return result.show(found, given.json)


def _measure(state: Path) -> dict[str, Any]:
    environment = environment_of(state)
    began = time.monotonic()
    try:
        _run(["up", "--detach"], environment)
        ready = time.monotonic() - began
        peak = _wait_for_models(state, environment["QUANTSTREAM_PORTS__MLFLOW"])
        trained = time.monotonic() - began
        time.sleep(SETTLE)
        memory = stack_memory(state)
    finally:
        _run(["down"], environment)
    total = sum(memory.values())
    rows = [
        result.Row("quantstream up: ready", "s", round(ready, 1), READY, AIM_READY, better="lower"),
        result.Row("quantstream up: first models serve", "s", round(trained, 1), better="lower"),
        result.Row("whole stack, PSS", "GB", round(total / 1024, 2), MEMORY, AIM_MEMORY, better="lower"),
        result.Row("whole stack, PSS, most while training", "GB", round(peak / 1024, 2), better="lower"),
    ]
    return result.report(
        "startup",
        rows,
        False,
        ready_s=round(ready, 1),
        trained_s=round(trained, 1),
        pss_mb=round(total),
        pss_training_mb=round(peak),
        processes={name: round(size) for name, size in sorted(memory.items(), key=lambda pair: -pair[1])},
    )


def _wait_for_models(state: Path, port: str) -> float:
    """Return when all models have a champion; what the stack took at most until then, MB of PSS."""
    peak, deadline = 0.0, time.monotonic() + PATIENCE
    while len(champions(f"http://127.0.0.1:{port}")) < len(MODEL_NAMES):
        if time.monotonic() > deadline:
            raise RuntimeError(f"the first models did not serve within {PATIENCE:.0f} s")
        peak = max(peak, sum(stack_memory(state).values()))
        time.sleep(1)
    return peak


def _quick() -> dict[str, Any]:
    """Show that the command answers and that memory can be read, without starting anything."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-startup-") as folder:
        _run(["--help"], environment_of(Path(folder)))
    row = result.Row("quantstream --help", "s", round(time.monotonic() - began, 2), better="lower")
    return result.report("startup", [row], True, processes={"bench": round(pss_mb(psutil.Process()))})


def environment_of(state: Path) -> dict[str, str]:
    """Return the environment of a stack of its own, with free ports."""
    from infra.embedded.free_ports import free_ports

    own = {name: value for name, value in os.environ.items() if not name.startswith("QUANTSTREAM_")}
    for page, port in zip(("DASHBOARD", "AIRFLOW", "MLFLOW"), free_ports(3), strict=True):
        own[f"QUANTSTREAM_PORTS__{page}"] = str(port)
    return own | {"QUANTSTREAM_STATE": str(state)}


def _run(arguments: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(
        [*COMMAND, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(arguments)} ended with {done.returncode}: {(done.stderr or done.stdout)[-2000:]}"
        )


def stack_memory(state: Path) -> dict[str, float]:
    """Return the PSS in MB of every process of a stack by name, children included, as its supervisor knows them."""
    supervisor = Supervisor(State.at(state))
    found = {"supervisord": pss_mb(psutil.Process(supervisor.pid()))}
    for name, seen in supervisor.processes().items():
        if seen.pid:
            found[name] = _family_mb(seen.pid)
    return found


def _family_mb(pid: int) -> float:
    total = 0.0
    with suppress(psutil.NoSuchProcess):  # a task of Airflow may end meanwhile
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += pss_mb(one)
    return total


def pss_mb(process: psutil.Process) -> float:
    """Return a process's share of memory: pages shared by n processes count as an n-th."""
    return float(process.memory_full_info().pss) / 1024**2


if __name__ == "__main__":
    sys.exit(main())
