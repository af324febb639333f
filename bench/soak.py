"""The whole live path for half an hour at 5,000 trades a second: does memory stay flat, does nothing fall behind, how late is it?

    python -m bench.soak --minutes 30 --rate 5000 --json

Broker, simulated exchange (its clock at the wall's pace) and the five stages run as the embedded stack runs them. An observer
outside of them reads what was committed: open candles, to tell how long after the exchange printed a trade it is in one; scores,
to tell how long after the watermark passed a window's end its score was there. The lake is compacted every ten minutes, as the
pipeline `lake_compact` does. The scorer has no champions here: what they take, `bench.score` measures. With `--replicas`, a
second process of one consuming stage after the other joins each minute and leaves half a minute later.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from bench.measure.delays import Delays, Observer
from bench.measure.exchange import SEED, busiest_rate, clock_offset
from infra.embedded.processes import YIELDING
from quantstream.lake.schemas import SCHEMAS
from quantstream.lake.store import Lake
from quantstream.lake.upkeep.compaction import compact
from quantstream.messages.stages import STAGES
from quantstream.observability.metrics_page import parse_metrics, total
from quantstream.process_end import end_with
from quantstream.settings import Settings
from tests.chaos.platform import Platform, Size, running
from tests.chaos.schedule import replica
from tests.chaos.watch import by_stage, moves

SYMBOLS = (
    *("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT", "ADAUSDT", "AVAXUSDT", "DOTUSDT", "LINKUSDT", "LTCUSDT"),
    *("ATOMUSDT", "UNIUSDT", "XLMUSDT", "NEARUSDT", "FILUSDT", "TRXUSDT", "ETCUSDT", "APTUSDT", "ARBUSDT", "OPUSDT"),
)
COMPACT_EVERY = 600.0  # seconds, as dags/lake_compact.py
SAMPLE_EVERY = 5.0  # seconds between looks at memory and lag
WARM_UP = 0.2  # of the run: imports, caches and buffers fill
WARM_CYCLE = (
    COMPACT_EVERY + 120.0
)  # seconds, for memory: from then on the lake's list of files has been as long as it gets
VISIT_EVERY, VISIT = 60.0, 30.0  # seconds: how often a replica comes, and how long it stays
VISITED = tuple(name for name, stage in STAGES.items() if stage.reads)  # partitions move between those alone
SECOND = 2  # a replica's number
LATE_MS, GROWTH = 250.0, 0.05  # what is asked: p99 of both delays, growth of each stage's memory


@dataclass
class Visits:
    """Replicas that come and go, one stage after the other."""

    platform: Platform
    present: str = ""
    joins: Counter[str] = field(default_factory=Counter)

    def go_on(self, passed: float) -> None:
        """Let one come or go if it is time, `passed` seconds after the start."""
        number, into = divmod(passed, VISIT_EVERY)
        due = replica(VISITED[int(number) % len(VISITED)], SECOND) if into < VISIT else ""
        if due == self.present:
            return
        if self.present:
            self.platform.supervisor.stop(self.present)
        if due:
            self.platform.supervisor.start(due)
            self.joins[due] += 1
        self.present = due

    def told(self) -> dict[str, dict[str, int]]:
        """Return how often each replica came, and how often partitions moved, by stage."""
        names = [*STAGES, *(replica(name, SECOND) for name in VISITED)]
        moved = by_stage((name, moves(self.platform.log(name))) for name in names)
        return {"joins": dict(self.joins), **{name: dict(count) for name, count in moved.items() if count}}


def sample(platform: Platform, rows: list[dict[str, Any]], started: float) -> None:
    """Note the memory and the lag of each stage."""
    row: dict[str, Any] = {"at_s": round(time.monotonic() - started, 1), "load": os.getloadavg()[0]}
    for name in (*STAGES, "broker", "exchange"):
        pid = platform.pid(name)
        if pid is not None:
            process = psutil.Process(pid)
            times = process.cpu_times()
            row[name] = {"pid": pid, "rss": process.memory_info().rss, "cpu_s": round(times.user + times.system, 2)}
            pages = [parse_metrics(platform.metrics(one).decode()) for one in _processes_of(platform, name)]
            for key, metric in (("lag", "lag_records"), ("unbalanced", "unbalanced_symbols")):
                found = [total(page, f"quantstream_{name}_{metric}") for page in pages]
                if told := [count for count in found if count is not None]:
                    row[name][key] = sum(told)
    rows.append(row)


def _processes_of(platform: Platform, name: str) -> list[str]:
    """Return the names of a stage's processes, which share its lag."""
    return [one for one in (name, replica(name, SECOND)) if one in platform.processes] if name in STAGES else []


