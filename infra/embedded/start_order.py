"""Start processes in the order of their readiness, as many at once as the order allows, and say clearly which one fails."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from infra.embedded.processes import Process
from infra.embedded.readiness import is_ready
from infra.embedded.supervisor import Lives, Supervisor, Watched
from quantstream.core.errors import Misconfigured, Unavailable

TICK = 0.25  # seconds between looks
PATIENCE = 180.0  # seconds without any progress; a slow disk, a busy machine and a first import take their time
DEATHS = 4  # a process that ended so often at its start will not do better
MISUSE = 2  # exit code of a process that says that it is misconfigured


@dataclass
class Startup:
    """How far a start is: which processes were asked to run, and which are ready."""

    processes: Sequence[Process]
    supervisor: Supervisor
    on_ready: Mapping[str, Callable[[], object]] = field(default_factory=dict)
    started: set[str] = field(default_factory=set)
    ready: set[str] = field(default_factory=set)

    def run(self, report: Callable[[Startup], None], patience: float = PATIENCE) -> None:
        """Start everything and return when all of it is ready; `report` is called whenever something changed.

        Raises: Misconfigured when a process says so; Unavailable when one keeps ending or does not get ready.
        """
        deadline = time.monotonic() + patience
        with ThreadPoolExecutor(8) as pool:
            while len(self.ready) < len(self.processes):
                if self._turn(pool):
                    report(self)
                    deadline = time.monotonic() + patience
                    continue
                if time.monotonic() > deadline:
                    raise Unavailable(
                        f"{', '.join(self.waiting)} did not get ready in {patience:.0f} s; {self._where()}"
                    )
                time.sleep(TICK)

    @property
    def waiting(self) -> list[str]:
        """Processes that were started and are not ready yet."""
        return [process.name for process in self.processes if process.name in self.started - self.ready]

    def _turn(self, pool: ThreadPoolExecutor) -> bool:
        before = len(self.started) + len(self.ready)
        for process in self.processes:
            if process.name not in self.started and self.ready.issuperset(process.after):
                self.supervisor.start(process.name)
                self.started.add(process.name)
        watched, lives = self.supervisor.processes(), self.supervisor.lives()
        waiting = [process for process in self.processes if process.name in self.waiting]
        for process in waiting:
            self._check(process, watched[process.name], lives.get(process.name, Lives()))
        answers = pool.map(lambda one: _is_up(one, watched[one.name], lives.get(one.name, Lives())), waiting)
        for process, answer in zip(waiting, answers, strict=True):
            if answer:
                self.on_ready.get(process.name, lambda: None)()
                self.ready.add(process.name)
        return len(self.started) + len(self.ready) > before

    def _check(self, process: Process, seen: Watched, lives: Lives) -> None:
        """Raise what a person should know of a process that does not come up."""
        has_ended = seen.state in ("backoff", "exited", "fatal")
        if not has_ended or (process.runs_once and lives.exit_code == 0):
            return
        if lives.exit_code == MISUSE:
            raise Misconfigured(f"{process.name}: {self.last_words(process.name)}")
        if process.runs_once or seen.state == "fatal" or lives.restarts >= DEATHS:
            raise Unavailable(
                f"{process.name} ended with code {lives.exit_code}: {self.last_words(process.name)} ({self._where(process.name)})"
            )

    def _where(self, name: str = "") -> str:
        return f"see {self.supervisor.state.logs / f'{name or self.waiting[0]}.log'}"

    def last_words(self, name: str) -> str:
        """Return the last line that a process logged, its message when the line is JSON."""
        return last_words(self.supervisor, name)


def last_words(supervisor: Supervisor, name: str) -> str:
    """Return the last line of a process's log, its message when the line is JSON."""
    try:
        with (supervisor.state.logs / f"{name}.log").open(errors="replace") as file:
            lines = deque((line.strip() for line in file if line.strip()), maxlen=1)
    except FileNotFoundError:
        lines = deque()
    if not lines:
        return "it said nothing"
    try:
        return str(json.loads(lines[0])["message"])
    except (ValueError, KeyError, TypeError):
        return lines[0]


def _is_up(process: Process, seen: Watched, lives: Lives) -> bool:
    if process.runs_once:
        return seen.state == "exited" and lives.exit_code == 0
    return seen.state in ("starting", "running") and is_ready(process.ready)
