"""One run: the platform up, trouble as drawn, quiet, and the verdict."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from statistics import median
from typing import Any
from urllib.error import URLError

from quantstream.core.errors import Unavailable
from quantstream.core.time import INTERVALS, micros
from streaming.exchange.faults import KINDS
from tests.chaos.balance import BalanceWatch, lake_off
from tests.chaos.judge import Verdict, judge
from tests.chaos.outages import ADDRESS, LakeFolder, RegistryServer
from tests.chaos.platform import Platform, Size, running
from tests.chaos.schedule import PARTITIONS, PROBABILITIES, REPLICAS, STAGES, Trouble, draw, stage_of
from tests.chaos.stage import Rule
from tests.chaos.strikes import Done, Striker
from tests.chaos.watch import TICK, Recoveries, by_stage, endings, moves, without_a_word

PATIENCE = 180.0  # seconds without any progress towards rest: the longest back-offs, twice, on a busy machine
LEAST = {"kills": 20, "pauses": 20, "rebalances": 10}  # of a run that proves something
Say = Callable[[str], None]


@dataclass
class Report:
    """What was done to the platform and what it made of it."""

    seed: int
    seconds: float
    partitions: int
    kills: Counter[str] = field(default_factory=Counter)
    pauses: Counter[str] = field(default_factory=Counter)
    joins: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    not_done: Counter[str] = field(default_factory=Counter)
    rebalances: dict[str, dict[str, int]] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    recovery_s: dict[str, dict[str, float]] = field(default_factory=dict)
    self_ended: dict[str, list[str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    not_ready: list[str] = field(default_factory=list)
    settled_s: float = 0.0
    balance_looks: dict[str, int] = field(default_factory=dict)
    unbalanced: list[str] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)

    @property
    def survived(self) -> bool:
        """Whether everything came back and nothing was lost, repeated or wrong."""
        return not self.not_ready and not self.wrong and not self.unbalanced and self.verdict.is_right

    @property
    def reached(self) -> dict[str, int]:
        """How much of what makes a run hard there was; a rebalance counts when a living process gave partitions up."""
        moved = sum(count.get(kind, 0) for count in self.rebalances.values() for kind in ("revoked", "lost"))
        return {"kills": self.kills.total(), "pauses": self.pauses.total(), "rebalances": moved}

    @property
    def is_hard(self) -> bool:
        """Whether there was enough of it."""
        return all(self.reached[name] >= least for name, least in LEAST.items())

    def as_json(self) -> dict[str, Any]:
        """Return plain data."""
        plain = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "verdict"}
        plain = {name: dict(value) if isinstance(value, Counter) else value for name, value in plain.items()}
        return {
            "survived": self.survived,
            "is_hard": self.is_hard,
            "reached": self.reached,
            **plain,
            "verdict": asdict(self.verdict),
        }

    def lines(self) -> list[str]:
        """Return what a person reads."""
        right, reached = self.verdict, self.reached
        back = ", ".join(f"{name} {s['median']:.1f}/{s['longest']:.1f}" for name, s in sorted(self.recovery_s.items()))
        moved = "; ".join(f"{stage} {_told(count)}" for stage, count in sorted(self.rebalances.items()))
        return [
            f"seed {self.seed}, {self.seconds:.0f} s of trouble, {self.partitions} partitions: "
            f"{'SURVIVED' if self.survived else 'FAILED'}{'' if self.is_hard else f' (less trouble than {LEAST})'}",
            f"killed: {reached['kills']} ({_told(self.kills)})",
            f"paused past the session: {reached['pauses']} ({_told(self.pauses)})",
            f"replicas came and went: {self.joins.total()} ({_told(self.joins)})",
            f"rebalances: {reached['rebalances']} ({moved})",
            f"away and restarted: {_told(self.others)}"
            + (f"; no occasion for: {_told(self.not_done)}" * bool(self.not_done)),
            f"faults injected: {sum(self.faults.values())} ({_told(self.faults)})",
            f"recovery, median/longest seconds: {back}; at rest after {self.settled_s:.0f} s",
            f"ended by themselves and started again: { ({name: len(why) for name, why in self.self_ended.items()}) }",
            f"right: {right.trades} trades, {right.candles} candles equal to klines, "
            f"{right.scored_once} candles scored once, {right.anomalies} anomalies told once"
            f" ({right.trades_repeated_in_log} trades twice in the log, told by their ids)",
            f"wrong: {right.wrong or 'nothing'}" + (f"; not ready: {self.not_ready}" if self.not_ready else ""),
            f"balance: {'closed' if not self.unbalanced else 'OFF'} at {sum(self.balance_looks.values())} looks",
            *(f"  {text}" for text in (*self.wrong, *right.differences, *self.unbalanced[:20])),
        ]


def _told(counts: Any) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def run(folder: Path, seed: int, trouble: Trouble, size: Size, say: Say) -> Report:
    """Make the trouble and return the report. A delisting is left out where the exchange cannot do it."""
    folder.mkdir(parents=True)
    lake, registry = LakeFolder(folder / "lake"), RegistryServer({Rule.name: Rule.version})
    trouble = trouble if DELIST_FAULT in KINDS else replace(trouble, delistings=0)
    blows = draw(seed, trouble, size.symbols)
    say(f"seed {seed}: {size.partitions} partitions, {len(blows)} blows")
    for blow in blows:
        say(f"  planned {blow.at:6.1f} s  {blow.kind} {blow.target}" + f" {blow.seconds:.0f} s" * (blow.seconds > 0))
    size = replace(size, replicas=REPLICAS)
    with registry.serving(), running(folder, size, seed, env={ADDRESS: registry.url}) as platform:
        say(f"up in {folder}; trouble begins")
        report = Report(seed, trouble.seconds, size.partitions)
        for kind, (probability, seconds) in PROBABILITIES.items():
            platform.exchange.order(kind=kind, probability=probability, seconds=seconds)
        watch = BalanceWatch(STAGES, platform.metrics)
        with watch, Recoveries(platform) as recoveries:
            striker = Striker(platform, recoveries, lake, registry, say)
            striker.run(blows, trouble.seconds)
            report.faults = platform.exchange.injected()
            platform.exchange.withdraw()
            report.not_ready = platform.wait_until_ready()
            _wait(lambda: not recoveries.pending, 30)
        end, report.settled_s = settle(platform, say)
        watch.look()
        report.balance_looks = watch.looks
        unseen = [f"{name}: its balance was never seen" for name in watch.unseen()]
        report.unbalanced = [*watch.off, *unseen, *lake_off(platform.lake)]
        striker.look_at_woken()
        _take_down(report, platform, recoveries, striker.done)
        report.verdict = judge(platform.lake, platform.kafka, platform.exchange, size.symbols, size.intervals, end)
    return report


DELIST_FAULT = "delist"


def partitions_of(seed: int) -> int:
    """Return how many partitions a run has."""
    return random.Random(seed).choice(PARTITIONS)


def _take_down(report: Report, platform: Platform, recoveries: Recoveries, done: Done) -> None:
    report.kills, report.pauses, report.joins = done.kills, done.pauses, done.joins
    report.others, report.not_done, report.wrong = done.others, +done.not_done, done.wrong
    report.recovery_s = {
        name: {"median": round(median(took), 2), "longest": round(max(took), 2)}
        for name, took in sorted(recoveries.took.items())
    }
    lives = platform.supervisor.lives()
    output = {name: platform.log(name) for name in lives if stage_of(name) in STAGES}
    moved = by_stage((name, moves(text)) for name, text in output.items())
    report.rebalances = {stage: dict(count) for stage, count in moved.items() if count}
    for name, text in output.items():
        deliberate = done.kills[name] + max(0, done.joins[name] - 1)
        if count := without_a_word(lives[name].restarts, deliberate, text):
            report.wrong.append(f"{name} ended {count} times without a word")
        if reasons := endings(text):
            report.self_ended[name] = reasons


def settle(platform: Platform, say: Say, begin: int = 0, patience: float = PATIENCE) -> tuple[int, float]:
    """Wait until all windows that were begun are closed, whole and scored in the lake; return their end (ms) and the seconds."""
    longest = max(INTERVALS[interval] for interval in platform.size.intervals) // 1000
    now = platform.exchange.time()
    end = now - now % longest + longest
    started = time.monotonic()
    say("quiet; waiting until all of it is in the lake")
    least, since = float("inf"), started
    while (looked := time.monotonic()) - since < patience:  # as long as it gets less
        try:
            lacking = _lacking(platform, end, begin)
        except (Unavailable, URLError):
            lacking = None  # of a part that is down just now
        if lacking == 0:
            break
        if lacking is not None and lacking < least:
            least, since = lacking, time.monotonic()
            say(f"{lacking:.0f} windows to go")
        time.sleep(max(TICK, time.monotonic() - looked))  # of many symbols a look takes seconds of a core
    return end, time.monotonic() - started


def _lacking(platform: Platform, end: int, begin: int) -> float:
    """Return how much is not there yet: windows to close, to fill if they opened since `begin` (ms), to score.

    Symbols that have not traded have none.
    """
    lake, lacking = platform.lake, 0.0
    symbols = platform.size.symbols if not begin else lake.extent("trades")
    for interval in platform.size.intervals:
        length = INTERVALS[interval]
        rows = lake.candles(None, interval).select(["symbol", "opened_at", "is_complete"]).to_pylist()
        due = [(row["symbol"], micros(row["opened_at"]), row["is_complete"]) for row in rows]
        due = [row for row in due if row[1] < end * 1000]
        lacking += sum(not is_complete and at >= begin * 1000 for _, at, is_complete in due)
        newest = {symbol: at for symbol, at, _ in due}  # the last of each, for they are in order
        lacking += sum(
            (end * 1000 - newest[symbol]) // length - 1 if symbol in newest else end * 1000 / length
            for symbol in symbols
        )
        if interval == "5m":
            rows = lake.read("scores", columns=["symbol", "opened_at"]).to_pylist()
            scored = {(row["symbol"], micros(row["opened_at"])) for row in rows}
            lacking += sum((name, at) not in scored for name, at, _ in due)
    return lacking


def _wait(what: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if what():
            return True
        time.sleep(TICK)
    return False