def judge_stage(rows: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    """Return a stage's memory and lag at the beginning (after the warm-up) and at the end of the run."""
    mine = [row[name] for row in rows if name in row]
    tenth = max(1, len(mine) // 10)
    rss = [one["rss"] / 2**20 for one in mine]
    lag = [one["lag"] for one in mine if "lag" in one]
    third = max(1, len(lag) // 3)
    first, last = median(rss[:tenth]), median(rss[-tenth:])
    return {
        "rss_first_mb": round(first, 1),
        "rss_last_mb": round(last, 1),
        "rss_growth": round(last / first - 1, 4),
        "lag_first": median(lag[:third]) if lag else None,
        "lag_last": median(lag[-third:]) if lag else None,
        "lag_longest": max(lag) if lag else None,
        "unbalanced": max((one["unbalanced"] for one in mine if "unbalanced" in one), default=None),
        "cpu_share": round((mine[-1]["cpu_s"] - mine[0]["cpu_s"]) / max(1e-9, rows[-1]["at_s"] - rows[0]["at_s"]), 3),
        "restarts": len({one["pid"] for one in mine}) - 1,
    }


def soak(folder: Path, minutes: float, rate: float, commit_ms: int | None, replicas: bool = False) -> dict[str, Any]:
    """Run the platform for so long and return the report; with `replicas` that come and go."""
    settings = Settings()
    size = Size(
        symbols=SYMBOLS,
        intervals=("5m",),
        speed=1.0,
        trades_per_second=busiest_rate(SYMBOLS, rate, minutes * 60),
        sink_commit_ms=settings.sink_commit_ms,
        commit_ms=commit_ms or settings.commit_ms,
        replicas=(SECOND,) if replicas else (),
    )
    rows: list[dict[str, Any]] = []
    with running(folder, size, seed=SEED) as platform:
        observer = Observer(platform, clock_offset(platform.exchange.base), settings.lateness_ms * 1000)
        visits = Visits(platform)
        thread = threading.Thread(target=observer.run)
        thread.start()
        started = compacted = time.monotonic()
        try:
            while (passed := time.monotonic() - started) < minutes * 60:
                if time.monotonic() - compacted >= COMPACT_EVERY:
                    compacted = time.monotonic()
                    _compact_in_background(platform.lake.url)
                if replicas:
                    visits.go_on(passed)
                observer.is_warm = passed >= WARM_UP * minutes * 60
                sample(platform, rows, started)
                time.sleep(max(0.0, SAMPLE_EVERY - (time.monotonic() - started - passed)))
            seconds = time.monotonic() - started
            visited = visits.told() if replicas else {}
        finally:
            observer.stop.set()
            thread.join()
    return _report(rows, observer, minutes, rate, seconds, size.commit_ms) | {"replicas": visited}


def _compact_in_background(lake: str) -> None:
    """Merge the lake's small files in a process of its own, which gives way as the pipelines' tasks do."""
    multiprocessing.get_context("spawn").Process(target=_compact, args=(lake,), daemon=True).start()


def _compact(lake: str) -> None:
    os.nice(YIELDING)
    for table in sorted(SCHEMAS):
        compact(Lake(lake), table)


def _report(
    rows: list[dict[str, Any]], observer: Observer, minutes: float, rate: float, seconds: float, commit_ms: int
) -> dict[str, Any]:
    warm = [row for row in rows if row["at_s"] >= min(max(WARM_UP * minutes * 60, WARM_CYCLE), minutes * 30)]
    stages = {name: judge_stage(warm, name) for name in (*STAGES, "broker", "exchange")}
    quiet = min(observer.by_minute.values(), key=lambda delays: delays.quantile(0.99), default=Delays())
    second = rate  # records: what comes in a second may wait at any moment
    reached = {
        "memory": all(stages[name]["rss_growth"] < GROWTH and not stages[name]["restarts"] for name in STAGES),
        "lag": all((stages[name]["lag_last"] or 0) <= (stages[name]["lag_first"] or 0) + second for name in STAGES),
        "balance": all(stages[name]["unbalanced"] == 0 for name in STAGES),
        "open_candle": observer.open_candle.quantile(0.99) < LATE_MS,
        "score": observer.score.quantile(0.99) < LATE_MS,
    }
    return {
        "bench": "soak",
        "minutes": minutes,
        "rate_asked": rate,
        "rate_seen": round(observer.trades / seconds, 1),
        "commit_ms": commit_ms,
        "symbols": len(SYMBOLS),
        "stages": stages,
        "trade_to_open_candle": observer.open_candle.told(),
        "best_minute_p99_ms": quiet.quantile(0.99),
        "watermark_to_score": observer.score.told(),
        "load": {"median": median(row["load"] for row in rows), "highest": max(row["load"] for row in rows)},
        "cores": os.cpu_count(),
        "reached": reached,
    }


def lines(found: dict[str, Any]) -> list[str]:
    """Return what a person reads."""
    head = (
        f"{found['minutes']:g} min, {found['rate_seen']:g} of {found['rate_asked']:g} trades/s, {found['cores']} cores"
    )
    told = [f"{head}, load {found['load']['median']:.1f} (up to {found['load']['highest']:.1f})"]
    for name, stage in found["stages"].items():
        told.append(
            f"  {name:10} {stage['rss_first_mb']:7.1f} → {stage['rss_last_mb']:7.1f} MB ({stage['rss_growth']:+.1%}), "
            f"lag {stage['lag_first']} → {stage['lag_last']}, {stage['cpu_share']:.0%} of a core"
        )
    for name in ("trade_to_open_candle", "watermark_to_score"):
        delay = found[name]
        told.append(
            f"  {name}: p50 {delay['p50_ms']:.0f}, p99 {delay['p99_ms']:.0f}, longest {delay['longest_ms']:.0f} ms "
            f"of {delay['count']}"
        )
    if found["replicas"]:
        told.append(f"  replicas: {found['replicas']}")
    told.append(f"  reached: {found['reached']}")
    return told


def main(argv: list[str] | None = None) -> int:
    """Run once and print the report; the exit code says that it ran, the report what was reached."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=5000.0, help="trades a second, of all symbols together")
    parser.add_argument("--commit-ms", type=int, help="QUANTSTREAM_COMMIT_MS (default: the platform's)")
    parser.add_argument(
        "--replicas", action="store_true", help="let a second process of a stage come and go every minute"
    )
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        found = soak(folder / "state", given.minutes, given.rate, given.commit_ms, given.replicas)
    finally:
        shutil.rmtree(folder)
    print(json.dumps(found, indent=1) if given.json else "\n".join(lines(found)))
    return 0


if __name__ == "__main__":
    end_with(main)
