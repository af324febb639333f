"""`python -m tests.chaos.scale`: thousands of symbols through the whole path, and a verdict; exit code 1 when anything was wrong.

Broker, simulated exchange and the five stages run as the embedded stack runs them, each once and left in peace, with the settings
that a stack has by default. Most symbols trade seldom, many of them not at all in some windows. Afterwards the judge of the chaos
runs compares every trade and candle, in topics and lake, with the exchange's own answers, and `verify`, the platform's proof, has
to come to the same.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import chain, islice, product
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow.compute as pc

from bench.measure.delays import Delays
from bench.soak import SAMPLE_EVERY, judge_stage, sample
from quantstream.core.candle import Candle
from quantstream.core.time import INTERVALS
from quantstream.messages.payloads import Score, decode
from quantstream.messages.topics import CANDLES, SCORES, Topic
from quantstream.observability.metrics_page import parse_metrics, total
from quantstream.process_end import end_with
from quantstream.settings import DEFAULT_SYMBOLS, Settings
from tests.chaos.balance import BalanceWatch, lake_off
from tests.chaos.judge import Verdict, judge
from tests.chaos.platform import Platform, Size, running
from tests.chaos.run import settle
from tests.chaos.schedule import STAGES
from tests.topics import each_record

ODD = ("1000SATSUSDT", "币安人生USDT")  # names as the exchange has them, too
INTERVAL = "5m"
SPEED = 4.0  # eight windows in ten minutes
BUSIEST = 1.5  # trades per exchange second of the busiest symbol: the market's own
SINCE = 0.2  # of the run: imports, caches and the first windows
PATIENCE = (
    600.0  # seconds without progress towards rest: one commit writes thousands of files, on a busy machine for minutes
)
Say = Callable[[str], None]


@dataclass
class Report:
    """What went through and what came of it."""

    symbols: int
    minutes: float
    speed: float
    trades_per_s: float = 0.0  # of the wall
    flat: int = 0  # candles of windows without a trade
    closed: dict[str, float] = field(default_factory=dict)  # wall time from a window's end to its candle in the topic
    scored: dict[str, float] = field(default_factory=dict)
    stages: dict[str, Any] = field(default_factory=dict)
    load: float = 0.0
    settled_s: float = 0.0
    judged_s: float = 0.0
    balance_looks: dict[str, int] = field(default_factory=dict)
    unbalanced: list[str] = field(default_factory=list)
    verify: dict[str, Any] = field(default_factory=dict)
    verdict: Verdict = field(default_factory=Verdict)

    @property
    def lagging(self) -> list[str]:
        """The stages that fell further behind than what comes in a second."""
        found = {name: (one["lag_first"] or 0, one["lag_last"] or 0) for name, one in self.stages.items()}
        return [name for name, (first, last) in found.items() if last > first + self.trades_per_s + self.symbols]

    @property
    def restarted(self) -> list[str]:
        """The processes that did not last."""
        return [name for name, one in self.stages.items() if one["restarts"]]

    @property
    def is_right(self) -> bool:
        """Whether everything is there, once and equal, and nothing fell behind."""
        troubles = (self.lagging, self.restarted, self.unbalanced, self.verify["exit_code"])
        return not any(troubles) and self.verdict.is_right and self.flat > 0

    def as_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {"is_right": self.is_right, **asdict(self), "lagging": self.lagging, "restarted": self.restarted}

    def lines(self) -> list[str]:
        """Return what a person reads."""
        right = self.verdict
        told = [
            f"{self.symbols} symbols, {self.minutes:g} min at {self.speed:g} times the wall's pace, "
            f"{self.trades_per_s:.0f} trades/s, load {self.load:.1f}: {'RIGHT' if self.is_right else 'WRONG'}",
            f"right: {right.trades} trades, {right.candles} candles equal to klines ({self.flat} of them flat), "
            f"{right.scored_once} candles scored once, {right.anomalies} anomalies told once",
            f"wrong: {right.wrong or 'nothing'}",
            f"balance: {'closed' if not self.unbalanced else 'OFF'} at {sum(self.balance_looks.values())} looks",
            f"verify: exit code {self.verify['exit_code']}, {self.verify.get('equal')} equal, {self.verify['seconds']:.0f} s",
            f"at rest after {self.settled_s:.0f} s, judged in {self.judged_s:.0f} s",
        ]
        for what, delays in (("closed", self.closed), ("scored", self.scored)):
            told.append(
                f"  {what} after the window's end, wall time: p50 {delays['p50_ms'] / 1000:.1f}, "
                f"p99 {delays['p99_ms'] / 1000:.1f}, longest {delays['longest_ms'] / 1000:.1f} s of {delays['count']}"
            )
        for name, one in self.stages.items():
            told.append(
                f"  {name:10} {one['rss_first_mb']:7.1f} → {one['rss_last_mb']:7.1f} MB, lag {one['lag_first']} → "
                f"{one['lag_last']} (most {one['lag_longest']}), {one['cpu_share']:.0%} of a core"
            )
        return [*told, *(f"  {text}" for text in (*right.differences, *self.unbalanced[:20]))]


def names(count: int) -> tuple[str, ...]:
    """Return so many symbols, the best known ones among them."""
    made_up = ("".join(letters) + "USDT" for letters in product("ABCDEFGHIJKLMNOP", repeat=3))
    return tuple(islice(dict.fromkeys(chain(DEFAULT_SYMBOLS, ODD, made_up)), count))


def run(folder: Path, count: int, minutes: float, speed: float, busiest: float, seed: int, say: Say) -> Report:
    """Run the platform for so long, wait until all is in the lake, and judge it."""
    settings = Settings()
    size = Size(
        symbols=names(count),
        intervals=(INTERVAL,),
        speed=speed,
        trades_per_second=busiest,
        sink_commit_ms=settings.sink_commit_ms,
        commit_ms=settings.commit_ms,
        history_days=0,  # of thousands of symbols the exchange would keep gigabytes of it
    )
    report, rows = Report(count, minutes, speed), list[dict[str, Any]]()
    with running(folder, size, seed) as platform:
        _until_begun(platform)
        say(f"up in {folder}")
        watch, started = BalanceWatch(STAGES, platform.metrics), time.monotonic()
        began_at = platform.exchange.time()
        with watch:
            while (passed := time.monotonic() - started) < minutes * 60:
                sample(platform, rows, started)
                say(f"{passed:5.0f} s  " + ", ".join(f"{name} lag {rows[-1][name].get('lag')}" for name in STAGES))
                time.sleep(max(0.0, SAMPLE_EVERY - (time.monotonic() - started - passed)))
            ended_at = platform.exchange.time()
            end, report.settled_s = settle(platform, say, began_at, PATIENCE)
            watch.look()
        say("judging")
        report.balance_looks = watch.looks
        unseen = [f"{name}: its balance was never seen" for name in watch.unseen()]
        report.unbalanced = [*watch.off, *unseen, *lake_off(platform.lake)]
        report.verify = proved(platform)
        began = time.monotonic()
        report.verdict = judge(
            platform.lake, platform.kafka, platform.exchange, size.symbols, size.intervals, end, began_at
        )
        report.judged_s = time.monotonic() - began
        _measure(report, platform, rows, (began_at, ended_at), end)
    return report


def _until_begun(platform: Platform) -> None:
    """Wait until ingest knows where each symbol's log begins: windows that open from now on have to be complete."""
    while total(parse_metrics(platform.metrics("ingest").decode()), "quantstream_ingest_unbegun_symbols") != 0:
        time.sleep(1)


