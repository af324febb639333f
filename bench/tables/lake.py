"""A year of one symbol's 5m candles read out of a lake of many, by day as it was and by month; memory as symbols double."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable, write_deltalake

from bench.measure import result
from quantstream.core.time import DAY, MINUTE, SECOND, utc
from quantstream.lake.schemas import PARTITIONS, SCHEMAS, TIME
from quantstream.lake.store import Lake
from quantstream.lake.upkeep.evolution import migrate
from quantstream.process_end import end_with

BEGIN = 1_704_067_200 * SECOND  # 2024-01-01
WINDOW = 5 * MINUTE
SYMBOLS, DAYS, RUNS = 8, 366, 9
READ, AIM_READ = 300, 150  # ms
WALK = """
import sys
from pathlib import Path
from quantstream.lake.reads import Asked
from quantstream.lake.store import Lake
rows = sum(len(b) for b in Lake(sys.argv[1]).batches("candles", Asked(sys.argv[2].split(","), interval="5m")))
most = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(rows, int(most.split()[1]) / 1024)
"""


def main(argv: list[str] | None = None) -> int:
    """Measure, print, return the exit code."""
    given = result.parser(__doc__ or "").parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="bench-lake-") as folder:
        found = _measure(Path(folder), *((2, 40, 1) if given.quick else (SYMBOLS, DAYS, RUNS)))
    return result.show(result.report("tables.lake", found.pop("rows"), given.quick, **found), given.json)


def _measure(folder: Path, symbols: int, days: int, runs: int) -> dict[str, Any]:
    names = [f"S{number}USDT" for number in range(symbols)]
    lake, expected = by_day(folder / "lake", names, days), days * DAY // WINDOW
    by_day_ms, _ = _milliseconds(lambda: _read(lake, names[0], expected), runs)
    began = time.process_time()
    migrate(lake, BEGIN)
    rate = expected * symbols / (time.process_time() - began)
    by_month_ms, processor_ms = _milliseconds(lambda: _read(lake, names[0], expected), runs)
    pq.write_table(lake.candles([names[0]]), folder / "one.parquet", compression="zstd")
    floor, _ = _milliseconds(lambda: pq.read_table(folder / "one.parquet"), runs)
    half, whole = (_memory(lake, names[:count], expected) for count in (symbols // 2, symbols))
    rows = [
        result.Row(
            "a year of one symbol's candles", "ms", by_month_ms, READ, AIM_READ, floor, "one Parquet file", better="lower",
            peers={"a partition a day": by_day_ms},
        ),
        result.Row(f"batches of {symbols} symbols' years", "MB", whole, floor=half, floor_name="of half as many", better="lower"),
        result.Row("migration from days to months", "rows/s of processor time", rate),
    ]  # fmt: skip
    return {
        "rows": rows,
        "files": len(lake.table("candles").file_uris()),
        "candles": expected * symbols,
        "processor_ms": processor_ms,
    }


def by_day(folder: Path, names: list[str], days: int) -> Lake:
    """Make a lake as versions before this one did, a file a symbol and day."""
    columns = [name for name in SCHEMAS["candles"].names if name != "month"]
    schema = pa.schema([SCHEMAS["candles"].field(name) for name in columns])
    DeltaTable.create(f"{folder}/candles", schema=schema, partition_by=PARTITIONS)
    for seed, name in enumerate(names):
        rows = year(name, days, seed).select(columns).cast(schema)
        write_deltalake(f"{folder}/candles", rows, mode="append")
    return Lake(str(folder))


def year(symbol: str, days: int, seed: int) -> pa.Table:
    """Return seeded candles of so many days, a random walk."""
    rng, count = np.random.default_rng(seed), days * DAY // WINDOW
    close = 6_000_000_000_000 + np.cumsum(rng.integers(-(10**9), 10**9, count))
    at = pa.array(BEGIN + np.arange(count) * WINDOW).cast(TIME)
    exact = {"open": close, "high": close + 10**9, "low": close - 10**9, "close": close}
    exact |= {name: rng.integers(1, 10**12, count) for name in ("volume", "taker_buy_volume")}
    exact |= {name: rng.integers(1, 10**17, count) for name in ("quote_volume", "taker_buy_quote_volume")}
    first = np.cumsum(rng.integers(1, 5_000, count))
    whole = {"trade_count": np.diff(first, append=first[-1] + 9), "first_trade_id": first, "last_trade_id": first + 1}
    columns = {name: pa.array(values) for name, values in whole.items()}
    columns |= {name: _decimals(values, SCHEMAS["candles"].field(name).type.scale) for name, values in exact.items()}
    columns |= {"symbol": pa.array([symbol] * count), "opened_at": at, "known_at": at}
    columns |= {"date": at.cast(pa.timestamp("us")).cast(pa.date32()), "interval": pa.array(["5m"] * count)}
    columns |= {"revision": pa.array(np.zeros(count, np.int32)), "source": pa.array(["klines"] * count)}
    return pa.table(columns | {"is_complete": pa.array(np.ones(count, np.bool_))})


def _decimals(units: Any, scale: int) -> pa.Array:
    words = np.zeros((len(units), 2), np.int64)
    words[:, 0] = units
    return pa.Array.from_buffers(pa.decimal128(38, scale), len(units), [None, pa.py_buffer(words)])


def _read(lake: Lake, symbol: str, expected: int) -> None:
    rows = Lake(lake.url).candles([symbol], "5m", utc(BEGIN), utc(BEGIN + 366 * DAY))
    assert rows.num_rows == expected, f"{rows.num_rows} candles instead of {expected}"


def _milliseconds(act: Callable[[], object], runs: int) -> tuple[float, float]:
    """Return the median of several runs by the clock, and the least processor time of one."""
    clock, processor = [], []
    for _ in range(runs):
        began, used = time.perf_counter(), time.process_time()
        act()
        clock.append(time.perf_counter() - began)
        processor.append(time.process_time() - used)
    return 1000 * median(clock), 1000 * min(processor)


def _memory(lake: Lake, names: list[str], expected: int) -> float:
    """Return the most memory (MB) of a process of its own that goes through all candles of some symbols."""
    command = [sys.executable, "-c", WALK, lake.url, ",".join(names)]
    rows, memory = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert int(rows) == expected * len(names), json.dumps([rows, expected, names])
    return float(memory)


if __name__ == "__main__":
    end_with(main)
