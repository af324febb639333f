"""Where a figure was measured: package versions, processor, load; and how a measurement keeps to one core."""

from __future__ import annotations

import datetime as dt
import os
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "confluent-kafka",
    "deltalake",
    "duckdb",
    "msgspec",
    "numpy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "xgboost",
)
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}


def describe(packages: Iterable[str] = ()) -> dict[str, Any]:
    """Return versions (of `PACKAGES` and those named), processor, cores, load average and date as JSON values."""
    return {
        "measured_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "versions": {name: version for name in (*PACKAGES, *packages) if (version := version_of(name))},
    }


def version_of(package: str) -> str | None:
    """Return the installed version of a package, None when it is not there."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name, or the architecture where the system does not tell."""
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def pin(core: int = -1) -> int | None:
    """Keep this process, the threads and children it starts from now on, to one core; return it.

    `core` counts from the last when negative, so that the first stays free for the broker. None where the system cannot.
    Call it before a library starts its threads.
    """
    if not hasattr(os, "sched_setaffinity"):
        return None
    cores = sorted(os.sched_getaffinity(0))
    chosen = cores[core % len(cores)]
    os.sched_setaffinity(0, {chosen})
    os.environ.update(ONE_THREAD)
    return chosen


def unpinned_core(chosen: int | None) -> set[int]:
    """Return the cores that `pin` left free, for a broker or a generator; all of them where there is but one."""
    everything = set(range(os.cpu_count() or 1))
    return (everything - {chosen}) or everything
