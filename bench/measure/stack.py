"""An embedded stack of a measurement's own, in a folder of its own, on a simulated market that runs fast."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LONGEST = 1_200.0  # seconds for a run of a pipeline


class Stack:
    """An embedded stack in a folder of its own; `market` is what `quantstream up` is told of it."""

    def __init__(self, folder: Path, market: Sequence[str], settings: Mapping[str, str]) -> None:
        self.state = folder / "state"
        known = {name: value for name, value in os.environ.items() if not name.startswith("QUANTSTREAM_")}
        self.environment, self.market = {**known, **settings}, market

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
        self("up", "--detach", "--wait", *self.market, *ports, seconds=1_200.0)
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

    def decisions(self, kind: str) -> list[dict[str, Any]]:
        """Return what was decided of a kind of model, the oldest first."""
        found: list[dict[str, Any]] = json.loads(self("models", "history", kind, "--json"))
        return found


def scores_in(bootstrap: str) -> list[Any]:
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
