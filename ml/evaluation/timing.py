"""How much processor time models take for the same work, side by side in one process: a busy machine is busy for all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np

ROUNDS = 9
Clock = Callable[[], float]  # seconds
_SIDE = np.random.default_rng(1).normal(size=(96, 96))


def fastest(works: Mapping[str, Callable[[], object]], clock: Clock = time.process_time) -> dict[str, float]:
    """Return each work's shortest time of some rounds, s; in each round all take turns. The first round only warms."""
    found = dict.fromkeys(works, float("inf"))
    for turn in range(ROUNDS + 1):
        for name, work in works.items():
            began = clock()
            work()
            taken = clock() - began
            if turn:
                found[name] = min(found[name], taken)
    return found


def yardstick() -> float:
    """Do a fixed piece of arithmetic, about a millisecond: what a machine is measured by where no model serves."""
    total = _SIDE
    for _ in range(20):
        total = np.tanh(total @ _SIDE / 96)
    return float(total[0, 0])
