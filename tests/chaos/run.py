"""One run: the platform up, trouble as drawn, quiet, and the verdict."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from statistics import median
from typing import Any
from urllib.error import URLError

from infra.local.supervisor import Supervisor
from quantstream.errors import Unavailable
from quantstream.lake import micros
from quantstream.market import INTERVALS
from tests.chaos.balance import BalanceWatch, lake_off
from tests.chaos.judge import Verdict, judge
from tests.chaos.platform import Platform, Size, running
from tests.chaos.schedule import BLOWS, BROKER_KILL, BROKER_RESTART, FAULT, KILL, PROBABILITIES, STAGES, Blow, draw

TICK = 0.1  # seconds
PATIENCE = 180.0  # seconds for the platform to come to rest: the longest back-offs, twice, on a busy machine
Say = Callable[[str], None]


@dataclass
class Report:
    """What was done to the platform and what it made of it."""

    seed: int
    seconds: float
    kills: Counter[str] = field(default_factory=Counter)
    broker: Counter[str] = field(default_factory=Counter)
    faults: dict[str, int] = field(default_factory=dict)
    recovery_s: dict[str, dict[str, float]] = field(default_factory=dict)
    self_ended: dict[str, int] = field(default_factory=dict)
    not_ready: list[str] = field(default_factory=list)
    settled_s: float = 0.0
    balance_looks: dict[str, int] = field(default_factory=dict)
    unbalanced: list[str] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)

    @property
    def survived(self) -> bool:
        """Whether everything came back and nothing was lost, repeated or wrong."""
        return not self.not_ready and not self.unbalanced and self.verdict.is_right

    def as_json(self) -> dict[str, Any]:
        """Return plain data."""
        counts = {"kills": dict(self.kills), "broker": dict(self.broker)}  # asdict cannot copy a Counter
        rest = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in (*counts, "verdict")}
        return {"survived": self.survived, **rest, **counts, "verdict": asdict(self.verdict)}

    def lines(self) -> list[str]:
        """Return what a person reads."""
        right = self.verdict
        kills = ", ".join(f"{name} {count}" for name, count in sorted(self.kills.items()))
        faults = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        back = ", ".join(f"{name} {s['median']:.1f}/{s['longest']:.1f}" for name, s in sorted(self.recovery_s.items()))
        wrong = {name: n for name, n in asdict(right).items() if name.endswith(tuple(WRONG)) and n}
        return [
            f"seed {self.seed}, {self.seconds:.0f} s of trouble: {'SURVIVED' if self.survived else 'FAILED'}",
            f"killed: {sum(self.kills.values())} ({kills}); {', '.join(f'{k} {n}' for k, n in self.broker.items())}",
            f"faults injected: {sum(self.faults.values())} ({faults})",
            f"recovery, median/longest seconds: {back}; at rest after {self.settled_s:.0f} s",
            f"ended by themselves and started again: {self.self_ended}",
            f"right: {right.trades} trades, {right.candles} candles equal to klines, "
            f"{right.scored_once} candles scored once, {right.anomalies} anomalies told once",
            f"wrong: {wrong or 'nothing'}" + (f"; not ready: {self.not_ready}" if self.not_ready else ""),
            f"balance: {'closed' if not self.unbalanced else 'OFF'} at {sum(self.balance_looks.values())} looks",
            *(f"  {text}" for text in [*right.differences, *self.unbalanced[:20]]),
        ]


WRONG = ("missing", "duplicate", "different", "incomplete", "not_scored", "scored_twice", "extra")


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


def run(folder: Path, seed: int, seconds: float, kills: int, broker_restarts: int, size: Size, say: Say) -> Report:
    """Make trouble for `seconds` and return the report."""
    report = Report(seed, seconds)
    with running(folder, size, seed) as platform:
        say(f"up in {folder}; trouble begins")
        watch = BalanceWatch(STAGES, platform.metrics)
        with watch, Recoveries(platform) as recoveries:
            _make_trouble(platform, draw(seed, seconds, kills, broker_restarts), report, recoveries, say)
            report.faults = platform.exchange.injected()
            platform.exchange.withdraw()
            report.not_ready = platform.wait_until_ready()
            _wait(lambda: not recoveries.pending, 30)
        report.recovery_s = {
            name: {"median": round(median(took), 2), "longest": round(max(took), 2)}
            for name, took in sorted(recoveries.took.items())
        }
        lives = platform.supervisor.lives()
        hits = report.kills + Counter({"broker": sum(report.broker.values())})
        report.self_ended = {name: max(0, lives[name].restarts - hits[name]) for name in (*STAGES, "broker")}
        end, report.settled_s = _settle(platform, say)
        watch.look()
        report.balance_looks = watch.looks
        unseen = [f"{name}: its balance was never seen" for name in watch.unseen()]
        report.unbalanced = [*watch.off, *unseen, *lake_off(platform.lake)]
        report.verdict = judge(platform.lake, platform.kafka, platform.exchange, size.symbols, size.intervals, end)
    return report


def _make_trouble(platform: Platform, blows: list[Blow], report: Report, recoveries: Recoveries, say: Say) -> None:
    for kind, (probability, seconds) in PROBABILITIES.items():
        platform.exchange.order(kind=kind, probability=probability, seconds=seconds)
    started = time.monotonic()
    for blow in blows:
        time.sleep(max(0.0, started + blow.at - time.monotonic()))
        say(f"{time.monotonic() - started:6.1f} s  {blow.kind} {blow.target}")
        _strike(platform, blow, report, recoveries)
    time.sleep(max(0.0, started + report.seconds - time.monotonic()))


def _strike(platform: Platform, blow: Blow, report: Report, recoveries: Recoveries) -> None:
    if blow.kind == FAULT:
        platform.exchange.order(kind=blow.target, count=1, seconds=BLOWS[blow.target])
        return
    pid = platform.pid(blow.target)
    if blow.kind == BROKER_RESTART:
        recoveries.hit(blow.target, pid)
        platform.supervisor.stop(blow.target)
        _wait(lambda: platform.pid(blow.target) is None, 60)
        platform.supervisor.start(blow.target)
        report.broker[blow.kind] += 1
        return
    if not _wait(lambda: platform.pid(blow.target) is not None, 60):
        raise Unavailable(f"{blow.target} was not started again within 60 s")
    pid = platform.pid(blow.target)
    assert pid is not None
    recoveries.hit(blow.target, pid)
    os.kill(pid, signal.SIGKILL)
    if blow.kind == BROKER_KILL:
        report.broker[blow.kind] += 1
    elif blow.kind == KILL:
        report.kills[blow.target] += 1


def _settle(platform: Platform, say: Say) -> tuple[int, float]:
    """Wait until every window that saw trouble is closed, whole and scored in the lake; return where it ends (ms)."""
    longest = max(INTERVALS[interval] for interval in platform.size.intervals) // 1000
    now = platform.exchange.time()
    end = now - now % longest + longest
    started = time.monotonic()
    say("quiet; waiting until all of it is in the lake")
    _wait(lambda: _is_whole(platform, end), PATIENCE)
    return end, time.monotonic() - started


def _is_whole(platform: Platform, end: int) -> bool:
    lake, symbols = platform.lake, platform.size.symbols
    for interval in platform.size.intervals:
        newest = lake.candles(symbols, interval)
        rows = newest.select(["symbol", "opened_at", "is_complete"]).to_pylist()
        due = [row for row in rows if micros(row["opened_at"]) < end * 1000]
        last = {row["symbol"]: micros(row["opened_at"]) + INTERVALS[interval] for row in due}
        if set(last.values()) != {end * 1000} or set(last) != set(symbols):
            return False
        if not all(row["is_complete"] for row in due):
            return False
    scored = {
        row["symbol"]
        for row in lake.read("scores").to_pylist()
        if micros(row["opened_at"]) == end * 1000 - INTERVALS["5m"]
    }
    traded = lake.extent("trades")
    return scored == set(symbols) and all(name in traded for name in symbols)


def _wait(what: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if what():
                return True
        except (Unavailable, URLError):
            pass  # of a part that is down just now; the deadline decides
        time.sleep(TICK)
    return False
