"""Retrained, gated, shadowed, promoted: cycles on the embedded stack, all of it by Airflow's pipelines; what served meanwhile.

It starts a stack of its own on a simulated market, triggers `models_train`, then `models_monitor` and `models_promote` until the
challenger was promoted or let go, and begins anew. At the end every closed candle must have exactly one champion's score.
Minutes for each cycle; not part of `make bench`.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.measure import result
from bench.measure.stack import LONGEST, Stack, scores_in
from quantstream.core.time import SCORED_LENGTH, micros

CYCLES, QUICK_CYCLES = 5, 1
SPEED = 300.0  # a candle a second
SHADOW = "72"  # windows; what came of them is known a market's hour later
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "BNBUSDT", "DOGEUSDT")  # several: abnormal hours are rare
KIND = "risk"  # the quickest to train
APART = timedelta(
    days=1
)  # of the market between two trainings: those of one hour see the same rows, and are told the same
TRIES = 4  # trainings for each promotion that is wanted: the gate and the shadow refuse


def main(argv: list[str] | None = None) -> int:
    """Measure, print, return the exit code."""
    options = result.parser(__doc__ or "")
    options.add_argument("--cycles", type=int, default=0, help="how many promotions")
    given = options.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="bench-cycles-") as folder:
        market = ("--symbols", ",".join(SYMBOLS), "--seed", "5", "--speed", f"{SPEED:g}")
        stack = Stack(Path(folder), market, {"QUANTSTREAM_SHADOW_CANDLES": SHADOW})
        try:
            stack.start()
            cycles = given.cycles or (QUICK_CYCLES if given.quick else CYCLES)
            return result.show(_measure(stack, cycles, given.quick), given.json)
        finally:
            stack("down")


def _measure(stack: Stack, cycles: int, quick: bool) -> dict[str, Any]:
    promoted: list[dict[str, Any]] = []
    for _ in range(cycles * TRIES):
        if len(promoted) == cycles:
            break
        next_at = time.monotonic() + APART.total_seconds() / SPEED
        decided = _cycle(stack)
        sys.stderr.write(f"{decided['decided_at']} {decided['version']} {decided['change']}: {decided['why'][:300]}\n")
        promoted += [decided] if decided["change"] == "promoted" else []
        if len(promoted) < cycles:
            time.sleep(max(0.0, next_at - time.monotonic()))
    time.sleep(15.0)  # candles close, and are scored by the last one
    scores = scores_in(stack.kafka)
    times = [_seconds_to_first(scores, one) for one in promoted]
    counts = Counter((score.symbol, score.opened_at) for score in scores)
    rows = [
        result.Row("cycles: retrained, gated, shadowed, promoted by Airflow", "", len(promoted), float(cycles)),
        result.Row(
            "cycles: decision to first score, longest", "s", round(max(times, default=float("nan")), 2), better="lower"
        ),
    ]
    return result.report(
        "cycles",
        rows,
        quick,
        decisions=[f"{one['version']} {one['change']}" for one in stack.decisions(KIND)],
        seconds_to_first_score=[round(one, 2) for one in times],
        scored=len(counts),
        scored_twice=sum(count > 1 for count in counts.values()),
        unscored=sum(_missing([at for symbol, at in counts if symbol == name]) for name in SYMBOLS),
        versions=dict(Counter(score.models.get(f"quantstream-{KIND}", "") for score in scores)),
    )


def _cycle(stack: Stack) -> dict[str, Any]:
    """Have a model trained and, if it passes the gate, wait until it leaves the shadow; return the last decision on it."""
    before = len(stack.decisions(KIND))
    stack.run("models_train", {"models": [KIND]})
    over_at = time.monotonic() + LONGEST
    while (last := stack.decisions(KIND)[-1])["change"] == "challenger":
        if time.monotonic() > over_at:
            return last
        stack.run("models_monitor")
        stack.run("models_promote")
    if len(stack.decisions(KIND)) == before:
        raise SystemExit("a training ended and nothing was decided")
    return last


def _seconds_to_first(scores: list[Any], decided: dict[str, Any]) -> float:
    """Return the seconds from a decision to the first score by its version."""
    at = micros(datetime.fromisoformat(decided["decided_at"]).astimezone(UTC))
    by = [score.scored_at for score in scores if score.models.get(decided["model"]) == decided["version"]]
    later = [one for one in by if one >= at]
    return (min(later) - at) / 1e6 if later else float("inf")


def _missing(times: list[int]) -> int:
    return (max(times) - min(times)) // SCORED_LENGTH + 1 - len(times) if times else 0


if __name__ == "__main__":
    sys.exit(main())
