"""Processes that a stack left behind, known by a mark in their environment, and ended by their pids only."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from infra.local.launch import NAME_MARK, STATE_MARK

PATIENCE = 10.0  # seconds to end cleanly


def find(state: Path, name: str | None = None) -> list[psutil.Process]:
    """Return the living processes of a stack (of one `name` when given), never this one or one that started it."""
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # gone meanwhile, or another user's
            if process.pid in own or process.status() == psutil.STATUS_ZOMBIE:
                continue
            environment = process.environ()
            if environment.get(STATE_MARK) == str(state) and name in (None, environment.get(NAME_MARK)):
                found.append(process)
    return found


def end(processes: Sequence[psutil.Process], patience: float = PATIENCE) -> None:
    """End processes, asking first."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(processes, timeout=patience)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=patience)
