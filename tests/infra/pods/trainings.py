"""The first training of the system of pods, as Airflow tells of it: nobody starts it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from infra.embedded.airflow.api import Run
from quantstream.core.errors import Unavailable
from tests.infra.pods.conftest import System

PATIENCE = 1500.0  # seconds for a training that shares two cores with everything else


def wait_for(what: Callable[[], Any], seconds: float, told: Callable[[], str]) -> Any:
    """Wait until something is true; return it."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, told()
        time.sleep(3)
    return found


def newest(system: System, pipeline: str) -> Run | None:
    """Return the newest run of a pipeline, if there is one and Airflow is not too busy to say so."""
    with suppress(Unavailable):
        return next(iter(system.airflow.runs(pipeline)), None)
    return None


def trained(system: System) -> Run | None:
    """Return the newest run of the training once it has ended."""
    run = newest(system, "models_train")
    return run if run and run.is_finished else None


def until_trained(system: System) -> Run:
    """Wait until a training has ended; return its run."""
    run: Run = wait_for(lambda: trained(system), PATIENCE, lambda: failures(system))
    return run


def failures(system: System) -> str:
    """Return what the tasks' pods said, those that failed first."""
    logs = sorted(system.kubelet.logs.items(), key=lambda one: "Traceback" not in one[1])
    return (
        "\n".join(f"{name}: {log[-1500:]}" for name, log in logs[:5]) or system.pod("airflow-scheduler").log()[-3000:]
    )
