"""Time and chance of the whole Python process, replaced before the stages are imported: in a world they are the world's.

`time.monotonic`, `time.time` and `time.sleep` are what the stages call, at times as default arguments taken at import. Where no
world runs they are the real ones. `tests/dst/purity.py` looks for ways around them.
"""

from __future__ import annotations

import sys
import time

from tests.dst import simulation

REAL_MONOTONIC, REAL_TIME, REAL_TIME_NS, REAL_SLEEP = time.monotonic, time.time, time.time_ns, time.sleep


def _monotonic() -> float:
    sim = simulation.world()
    return REAL_MONOTONIC() if sim is None else sim.now / simulation.SECOND


def _time_ns() -> int:
    sim = simulation.world()
    return REAL_TIME_NS() if sim is None else (simulation.EPOCH + sim.now) * 1000


def _time() -> float:
    sim = simulation.world()
    return REAL_TIME() if sim is None else (simulation.EPOCH + sim.now) / simulation.SECOND


def _sleep(seconds: float) -> None:
    if simulation.world() is None:
        REAL_SLEEP(seconds)
    else:
        simulation.me().wait(max(1, int(seconds * simulation.SECOND)))


def install() -> None:
    """Put virtual time in place.

    Raises: RuntimeError when a stage was imported before: it may hold the real clock.
    """
    early = sorted(name for name in sys.modules if name.split(".")[0] in ("quantstream", "streaming", "ml"))
    if early and time.monotonic is REAL_MONOTONIC:
        raise RuntimeError(f"virtual time must be there before {early[0]} is imported; run python -m tests.dst")
    time.monotonic, time.time, time.time_ns, time.sleep = _monotonic, _time, _time_ns, _sleep  # type: ignore[assignment]
