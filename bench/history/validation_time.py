"""`python -m bench.history.validation_time SYMBOLS [--days N]`: what a night of validation costs as the history grows.

Candles of made-up markets fill a lake in a folder. They are checked for the first time, a day later (as a night does it, and as a
whole, which is what every night cost before), and once more when nothing has changed. Each is a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from bench.history.training_memory import BEGIN, fill
from ml.validation.gate import BY_MONTH, Gate
from quantstream.core.time import DAY, HOUR
from quantstream.lake.store import Lake
from quantstream.process_end import end_with

SEED = 7


def main(arguments: list[str] | None = None) -> int:
    """Fill a lake, check it four times, and print what each took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("symbols", type=int)
    parser.add_argument("--days", type=int, default=731)
    asked = parser.parse_args(arguments)
    names = [f"SYM{number:04}USDT" for number in range(asked.symbols)]
    with tempfile.TemporaryDirectory(prefix="quantstream-validation-") as folder:
        lake = Lake(f"{folder}/lake")
        whole = Lake(f"{folder}/whole")
        for number, name in enumerate(names):
            fill(whole, name, asked.days + 1, SEED + number)
        rows, end = whole.read("candles"), BEGIN + asked.days * DAY
        cut = datetime.fromtimestamp(end / 1e6, UTC)
        columns = [name for name in rows.column_names if name not in ("date", "month")]
        lake.append("candles", whole.read("candles", end=cut).select(columns))
        show(lake, Path(folder), names, "first", end)
        lake.append("candles", whole.read("candles", start=cut).select(columns))
        show(lake, Path(folder), names, "next night", end + DAY)
        show(lake, Path(folder), names, "next night, everything", end + DAY, anew=True)
        show(lake, Path(folder), names, "months later", end + 90 * DAY)
        show(lake, Path(folder), names, "nothing changed", end + 90 * DAY)
    return 0


def show(lake: Lake, state: Path, names: list[str], what: str, at: int, anew: bool = False) -> None:
    """Check all symbols at a time of the exchange (µs), and print what it took."""
    gate = Gate(lake, names, state, lambda: at + 2 * HOUR, datetime.now(UTC), "bench", outages=(), anew=anew)
    for table in BY_MONTH:
        began, worked = time.monotonic(), time.process_time()
        reports = [gate.check(table, name) for name in names]
        seconds, busy = time.monotonic() - began, time.process_time() - worked
        months = sum(one.months_anew for one in reports), sum(one.months for one in reports)
        figures = {"seconds": round(seconds, 2), "processor_seconds": round(busy, 2), "months_read": months[0]}
        rows = sum(one.rows for one in reports)
        print(json.dumps({"what": what, "table": table, **figures, "months": months[1], "rows": rows}), flush=True)


if __name__ == "__main__":
    end_with(main)
