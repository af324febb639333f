"""What the processes went through, by their logs and the supervisor's: who ended and said why, and when partitions moved."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from infra.embedded.supervisor import Supervisor
from quantstream.core.errors import Unavailable
from tests.chaos.platform import Platform
from tests.chaos.schedule import stage_of

TICK = 0.1  # seconds
ENDINGS = ("stage ends", "stage hangs and is ended")  # what a stage says last
MOVES = {"partitions assigned": "assigned", "partitions revoked": "revoked", "partitions lost": "lost"}
FENCED_COMMIT = "partitions moved before a commit"
# No reason to end: a stage that partitions were taken from goes on.
OF_REBALANCE = (
    "rebalance",
    "generation",
    "fenced",
    "unknown member",
    "counted this member out",
    "conflicting",
)


@dataclass
class Pause:
    """A process that was stopped, the size of its log then, and when (seconds of the run) it is to be woken."""

    process: str
    pid: int
    log_size: int
    until: float


class Recoveries:
    """Watches for each process that was hit until a new one says that it is ready."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.supervisor = Supervisor(platform.state)  # its connection is not for two threads
        self.pending: dict[str, tuple[float, int | None]] = {}
        self.took: dict[str, list[float]] = defaultdict(list)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def hit(self, name: str, pid: int | None) -> None:
        """Note a blow; one that falls before the last was recovered from counts from the first."""
        since = self.pending.get(name, (time.monotonic(), None))[0]
        self.pending[name] = since, pid

    def __enter__(self) -> Recoveries:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(TICK):
            for name, (since, pid) in list(self.pending.items()):
                try:
                    now = self.supervisor.processes()[name].pid
                except Unavailable:
                    continue
                if now not in (None, pid) and self.platform.is_ready(name) and self.pending.get(name) == (since, pid):
                    self.took[name].append(time.monotonic() - since)
                    del self.pending[name]


def records(text: str) -> Iterator[dict[str, Any]]:
    """Yield the records of a log, without the lines that are none."""
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                yield json.loads(line)
            except ValueError:  # cut off when the log was read, or its process killed
                continue


def moves(text: str) -> Counter[str]:
    """Count how often partitions came and went, and commits that were too late for it."""
    found: Counter[str] = Counter()
    for record in records(text):
        if record.get("message") in MOVES and record.get("partitions"):
            found[MOVES[record["message"]]] += 1
        elif record.get("message") == FENCED_COMMIT:
            found["fenced"] += 1
    return found


def endings(text: str) -> list[str]:
    """Return the reasons that a process gave before it ended by itself."""
    return [
        str(record.get("reason", record["message"])) for record in records(text) if record.get("message") in ENDINGS
    ]


def ended_for_nothing(pause: Pause, pid: int | None, text: str) -> str:
    """Return what is wrong about a process that was only paused, by its pid now and its log since; "" for nothing."""
    if pid == pause.pid:
        return ""
    reasons = endings(text)
    if not reasons:
        return f"{pause.process} was paused, and ended without a word"
    if any(mark in reasons[0].lower() for mark in OF_REBALANCE):
        return f"{pause.process} was paused, and ended for partitions that had moved: {reasons[0]}"
    return ""


def without_a_word(restarts: int, deliberate: int, text: str) -> int:
    """Return how often a process ended by itself and gave no reason."""
    return max(0, restarts - deliberate - len(endings(text)))


def by_stage(counts: Iterable[tuple[str, Counter[str]]]) -> dict[str, Counter[str]]:
    """Sum up the counts of a stage's processes."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for process, count in counts:
        found[stage_of(process)] += count
    return found
