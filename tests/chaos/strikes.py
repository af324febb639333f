"""Makes the trouble that a schedule says, each thing at its time, and what is to pass later at its own."""

from __future__ import annotations

import heapq
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count

from quantstream.core.errors import Unavailable
from tests.chaos import schedule
from tests.chaos.outages import LakeFolder, RegistryServer
from tests.chaos.platform import Platform
from tests.chaos.schedule import BLOWS, BROKER, FAULT, IN_REBALANCE, JOIN, KILL, LEAVE, PAUSE, STAGES, Blow, stage_of
from tests.chaos.watch import TICK, Pause, Recoveries, ended_for_nothing, moves

NEXT = "woken", "lake back", "registry back"
LATER = 1.0  # seconds: when a process cannot be paused yet, look again
RESTART = 60.0  # seconds for the supervisor to start a process again
REBALANCE = 30.0  # seconds for a replica that joined to make partitions move
Say = Callable[[str], None]


@dataclass
class Done:
    """What was done."""

    kills: Counter[str] = field(default_factory=Counter)
    pauses: Counter[str] = field(default_factory=Counter)
    joins: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)  # broker, lake, registry, exchange
    not_done: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Striker:
    """Goes through a schedule against a running platform."""

    def __init__(
        self, platform: Platform, recoveries: Recoveries, lake: LakeFolder, registry: RegistryServer, say: Say
    ) -> None:
        self.platform, self.recoveries, self.lake, self.registry, self.say = platform, recoveries, lake, registry, say
        self.done = Done()
        self.paused: dict[str, Pause] = {}  # standing still
        self.woken: list[Pause] = []  # to be looked at again before the process is hit otherwise
        self.moving: list[tuple[Blow, float, dict[str, int]]] = []  # broker blows that wait for a rebalance
        self.present: set[str] = set(STAGES)
        self._numbers = count()
        self._queue: list[tuple[float, int, Blow]] = []
        self.started = 0.0

    def run(self, blows: list[Blow], seconds: float) -> None:
        """Strike as the schedule says, for so many seconds; then wake and bring back everything."""
        self.started = time.monotonic()
        for blow in blows:
            self._push(blow.at, blow)
        try:
            while (now := time.monotonic() - self.started) < seconds:
                if self._queue and self._queue[0][0] <= now:
                    self._strike(heapq.heappop(self._queue)[2])
                    continue
                self._look_for_rebalances()
                time.sleep(max(0.0, min(TICK, (self._queue[0][0] if self._queue else seconds) - now)))
        finally:
            self._end()

    def _end(self) -> None:
        for process in list(self.paused):
            self._wake(process)
        self.lake.come_back()
        self.registry.come_back()
        for _, _, blow in self._queue:
            if blow.kind not in (*NEXT, LEAVE):
                self.done.not_done[blow.kind] += 1
        for blow, _, _ in self.moving:
            self.done.not_done[blow.kind] += 1
        for process in sorted(self.present - set(STAGES)):
            self._leave(process)

    def look_at_woken(self, process: str | None = None) -> None:
        """See what became of the processes (or one) that were paused, before anything else happens to them."""
        for pause in [pause for pause in self.woken if process in (None, pause.process)]:
            self.woken.remove(pause)
            wrong = ended_for_nothing(
                pause, self.platform.pid(pause.process), self.platform.log(pause.process, pause.log_size)
            )
            self.done.wrong += [wrong] if wrong else []

    def _push(self, at: float, blow: Blow) -> None:
        heapq.heappush(self._queue, (at, next(self._numbers), blow))

    def _passed(self) -> float:
        return time.monotonic() - self.started

    def _strike(self, blow: Blow) -> None:
        if blow.kind == PAUSE and not self._can_pause(blow):
            return
        self.say(
            f"{self._passed():6.1f} s  {blow.kind} {blow.target}" + (f" {blow.seconds:.0f} s" * (blow.seconds > 0))
        )
        if blow.kind == FAULT:
            self.platform.exchange.order(kind=blow.target, count=1, seconds=BLOWS[blow.target])
        elif blow.kind == KILL:
            self._kill(blow.target)
        elif blow.kind == PAUSE:
            self._pause(blow)
        elif blow.kind == NEXT[0]:
            self._wake(blow.target, self._passed())
        elif blow.kind == JOIN:
            self._join(blow)
        elif blow.kind == LEAVE:
            self._leave(blow.target)
        elif blow.kind in IN_REBALANCE:
            self.moving.append((blow, self._passed() + REBALANCE, self._log_sizes(blow.target)))
        elif blow.kind in BROKER:
            self._hit_broker(blow.kind)
        else:
            self._outage(blow)

    def _outage(self, blow: Blow) -> None:
        if blow.kind == schedule.LAKE_AWAY:
            self.lake.go_away()
            self._push(self._passed() + blow.seconds, Blow(0, NEXT[1], "lake"))
        elif blow.kind == schedule.REGISTRY_AWAY:
            self.registry.go_away()
            self._push(self._passed() + blow.seconds, Blow(0, NEXT[2], "registry"))
        elif blow.kind == schedule.DELIST:
            seconds = blow.seconds * self.platform.size.speed  # of the exchange's own time
            self.platform.exchange.order(kind="delist", symbol=blow.target, count=1, seconds=seconds)
        elif blow.kind == NEXT[1]:
            self.lake.come_back()
        elif blow.kind == NEXT[2]:
            self.registry.come_back()
        if blow.kind not in NEXT:
            self.done.others[blow.kind] += 1

    def _join(self, blow: Blow) -> None:
        if self.platform.pid(blow.target) is not None:  # it is still on its way out
            self._push(self._passed() + LATER, blow)
            return
        self.platform.supervisor.start(blow.target)
        self.present.add(blow.target)
        self.done.joins[blow.target] += 1

    def _kill(self, process: str) -> None:
        pid = self._pid(process)
        self.look_at_woken(process)
        self.paused.pop(process, None)
        if process in STAGES:
            self.recoveries.hit(process, pid)
        os.kill(pid, signal.SIGKILL)
        self.done.kills[process] += 1

    def _pid(self, process: str) -> int:
        deadline = time.monotonic() + RESTART
        while time.monotonic() < deadline:
            pid = self.platform.pid(process)
            if pid is not None:
                return pid
            time.sleep(TICK)
        raise Unavailable(f"{process} was not started again within {RESTART:.0f} s")

    def _can_pause(self, blow: Blow) -> bool:
        """Tell whether a process works; one that does not yet is looked at again later, one that has left is let go."""
        process = blow.target
        if process not in self.present:
            self.done.not_done[PAUSE] += 1
            return False
        if process in self.paused or not self.platform.is_ready(process):
            self._push(self._passed() + LATER, blow)
            return False
        return True

    def _pause(self, blow: Blow) -> None:
        process = blow.target
        self.look_at_woken(process)
        pid = self._pid(process)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            until = self._passed() + blow.seconds
            self.paused[process] = Pause(process, pid, len(self.platform.log(process)), until)
            self.done.pauses[process] += 1
            self._push(until, Blow(0, NEXT[0], process))

    def _wake(self, process: str, now: float = float("inf")) -> None:
        pause = self.paused.get(process)
        if pause is None or pause.until > now:
            return  # it was killed meanwhile, and its successor may stand still now
        del self.paused[process]
        with suppress(ProcessLookupError):
            os.kill(pause.pid, signal.SIGCONT)
            self.woken.append(pause)

    def _leave(self, process: str) -> None:
        self._wake(process)  # a process that stands still hears no signal
        self.look_at_woken(process)
        self.platform.supervisor.stop(process)
        self.present.discard(process)

    def _log_sizes(self, replica: str) -> dict[str, int]:
        same = [name for name in self.platform.processes if stage_of(name) == stage_of(replica)]
        return {name: len(self.platform.log(name)) for name in same}

    def _look_for_rebalances(self) -> None:
        for one in list(self.moving):
            blow, until, sizes = one
            has_moved = any(moves(self.platform.log(name, since)) for name, since in sizes.items())
            if has_moved:
                self.moving.remove(one)
                self.say(f"{self._passed():6.1f} s  partitions of {stage_of(blow.target)} move: {blow.kind}")
                self._hit_broker(blow.kind)
            elif self._passed() > until:
                self.moving.remove(one)
                self.done.not_done[blow.kind] += 1

    def _hit_broker(self, kind: str) -> None:
        pid = self.platform.pid("broker")
        self.recoveries.hit("broker", pid)
        self.done.others[kind] += 1
        if kind in (schedule.BROKER_KILL, schedule.KILL_IN_REBALANCE):
            os.kill(self._pid("broker"), signal.SIGKILL)
            return
        self.platform.supervisor.stop("broker")
        deadline = time.monotonic() + RESTART
        while self.platform.pid("broker") is not None and time.monotonic() < deadline:
            time.sleep(TICK)
        self.platform.supervisor.start("broker")
