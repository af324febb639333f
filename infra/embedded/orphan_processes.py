"""Processes that a stack left behind: known by a mark in their environment or by their session, ended by their pids only.

Some programs write their title over their environment (setproctitle), so the mark alone would miss them; all of a stack runs in
the session that its supervisor opened, which a child keeps when its parent dies.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress

import psutil

from infra.embedded.state import PROJECT, State, write_private

STATE_MARK = "EMBEDDED_STACK_STATE"  # in the environment of every process of a stack
NAME_MARK = "EMBEDDED_STACK_PROCESS"
PATIENCE = 10.0  # seconds to end cleanly
SAME_START = 2.0  # seconds; a pid that was given out again started at another time


def record_session(state: State, supervisor_pid: int) -> None:
    """Note the session that a stack's processes will be in."""
    created = psutil.Process(supervisor_pid).create_time()
    write_private(state.session_file, {"session": os.getsid(supervisor_pid), "created": created})


def find(state: State) -> list[psutil.Process]:
    """Return the living processes of a stack, never this one or one that started it."""
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    session = _session(state)
    return [
        process for process in psutil.process_iter() if process.pid not in own and _belongs(process, state, session)
    ]


def _belongs(process: psutil.Process, state: State, session: tuple[int, float] | None) -> bool:
    with suppress(psutil.Error, OSError):  # gone meanwhile, or another user's
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if process.environ().get(STATE_MARK) == str(state.folder):
            return True
        if session and os.getsid(process.pid) == session[0]:
            return bool(process.create_time() >= session[1] - SAME_START and process.cwd() == str(PROJECT))
    return False


def _session(state: State) -> tuple[int, float] | None:
    """Return the recorded session and when its leader started, or None when its number was given to another since."""
    try:
        recorded = json.loads(state.session_file.read_text())
        session, created = int(recorded["session"]), float(recorded["created"])
    except (OSError, ValueError, LookupError, TypeError, OverflowError, RecursionError):
        return None
    with suppress(psutil.NoSuchProcess):
        if abs(psutil.Process(session).create_time() - created) > SAME_START:
            return None
    return session, created


def orphans(supervisor: int) -> list[psutil.Process]:
    """Return the processes of a supervisor's session that are no descendants of it: their parent was killed."""
    session = os.getsid(supervisor)
    pids = psutil.pids()  # before the family, so that a child born meanwhile is in neither or in both
    family = {supervisor, *(child.pid for child in psutil.Process(supervisor).children(recursive=True))}
    found = []
    for pid in pids:
        with suppress(psutil.Error, OSError):
            if pid not in family and os.getsid(pid) == session:
                found.append(psutil.Process(pid))
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
