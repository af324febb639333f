"""Virtual time and the processes that live in it: greenlets which only a seeded scheduler switches.

Every call of the outside (broker, lake, exchange, clock) is a point where others may run first, and where this process may be
paused longer than its session or killed. Nothing else runs at the same time, so a seed decides everything.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from asyncio import _get_running_loop, _set_running_loop
from collections.abc import Callable
from typing import Any

from greenlet import getcurrent, greenlet

EPOCH = 1_723_161_600 * 1_000_000  # µs: the wall clock when a world begins
MS, SECOND = 1_000, 1_000_000  # µs
MOST_EVENTS = 400_000  # a world that is still busy after so many goes round in circles


class Killed(BaseException):
    """Unwinds the stack of a process that was killed: whatever it still calls on the way fails with this too."""


class Wedged(Exception):
    """A world that does not come to an end."""


class Process:
    """One process of the world. Its client libraries' own threads are events with `aside`: they stand still when it does."""

    def __init__(self, sim: Simulation, name: str) -> None:
        self.sim, self.name = sim, name
        self.is_dead = self.is_paused = False
        self.calls = 0
        self.told: dict[str, Any] = {}  # what a fault needs to know: health, consumers
        self.at_death: list[Callable[[], None]] = []
        self.at_pause: list[Callable[[], None]] = []
        self.armed: list[tuple[int, Callable[[Process], object]]] = []
        self.error: BaseException | None = None
        self._deferred: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self._ticket = 0
        self._is_waiting = False
        self.greenlet: greenlet | None = None

    def aside(self, delay: int, act: Callable[..., None], *args: Any) -> None:
        """Do something in this process's background after `delay` µs of its being awake; never when it is dead."""
        self.sim.after(delay, self._in_background, act, args)

    def _in_background(self, act: Callable[..., None], args: tuple[Any, ...]) -> None:
        if self.is_dead:
            return
        if self.is_paused:
            self._deferred.append((act, args))
        else:
            act(*args)

    def pause(self, duration: int) -> None:
        """Stop it where it is (SIGSTOP), for so long (µs)."""
        if self.is_dead or self.is_paused:
            return
        self.is_paused = True
        self.sim.note(self.name, "paused", duration)
        for act in self.at_pause:
            act()
        self.sim.after(duration, self.resume)

    def resume(self) -> None:
        """Let it go on (SIGCONT): its threads race from where they stood."""
        if self.is_dead or not self.is_paused:
            return
        self.is_paused = False
        self.sim.note(self.name, "resumed", 0)
        deferred, self._deferred = self._deferred, []
        delay = 0
        for act, args in deferred:  # each in its turn, but the threads race
            delay += self.sim.rng.randrange(3 * MS)
            self.aside(delay, act, *args)
        for act in self.told.get("at_resume", ()):
            act()

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        if self.is_dead:
            return
        self.is_dead = True
        self.sim.note(self.name, "killed", 0)
        for act in self.at_death:
            act()
        if self.greenlet is not getcurrent():
            self.sim.after(0, self._unwind)

    def _unwind(self) -> None:
        if self.greenlet:
            self.sim.enter(self, Killed())

    def wait(self, duration: int, can_be_woken: bool = False) -> bool:
        """Stand still for `duration` µs, or until woken; tell whether it was. Only from the process itself."""
        if self.is_dead:
            raise Killed
        self._ticket += 1
        self._is_waiting = can_be_woken
        self.sim.after(duration, self._go_on, self._ticket, False)
        loop = _get_running_loop()
        _set_running_loop(None)  # asyncio knows one a thread; here each process may have one
        was_woken = bool(self.sim.hub.switch())
        _set_running_loop(loop)
        if self.is_dead:
            raise Killed
        return was_woken

    def wake(self, delay: int = 0) -> None:
        """End a wait that may be ended."""
        if self._is_waiting:
            self._is_waiting = False
            self.sim.after(delay, self._go_on, self._ticket, True)

    def _go_on(self, ticket: int, was_woken: bool) -> None:
        if self.is_dead or ticket != self._ticket:
            return
        if self.is_paused:
            self._deferred.append((self._go_on, (ticket, was_woken)))
            return
        self._is_waiting = False
        self._ticket += 1
        self.sim.enter(self, was_woken)

    def call(self, what: str, detail: object = "") -> None:
        """Pass a switch point: one call of the outside, which takes a while, and in which anything may happen to it."""
        sim = self.sim
        if self.is_dead:
            raise Killed
        self.calls += 1
        sim.note(self.name, what, detail)
        if self.armed:
            due = [item for item in self.armed if item[0] <= self.calls]
            for item in due:
                if item in self.armed:  # what came before it may have taken long
                    self.armed.remove(item)
                    item[1](self)
                if self.is_dead:
                    raise Killed
        self.wait(sim.latency())


