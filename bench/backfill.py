"""A day's archive of aggregate trades, zipped, to exact candles on one core, beside float candles from the unzipped CSV."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from bench.measure import lake_import, machine, result
from bench.measure.floors import Rate, Stopwatch
from quantstream.core.candle_builder import CandleBuilder
from quantstream.core.decimals import DECIMALS, UNIT
from quantstream.lake.schemas import candle_rows
from quantstream.process_end import end_with
from streaming.offline.candles import write_candles
from streaming.recordings.readers import read_trades

ROWS, QUICK = 2_000_000, 50_000
TARGET, AIM = 1_500_000, 3_000_000
ISSUE_FLOOR = (
    3_500_000  # trades/s that DuckDB made on the machine where the targets were set: what turns them into shares
)
CHUNK = 500_000
BEGIN_MS = 1_754_006_400_000
DAY_MS = 86_400_000
NAMES = (
    "agg_trade_id",
    "price",
    "quantity",
    "first_trade_id",
    "last_trade_id",
    "transact_time",
    "is_buyer_maker",
    "is_best_match",
)
SQL = """
select (transact_time // 300000) * 300000, arg_min(price, agg_trade_id), max(price), min(price), arg_max(price, agg_trade_id),
       sum(quantity), sum(price * quantity), sum(last_trade_id - first_trade_id + 1),
       sum(case when is_buyer_maker then 0 else quantity end), sum(case when is_buyer_maker then 0 else price * quantity end)
from read_csv('{path}', header=false, columns={{{columns}}})
group by 1 order by 1
"""
TYPES = ("bigint", "double", "double", "bigint", "bigint", "bigint", "boolean", "boolean")


def main(argv: list[str] | None = None) -> int:
    """Measure, print, return the exit code."""
    options = result.parser(__doc__ or "")
    options.add_argument("--trades", type=int, default=0, help="rows of the archive that is made")
    given = options.parse_args(argv)
    machine.pin()
    pa.set_cpu_count(1)
    trades = given.trades or (QUICK if given.quick else ROWS)
    with tempfile.TemporaryDirectory(prefix="bench-backfill-") as folder:
        found = _measure(Path(folder), trades, given.quick)
    return result.show(found, given.json)


def _measure(folder: Path, trades: int, quick: bool) -> dict[str, Any]:
    plain, packed = folder / "BTCUSDT-aggTrades-2025-08-01.csv", folder / "BTCUSDT-aggTrades-2025-08-01.zip"
    make_archive(plain, packed, trades)
    read, _ = timed(trades, lambda: pyarrow.csv.read_csv(plain, pyarrow.csv.ReadOptions(column_names=NAMES)))
    floats, rows = timed(trades, lambda: duckdb_candles(plain))
    ours, summary = timed(trades, lambda: write_candles([packed], folder / "candles.parquet"))
    sorted_, _ = timed(trades, lambda: write_candles([disordered(plain)], folder / "again.parquet"))
    candles = pyarrow.parquet.read_table(folder / "candles.parquet")
    row = result.Row(
        "backfill: zipped aggTrades to exact candles",
        "trades per second of a core",
        round(ours.per_cpu_s),
        TARGET,
        AIM,
        round(floats.per_cpu_s),
        "DuckDB, float candles from the CSV",
        target_ratio=round(TARGET / ISSUE_FLOOR, 2),
        aim_ratio=round(AIM / ISSUE_FLOOR, 2),
        peers={"pyarrow, reading the CSV alone": round(read.per_cpu_s)},
    )
    lake, details = _into_the_lake(folder, plain, packed, trades)
    return result.report(
        "backfill",
        [row, lake],
        quick,
        **details,
        trades=trades,
        candles=summary.candles,
        trades_in_candles=summary.trades,
        rows_accounted_for=summary.account.placed,
        out_of_order_per_cpu_s=round(sorted_.per_cpu_s),
        out_of_order_equals=(folder / "again.parquet").read_bytes() == (folder / "candles.parquet").read_bytes(),
        equals_one_by_one=_equals_one_by_one(folder, min(trades, QUICK)),
        equals_floats=_near(candles, rows),
        trades_per_s=round(ours.per_s),
        floor_per_s=round(floats.per_s),
        symbols=len(summary.gaps),
    )


def _into_the_lake(folder: Path, plain: Path, packed: Path, trades: int) -> tuple[result.Row, dict[str, Any]]:
    """Measure the import into the lake, candles included, and its memory at one size and at four times as much."""
    ours, rss, stored = lake_import.measured(packed, trades)
    floor, _ = timed(trades, lambda: lake_import.duckdb_parquet(plain, folder / "duckdb.parquet"))
    peers = {}
    if lake_import.has_polars():
        rate, _ = timed(trades, lambda: lake_import.polars_parquet(plain, folder / "polars.parquet"))
        peers["Polars, rows to Parquet"] = round(rate.per_cpu_s)
    large = folder / "BTCUSDT-aggTrades-2025-08-01.large" / packed.name
    large.parent.mkdir()
    make_archive(large.with_suffix(".csv"), large, 4 * trades, seed=3)
    _, rss_of_four, _ = lake_import.measured(large, 4 * trades)
    row = result.Row(
        "backfill: zipped aggTrades into the lake, rows and candles",
        "trades per second of a core",
        round(ours.per_cpu_s),
        floor=round(floor.per_cpu_s),
        floor_name="DuckDB, rows of the CSV to Parquet, no candles",
        peers=peers,
    )
    whole = stored == {"trades": trades, "candles": 1440 + 288}
    return row, {"lake_is_whole": whole, "rss_mb": rss, "rss_mb_of_four_times": rss_of_four}


def disordered(plain: Path) -> Path:
    """Return an archive whose first and second half alternate row by row, made once."""
    path = plain.with_name("BTCUSDT-aggTrades-alternating.csv")
    if not path.exists():
        lines = plain.read_bytes().splitlines(keepends=True)
        half = len(lines) // 2
        pairs = zip(lines[:half], lines[half:], strict=False)
        path.write_bytes(b"".join([line for pair in pairs for line in pair] + lines[2 * half :]))
    return path


def timed(trades: int, act: Callable[[], Any]) -> tuple[Rate, Any]:
    """Return how fast the better of two runs was, and what it gave: the first also pays for imports and cold files."""
    rates = []
    for _ in range(2):
        watch = Stopwatch()
        outcome = act()
        rates.append(watch.rate(trades))
    return max(rates, key=lambda rate: rate.per_cpu_s), outcome


def make_archive(plain: Path, packed: Path, trades: int, seed: int = 1) -> None:
    """Write seeded trades of a day in the archive's layout, eight decimals, as CSV and zipped."""
    rng = np.random.default_rng(seed)
    counts = 1 + (rng.random(trades) < 0.3) * rng.integers(1, 5, trades)
    last = np.cumsum(counts) + 3_912_345_678
    price = 6_000_000 + np.cumsum(rng.integers(-3, 4, trades))  # cents
    quantity = (rng.random(trades) ** 4 * 10_000_000).astype(np.int64) + 1  # 10⁻⁵
    at = BEGIN_MS + np.sort(rng.integers(0, DAY_MS, trades))
    truth = rng.random(trades) < 0.5
    with (
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive,
        plain.open("wb") as text,
        archive.open(plain.name, "w") as member,
    ):
        for begin in range(0, trades, CHUNK):
            part = slice(begin, begin + CHUNK)
            number = pa.array(np.arange(begin, min(begin + CHUNK, trades)) + 3_353_245_362)
            sizes = [_decimals(price[part] * (UNIT // 100)), _decimals(quantity[part] * (UNIT // 100_000))]
            ids = [pa.array(last[part] - counts[part] + 1), pa.array(last[part]), pa.array(at[part])]
            sides = [pa.array(np.where(side[part], "True", "False")) for side in (truth, np.ones(trades, np.bool_))]
            raw = _csv(pa.table(dict(zip(NAMES, [number, *sizes, *ids, *sides], strict=True))))
            text.write(raw)
            member.write(raw)


def _decimals(units: Any) -> pa.Array:
    words = np.zeros((len(units), 2), np.int64)
    words[:, 0] = units
    return pa.Array.from_buffers(pa.decimal128(18, DECIMALS), len(units), [None, pa.py_buffer(words)])


def _csv(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pyarrow.csv.write_csv(table, sink, pyarrow.csv.WriteOptions(include_header=False, quoting_style="none"))
    return bytes(sink.getvalue())


def duckdb_candles(path: Path) -> list[tuple[Any, ...]]:
    """Return five-minute candles of floats, one row each, by the fastest engine there is for it."""
    import duckdb

    columns = ", ".join(f"'{name}': '{kind}'" for name, kind in zip(NAMES, TYPES, strict=True))
    with duckdb.connect() as engine:
        engine.execute("set threads = 1")
        rows: list[tuple[Any, ...]] = engine.execute(SQL.format(path=path, columns=columns)).fetchall()
        return rows


def _near(candles: pa.Table, rows: list[tuple[Any, ...]]) -> bool:
    ours = [candles["opened_at"].cast(pa.int64()).to_numpy() // 1000]
    ours += [
        candles[name].cast(pa.float64()).to_numpy()
        for name in ("open", "high", "low", "close", "volume", "trade_count")
    ]
    theirs = np.array([(*row[:6], row[7]) for row in rows], dtype=np.float64)
    return len(candles) == len(rows) and bool(np.allclose(np.column_stack(ours), theirs, rtol=1e-9))


def _equals_one_by_one(folder: Path, trades: int) -> bool:
    """Tell whether a small archive gives the candles that a builder makes of it trade by trade."""
    path, out = folder / "BTCUSDT-aggTrades-2025-08-02.zip", folder / "small.parquet"
    make_archive(folder / "small.csv", path, trades, seed=2)
    write_candles([path], out)
    builder = CandleBuilder("BTCUSDT")
    candles = [candle for trade in read_trades(path) for candle in builder.add(trade)] + builder.open_candles()
    return bool(pyarrow.parquet.read_table(out).equals(candle_rows(candles, with_key=False)))


if __name__ == "__main__":
    end_with(main)
