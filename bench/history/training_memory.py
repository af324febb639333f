"""`python -m bench.history.training_memory SYMBOLS…`: memory and time of features and trainings as the number of symbols grows.

Candles of made-up markets fill a lake in a folder; then building features, and for each kind of model reading, fitting and
judging, run as a process each, as in the pipeline. Of each the peak of memory that is its own (anonymous) and of all that it had
mapped are taken: pages of scratch on disk are the kernel's to drop.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ml.data.feature_table.build import build
from ml.data.feature_table.reading import load
from quantstream.core.candle import NO_TRADE_ID
from quantstream.core.time import DAY, SCORED, SCORED_LENGTH
from quantstream.lake.schemas import PRICE, QUOTE, TIME
from quantstream.lake.store import Lake
from quantstream.process_end import end_with

BEGIN = 1_704_067_200_000_000  # 2024-01-01, µs
PRICES = ("open", "high", "low", "close")


def fill(lake: Lake, symbol: str, days: int, seed: int) -> None:
    """Write a symbol's candles of a random walk whose volatility clusters."""
    count, rng = days * DAY // SCORED_LENGTH, np.random.default_rng(seed)
    waves = np.convolve(rng.normal(0, 0.1, count + 60), 0.97 ** np.arange(60), "valid")[:count]
    season = 1 + 0.5 * np.sin(2 * np.pi * np.arange(count) / 288)
    close = 100 * np.exp(np.cumsum(0.001 * np.exp(waves) * season * rng.standard_t(5, count) / 1.3))
    opened, spread = np.concatenate([[100.0], close[:-1]]), np.exp(np.abs(rng.normal(0, 0.0005, count)))
    volume = np.exp(rng.normal(2, 0.5, count))
    values = {
        **dict(
            zip(
                PRICES,
                (opened, np.maximum(opened, close) * spread, np.minimum(opened, close) / spread, close),
                strict=True,
            )
        ),
        "volume": volume,
        "taker_buy_volume": volume * rng.uniform(0.3, 0.7, count),
    }
    exact = {name: _exact(one).cast(PRICE) for name, one in values.items()}
    quote = _exact(volume * close).cast(QUOTE)
    same = {"trade_count": 1, "first_trade_id": NO_TRADE_ID, "last_trade_id": NO_TRADE_ID, "revision": 0}
    columns: dict[str, Any] = {
        "symbol": pa.array([symbol] * count),
        "interval": pa.array([SCORED] * count),
        "opened_at": pa.array(BEGIN + np.arange(count) * SCORED_LENGTH).cast(TIME),
        **exact,
        **{name: pa.array(np.full(count, value)) for name, value in same.items()},
        "quote_volume": quote,
        "taker_buy_quote_volume": quote,
        "is_complete": pa.array([True] * count),
        "source": pa.array(["klines"] * count),
        "known_at": pa.nulls(count, TIME),
    }
    lake.append("candles", pa.table(columns))


def _exact(values: Any) -> pa.Array:
    return pa.array(np.round(values, 8)).cast(pa.decimal128(38, 8), safe=False)


def step(lake: Lake, what: str, scratch: Path, dask: str) -> dict[str, Any]:
    """Do one step of the pipeline in this process."""
    if what == "features":
        built = build(lake, sorted(_symbols(lake)), dask=dask)
        return {"rows": built.rows, "parts": built.parts, "processor_s": round(time.process_time(), 1)}
    from ml.training import train

    began = time.process_time()
    data, lineage = load(lake, scratch)
    task = train.prepare(what, data)
    read = time.process_time()
    model = train.fit(task)
    fitted = time.process_time()
    report = train.judge(task, model)
    seconds = {"read": read - began, "fit": fitted - read, "judge": time.process_time() - fitted}
    busy = {f"{name}_processor_s": round(value, 1) for name, value in seconds.items()}
    return {"rows": lineage.rows, "on_disk": data.is_on_disk, "judged": report.rows, **busy}


def _symbols(lake: Lake) -> list[str]:
    return list(lake.rows("candles"))


class Peak:
    """The most memory this process has had, in MB: its own, and with mapped files."""

    def __init__(self) -> None:
        """Starts looking, in a thread."""
        self.own = self.all = 0.0
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while True:
            lines = Path("/proc/self/status").read_text().splitlines()
            found = {
                name: int(rest.split()[0]) / 1024
                for name, _, rest in (line.partition(":") for line in lines)
                if "kB" in rest
            }
            self.own, self.all = max(self.own, found["RssAnon"]), max(self.all, found["VmRSS"])
            time.sleep(0.05)


def measure(symbols: int, days: int, steps: list[str], dask: str, folder: Path) -> list[dict[str, Any]]:
    """Return a row for each step."""
    lake = Lake(str(folder / "lake"))
    for number in range(len(_symbols(lake)), symbols):
        fill(lake, f"S{number:04d}USDT", days, number)
    rows = []
    for what in steps:
        command = [
            sys.executable,
            "-m",
            "bench.history.training_memory",
            "--step",
            what,
            "--folder",
            str(folder),
            "--dask",
            dask,
        ]
        begun = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        rows.append(
            {"symbols": symbols, "days": days, "step": what, "seconds": round(time.monotonic() - begun, 1), **found}
        )
        sys.stderr.write(f"{json.dumps(rows[-1])}\n")
    return rows


def main() -> int:
    """Measure, or do one step of a measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("symbols", nargs="*", type=int)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--steps", default="features,risk,signal")
    parser.add_argument("--dask", default="")
    parser.add_argument("--folder", type=Path, help="where the lake and scratch lie, and stay; else a temporary one")
    parser.add_argument("--step")
    given = parser.parse_args()
    if given.step:
        peak = Peak()
        found = step(Lake(str(given.folder / "lake")), given.step, given.folder / "scratch", given.dask)
        sys.stdout.write(json.dumps({**found, "own_mb": round(peak.own), "all_mb": round(peak.all)}) + "\n")
        return 0
    with nullcontext(given.folder) if given.folder else tempfile.TemporaryDirectory() as folder:
        for count in given.symbols:
            measure(count, given.days, given.steps.split(","), given.dask, Path(folder))
    return 0


if __name__ == "__main__":
    end_with(main)