class Simulation:
    """The clock, what is due on it, and the trace of what happened."""

    def __init__(self, seed: int, keep: bool = False) -> None:
        """`keep` the lines of the trace, not their digest alone."""
        self.rng = random.Random(seed)
        self.now = 0  # µs
        self.slowness = 1  # how many times as long as usual a call takes: slow processes always have work waiting
        self.hub = getcurrent()
        self.current: Process | None = None
        self.processes: list[Process] = []
        self.lines: list[str] | None = [] if keep else None
        self.events = 0
        self._digest = hashlib.blake2b(digest_size=12)
        self._due: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._number = 0

    def latency(self) -> int:
        """Return how long a call takes, µs: mostly a millisecond, at times much longer."""
        draw = self.rng.random()
        return self.slowness * int(200 + 3_000 * draw) if draw < 0.95 else int(400_000 * (draw - 0.949))

    def note(self, who: str, what: str, detail: object) -> None:
        """Add a line to the trace."""
        line = f"{self.now} {who} {what} {detail}\n"
        self._digest.update(line.encode())
        if self.lines is not None:
            self.lines.append(line)

    @property
    def digest(self) -> str:
        """What the trace comes to."""
        return self._digest.hexdigest()

    def after(self, delay: int, act: Callable[..., None], *args: Any) -> None:
        """Do something in `delay` µs."""
        self._number += 1
        heapq.heappush(self._due, (self.now + delay, self._number, act, args))

    def spawn(self, name: str, work: Callable[[Process], None], ended: Callable[[Process], None]) -> Process:
        """Start a process; `ended` is called when it ends by itself."""
        process = Process(self, name)

        def run(_: object) -> None:
            try:
                work(process)
            except Killed:
                return
            except BaseException as error:  # noqa: BLE001 (whatever ends a process is what the world judges)
                process.error = error
            if not process.is_dead:
                process.is_dead = True
                for act in process.at_death:
                    act()
                self.after(0, ended, process)

        process.greenlet = greenlet(run, self.hub)
        self.processes.append(process)
        self.after(0, self._start, process)
        return process

    def _start(self, process: Process) -> None:
        if not process.is_dead:
            self.enter(process, None)

    def enter(self, process: Process, value: object) -> None:
        """Let a process run until its next switch point."""
        before, self.current = self.current, process
        assert process.greenlet is not None
        try:
            if isinstance(value, Killed):
                process.greenlet.throw(value)
            else:
                process.greenlet.switch(value)
        finally:
            self.current = before

    def run(self, until: int, is_done: Callable[[], bool] | None = None, every: int = SECOND) -> bool:
        """Let the world go on until a time (µs), or until `is_done`, asked now and then. Return whether it is done.

        Raises: Wedged.
        """
        ask_at = self.now
        while self._due and self._due[0][0] <= until:
            if is_done is not None and self._due[0][0] >= ask_at:
                if is_done():
                    return True
                ask_at += every
            at, _, act, args = heapq.heappop(self._due)
            self.now = max(self.now, at)
            self.events += 1
            if self.events > MOST_EVENTS:
                raise Wedged(f"still busy after {MOST_EVENTS} events")
            act(*args)
        self.now = max(self.now, until)
        return is_done is not None and is_done()

    def end(self) -> None:
        """Unwind every process that is left."""
        for process in self.processes:
            process.is_dead = True
            if process.greenlet:
                self.enter(process, Killed())


_worlds: list[Simulation] = []


def entered(sim: Simulation | None) -> None:
    """Say which world runs now; None: no world."""
    _worlds[:] = [] if sim is None else [sim]


def world() -> Simulation | None:
    """Return the world that runs."""
    return _worlds[0] if _worlds else None


def me() -> Process:
    """Return the process that runs."""
    current = _worlds[0].current
    assert current is not None, "a model was called from outside of every process"
    return current
