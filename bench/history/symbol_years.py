"""`python -m bench.history.symbol_years SYMBOLS…`: a year of candles from the archive to four models, with each step's memory.

The simulated exchange serves the candles over HTTP as the public archive does. Each step is the command that a person or a
pipeline runs, in processes of its own: backfill, validation, features, a training of each kind of model beside a real MLflow.
Of each the peak of what its processes had together is taken: `own_mb` is anonymous memory, `all_mb` with mapped files too
(PSS), of which pages of scratch on disk are the kernel's to drop.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil

from quantstream.lake.store import Lake
from quantstream.messages.models import MODEL_KINDS
from quantstream.process_end import end_with

END = datetime.fromisoformat("2026-01-01T00:00:00+00:00")  # of the history, shortly before the exchange's clock
LOOK = 0.25  # seconds between two looks at memory
TRADED, TRADED_DAYS = 5, 2  # symbols and days of trades: the anomaly model learns from some
RATE = 0.2  # trades a second of the busiest symbol: a quiet market, for a candle costs the archive its trades
STARTS_WITHIN = 120.0
STEPS = ("backfill", "trades", "validation", "features", *MODEL_KINDS)


class Peak:
    """The most memory that a process and those that it started have had together, in MB."""

    def __init__(self, pid: int) -> None:
        """Starts looking, in a thread."""
        self.own = self.all = 0.0
        self._process, self._ended = psutil.Process(pid), threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(LOOK):
            own = every = 0.0
            with suppress(psutil.NoSuchProcess):
                for one in (self._process, *self._process.children(recursive=True)):
                    found = _pages(one.pid)
                    own, every = own + found.get("Pss_Anon", 0.0), every + found.get("Pss", 0.0)
            self.own, self.all = max(self.own, own), max(self.all, every)


def _pages(pid: int) -> dict[str, float]:
    """Return a process's shares of memory in MB by the kernel's names, none of one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return {}
    return {name: int(rest.split()[0]) / 1024 for name, _, rest in (line.partition(":") for line in lines)}


def commands(step: str, symbols: Sequence[str], days: int, folder: Path) -> list[str]:
    """Return the command of a step."""
    python = [sys.executable, "-m"]
    first, after = END - timedelta(days=days), f"{END:%Y-%m-%d}"
    fetch = [*python, "streaming", "backfill", "--json", "--to", after]
    if step == "backfill":
        return [*fetch, "--from", f"{first:%Y-%m-%d}", "--symbols", ",".join(symbols)]
    if step == "trades":
        since = END - timedelta(days=TRADED_DAYS)
        return [*fetch, "--kind", "trades", "--from", f"{since:%Y-%m-%d}", "--symbols", ",".join(symbols[:TRADED])]
    if step == "validation":
        return [*python, "bench.history.symbol_years", "--validate"]
    if step == "features":
        return [*python, "ml", "features", "build"]
    return [*python, "ml", "train", step, "--features-version", str(Lake(str(folder / "lake")).version("features"))]


def validate() -> dict[str, Any]:
    """Check all tables of all symbols in this process or where QUANTSTREAM_DASK says, as `candles_validate` does."""
    from ml.validation.pipeline import validate_each
    from quantstream.settings_loader import load_settings

    settings, reports = load_settings(), []
    for done in validate_each(settings, settings.symbols, ("candles", "features", "trades"), "bench"):
        if done.error is not None:
            raise done.error
        reports += done.result or []
    return {"checked": len(reports), "held_days": sum(len(one.newly_held) for one in reports)}


