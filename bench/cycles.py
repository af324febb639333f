"""Retrained, gated, shadowed, promoted: cycles on the embedded stack, all of it by Airflow's pipelines; what served meanwhile.

It starts a stack of its own on a simulated market, triggers `models_train`, then `models_monitor` and `models_promote` until the
challenger was promoted or let go, and begins anew. At the end every closed candle must have exactly one champion's score.
Minutes for each cycle; not part of `make bench`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.measure import result
from quantstream.core.time import SCORED_LENGTH, micros

CYCLES, QUICK_CYCLES = 5, 1
SPEED = 60.0  # a candle every five seconds
SHADOW = "6"  # windows; what came of them is known a market's hour later
SYMBOLS = ("BTCUSDT", "ETHUSDT")
KIND = "risk"  # the quickest to train
LONGEST = 1_200.0  # seconds for a run of a pipeline
TRIES = 4  # trainings for each promotion that is wanted: the gate and the shadow refuse


class Stack:
    """An embedded stack in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        known = {name: value for name, value in os.environ.items() if not name.startswith("QUANTSTREAM_")}
        self.environment = known | {"QUANTSTREAM_SHADOW_CANDLES": SHADOW}

    def __call__(self, *words: str, seconds: float = 300.0) -> str:
        """Run a command and return what it says. Raises: SystemExit."""
        command = [str(Path(sys.executable).with_name("quantstream")), *words, "--state", str(self.state)]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=seconds, check=False
        )
        if done.returncode:
            raise SystemExit(
                f"{' '.join(words)} ended with {done.returncode}: {done.stdout[-1500:]}{done.stderr[-1500:]}"
            )
        return done.stdout

    def start(self) -> None:
        """Start it, and return when the first models serve."""
        from infra.embedded.airflow.api import AirflowApi
        from infra.embedded.free_ports import free_ports

        pages = zip(("dashboard", "airflow", "mlflow"), free_ports(3), strict=True)
        ports = [part for page, port in pages for part in (f"--{page}-port", str(port))]
        market = ("--symbols", ",".join(SYMBOLS), "--seed", "5", "--speed", f"{SPEED:g}")
        self("up", "--detach", "--wait", *market, *ports, seconds=1_200.0)
        about = json.loads((self.state / "stack.json").read_text())
        secret = json.loads(Path(about["airflow_password_file"]).read_text())
        self.kafka, self.airflow = about["kafka"], AirflowApi(about["urls"]["airflow"], secret["admin"])

    def run(self, pipeline: str, conf: dict[str, Any] | None = None) -> None:
        """Have Airflow run a pipeline, and wait for its end."""
        started = self.airflow.trigger(pipeline, conf or {})
        over_at = time.monotonic() + LONGEST
        while not self.airflow.run(pipeline, started).is_finished:
            if time.monotonic() > over_at:
                raise SystemExit(f"{pipeline} has not ended within {LONGEST:.0f} s")
            time.sleep(1.0)  # between two looks

    def decisions(self) -> list[dict[str, Any]]:
        """Return what was decided of the model, the oldest first."""
        found: list[dict[str, Any]] = json.loads(self("models", "history", KIND, "--json"))
        return found


def main(argv: list[str] | None = None) -> int:
    """Measure, print, return the exit code."""
    options = result.parser(__doc__ or "")
    options.add_argument("--cycles", type=int, default=0, help="how many promotions")
    given = options.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="bench-cycles-") as folder:
        stack = Stack(Path(folder))
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
        decided = _cycle(stack)
        sys.stderr.write(f"{decided['decided_at']} {decided['version']} {decided['change']}: {decided['why'][:300]}\n")
        promoted += [decided] if decided["change"] == "promoted" else []
    time.sleep(15.0)  # candles close, and are scored by the last one
    scores = _scores(stack.kafka)
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
        decisions=[f"{one['version']} {one['change']}" for one in stack.decisions()],
        seconds_to_first_score=[round(one, 2) for one in times],
        scored=len(counts),
        scored_twice=sum(count > 1 for count in counts.values()),
        unscored=sum(_missing([at for symbol, at in counts if symbol == name]) for name in SYMBOLS),
        versions=dict(Counter(score.models.get(f"quantstream-{KIND}", "") for score in scores)),
    )


def _cycle(stack: Stack) -> dict[str, Any]:
    """Have a model trained and, if it passes the gate, wait until it leaves the shadow; return the last decision on it."""
    before = len(stack.decisions())
    stack.run("models_train", {"models": [KIND]})
    over_at = time.monotonic() + LONGEST
    while (last := stack.decisions()[-1])["change"] == "challenger":
        if time.monotonic() > over_at:
            return last
        stack.run("models_monitor")
        stack.run("models_promote")
    if len(stack.decisions()) == before:
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


def _scores(bootstrap: str) -> list[Any]:
    """Return every score in the topic."""
    from quantstream.kafka import Reader
    from quantstream.messages.payloads import Score, decode
    from quantstream.messages.topics import SCORES
    from quantstream.settings import Kafka

    reader, found = Reader(Kafka(bootstrap=bootstrap)), []
    for part in reader.partitions(SCORES):
        _, end = reader.ends(SCORES.name, part)
        reader.assign({(SCORES.name, part): 0})
        while reader.positions().get((SCORES.name, part), 0) < end:
            found += [decode(message.value() or b"", Score) for message in reader.poll(0.5)]
    reader.close()
    return found


if __name__ == "__main__":
    sys.exit(main())
