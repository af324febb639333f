"""A market that changes under an embedded stack: how many candles until it is found, told, and answered by a new training.

It starts a stack of its own on a simulated market whose moves grow fourfold at a planted moment, and triggers `models_monitor`
again and again, as its schedule does once an hour. What the pipelines decide is on the record: the candles closed between the
change and the first decision are counted from it. Half an hour; not part of `make bench`.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.measure import result
from bench.measure.stack import Stack, scores_in
from ml.promotion.decisions import Change
from quantstream.core.time import SCORED_LENGTH, micros

SPEED = 300.0  # a candle a second
CALM = timedelta(
    hours=80
)  # of the market's time until it changes: a day of candles scored by the first models is in it
FACTOR = 4.0
STATED = 312  # candles within which a change is to be answered
SYMBOLS = ("BTCUSDT", "ETHUSDT")
KIND = "risk"
WITHIN = 3_600.0  # seconds for all of it


def main(argv: list[str] | None = None) -> int:
    """Measure, print, return the exit code."""
    given = result.parser(__doc__ or "").parse_args(argv)
    changes_at = datetime.now(UTC).replace(microsecond=0) + CALM
    market = ["--symbols", ",".join(SYMBOLS), "--seed", "5", "--speed", f"{SPEED:g}"]
    market += ["--regime", f"{changes_at:%Y-%m-%dT%H:%M:%S}={FACTOR:g}"]
    with tempfile.TemporaryDirectory(prefix="bench-regime-") as folder:
        stack = Stack(Path(folder), market, {})
        try:
            stack.start()
            return result.show(_measure(stack, changes_at, given.quick), given.json)
        finally:
            stack("down")


def _measure(stack: Stack, changes_at: datetime, quick: bool) -> dict[str, Any]:
    changed = micros(changes_at)
    answer = _until(stack, lambda: [one for one in stack.decisions(KIND) if _is_answer(stack, one, changed)])
    trained = _until(stack, lambda: [one for one in stack.decisions(KIND) if _is_of_training(one, answer)])
    count = (_closed_by(stack, answer) - changed) // SCORED_LENGTH
    rows = [
        result.Row("regime: candles from the change to its answer", "", count, float(STATED), better="lower"),
    ]
    story = [f"{one['decided_at']} {one['version']} {one['change']}: {one['why']}" for one in stack.decisions(KIND)]
    return result.report("regime", rows, quick, answer=answer, then=trained, story=story)


def _is_answer(stack: Stack, decided: dict[str, Any], changed: int) -> bool:
    return decided["change"] in (Change.WANTED, Change.ROLLED_BACK) and _closed_by(stack, decided) > changed


def _is_of_training(decided: dict[str, Any], answer: dict[str, Any]) -> bool:
    later = decided["decided_at"] > answer["decided_at"]
    return answer["change"] == Change.ROLLED_BACK or (later and decided["change"] in (Change.PROMOTED, Change.REFUSED))


def _closed_by(stack: Stack, decided: dict[str, Any]) -> int:
    """Return when the newest candle closed that was scored before a decision, in the market's time."""
    at = micros(datetime.fromisoformat(decided["decided_at"]).astimezone(UTC))
    scored = [one.opened_at for one in scores_in(stack.kafka) if one.scored_at <= at]
    return max(scored, default=0) + SCORED_LENGTH


def _until(stack: Stack, found: Callable[[], list[dict[str, Any]]]) -> dict[str, Any]:
    over_at = time.monotonic() + WITHIN
    while time.monotonic() < over_at:
        if seen := found():
            return seen[0]
        stack.run("models_monitor")
    raise SystemExit(f"nothing was decided within {WITHIN:.0f} s: {json.dumps(stack.decisions(KIND))[-3000:]}")


if __name__ == "__main__":
    sys.exit(main())