def proved(platform: Platform) -> dict[str, Any]:
    """Return what the platform's own proof says of the symbols that have traded; that no trade is missing, the judge says."""
    began = time.monotonic()
    traded = pc.unique(platform.lake.read("trades", columns=["symbol"])["symbol"]).to_pylist()
    argv = [sys.executable, "-m", "streaming", "verify", "--json", "--symbols", ",".join(sorted(map(str, traded)))]
    env = {**os.environ, **platform.processes["sink"].env}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout) if done.stdout.startswith("{") else {"said": done.stderr[-1000:]}
    kept = {name: value for name, value in found.items() if not isinstance(value, list)}
    return {"exit_code": done.returncode, "seconds": time.monotonic() - began, **kept}


def _measure(report: Report, platform: Platform, rows: list[dict[str, Any]], market: tuple[int, int], end: int) -> None:
    """Fill in the figures: of the processes after the first windows, of the `market` time (ms) that was played."""
    warm = [row for row in rows if row["at_s"] >= SINCE * report.minutes * 60]
    report.stages = {name: judge_stage(warm, name) for name in (*STAGES, "broker", "exchange")}
    report.load = median(row["load"] for row in rows)
    times = pc.cast(platform.lake.read("trades", columns=["traded_at"])["traded_at"], "int64").to_numpy() // 1000
    played = ((times >= market[0]) & (times < market[1])).sum()
    report.trades_per_s = float(played) / (report.minutes * 60)
    candles = platform.lake.candles(None, INTERVAL)
    report.flat = int(pc.sum(pc.equal(candles["trade_count"], 0)).as_py() or 0)
    clock = _Clock(platform, report.speed)
    report.closed = _delays(platform, CANDLES, Candle, clock, end)
    report.scored = _delays(platform, SCORES, Score, clock, end)


class _Clock:
    """When, by the wall, the exchange's clock showed a time."""

    def __init__(self, platform: Platform, speed: float) -> None:
        self._at, self._wall, self._speed = platform.exchange.time(), time.time() * 1000, speed

    def wall(self, at: float) -> float:
        """Return the wall's time (ms) for a time of the exchange (ms)."""
        return self._wall + (at - self._at) / self._speed


def _delays(platform: Platform, topic: Topic, kind: type[Candle | Score], clock: _Clock, end: int) -> dict[str, float]:
    """Return how long after its window's end each record was in its topic, by the broker's time stamp."""
    found, length = Delays(), INTERVALS[INTERVAL]
    for message in each_record(platform.kafka, topic):
        value = decode(message.value() or b"", kind)
        if value.opened_at < end * 1000 and not getattr(value, "revision", 0):
            closed_at = clock.wall((value.opened_at + length) / 1000)
            found.add((message.timestamp()[1] - closed_at) * 1000)
    return found.told()


def main(argv: list[str] | None = None) -> int:
    """Run once; print lines for people, or JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.scale", description=__doc__)
    parser.add_argument("--symbols", type=int, default=2_000)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--speed", type=float, default=SPEED, help="exchange seconds in one second")
    parser.add_argument("--busiest", type=float, default=BUSIEST, help="trades a second of the busiest symbol")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keep", action="store_true", help="leave the state folder, for a look at its logs")
    given = parser.parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix="scale-"))
    report = run(
        folder / "state",
        given.symbols,
        given.minutes,
        given.speed,
        given.busiest,
        given.seed,
        lambda text: print(text, file=sys.stderr, flush=True),
    )
    print(json.dumps(report.as_json(), indent=1) if given.json else "\n".join(report.lines()))
    if given.keep or not report.is_right:
        print(f"logs and tables are in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder)
    return 0 if report.is_right else 1


if __name__ == "__main__":
    end_with(main)
