"""The broker on one core and the stage on another: what a figure "per core" means."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from bench.measure import machine, source
from quantstream.settings import Kafka


@contextmanager
def broker_apart(bootstrap: str | None = None) -> Iterator[Kafka]:
    """Yield a broker; an embedded one keeps to the first core, this process from now on to the last."""
    if bootstrap or not hasattr(os, "sched_setaffinity"):
        machine.pin()
        with source.broker(bootstrap) as kafka:
            yield kafka
        return
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[0]})  # what is started now inherits it
    try:
        with source.broker() as kafka:
            os.sched_setaffinity(0, {cores[-1]})
            yield kafka
    finally:
        os.sched_setaffinity(0, set(cores))