@contextmanager
def exchange(symbols: Sequence[str], days: int) -> Iterator[str]:
    """Yield the address of a simulated exchange that has `days` of history."""
    command = [sys.executable, "-m", "streaming", "simulate", "--symbols", ",".join(symbols)]
    command += ["--start-at", f"{END + timedelta(minutes=10):%Y-%m-%dT%H:%M:%SZ}", "--history-days", str(days)]
    command += ["--trades-per-second", str(RATE), "--seed", "3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["rest"]
        finally:
            process.terminate()


@contextmanager
def models(folder: Path) -> Iterator[str]:
    """Yield the address of an MLflow server that keeps all in a folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "infra.embedded.mlflow_server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    with (folder / "mlflow.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=Path.cwd())
    try:
        _wait(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError):
            urllib.request.urlopen(url, timeout=5).close()
            return
        time.sleep(0.3)
    raise RuntimeError("MLflow's server did not start; its log lies in the folder")


def run(command: Sequence[str], variables: dict[str, str], log: Path) -> dict[str, Any]:
    """Run a command to its end; return its seconds, peak memory in MB and the JSON that it printed last, if it did.

    Raises: RuntimeError with what it said when it fails.
    """
    begun = time.monotonic()
    with log.open("w+") as said, tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=said, env={**os.environ, **variables})
        peak = Peak(process.pid)
        try:
            code = process.wait()
        finally:
            process.kill()
            peak.stop()
        output.seek(0)
        lines = output.read().splitlines()
    if code:
        raise RuntimeError(f"{' '.join(command)[:200]} ended with {code}: {(log.read_text() or str(lines))[-2000:]}")
    cost = {"seconds": round(time.monotonic() - begun, 1), "own_mb": round(peak.own), "all_mb": round(peak.all)}
    return {**cost, "said": lines[-1] if lines else ""}


def measure(count: int, days: int, steps: Sequence[str], dask: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield a row for each step; what was done in the folder before is not done again."""
    symbols = [f"S{number:04d}USDT" for number in range(count)]
    folder.mkdir(parents=True, exist_ok=True)
    variables = {
        "QUANTSTREAM_SYMBOLS": ",".join(symbols),
        "QUANTSTREAM_STATE": str(folder),
        "QUANTSTREAM_EXCHANGE": "simulated",
        "QUANTSTREAM_DASK": dask,
    }
    served = models(folder) if {*steps} & {*MODEL_KINDS} else nullcontext("")
    with exchange(symbols, days) as rest, served as mlflow:
        variables |= {"QUANTSTREAM_ENDPOINTS__REST": rest, "QUANTSTREAM_ENDPOINTS__ARCHIVE": rest}
        variables["QUANTSTREAM_MLFLOW"] = mlflow
        for step in steps:
            found = run(commands(step, symbols, days, folder), variables, folder / f"{step}.log")
            said = SAID.get(step, _trained)(found.pop("said"))
            yield {"symbols": count, "days": days, "step": step, **found, **said}


def _fetched(said: str) -> dict[str, Any]:
    reports = json.loads(said).values()
    whole = sum(one["is_whole"] for one in reports)
    return {"rows": sum(one["stored"] for one in reports), "whole_symbols": whole}


def _trained(said: str) -> dict[str, Any]:
    found = json.loads(said)
    metrics = {name: round(value, 4) for name, value in found["metrics"].items() if name in ("fit_seconds",)}
    return {"version": found["version"], "promoted": found["promoted"], **metrics}


SAID: dict[str, Callable[[str], dict[str, Any]]] = {
    "backfill": _fetched,
    "trades": _fetched,
    "validation": json.loads,
    "features": lambda said: {"built": said},
}


def main() -> int:
    """Measure, or do the validation of a measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("symbols", nargs="*", type=int)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--steps", default=",".join(STEPS))
    parser.add_argument("--dask", default="", help="QUANTSTREAM_DASK of every step")
    parser.add_argument("--folder", type=Path, help="where all lies, and is kept; else in a temporary folder")
    parser.add_argument("--validate", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.validate:
        sys.stdout.write(json.dumps(validate()) + "\n")
        return 0
    rows = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended, too
    with tempfile.TemporaryDirectory() as temporary:
        for count in given.symbols:
            place = (given.folder or Path(temporary)).absolute() / str(count)
            for row in measure(count, given.days, given.steps.split(","), given.dask, place):
                rows.append(row)
                sys.stderr.write(f"{json.dumps(row)}\n")
    sys.stdout.write(json.dumps({"bench": "history.symbol_years", "rows": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    end_with(main)
