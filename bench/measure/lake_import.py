"""A fetched file of the archive into the lake, as `quantstream backfill` does it, beside engines that write it as Parquet."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet

from bench.measure.floors import Rate, Stopwatch
from quantstream.binance.archive import ArchiveFile, Series
from quantstream.binance.rest import BlockingRest
from quantstream.core.time import micros
from quantstream.lake.store import Lake
from streaming.backfill.download import Fetched
from streaming.backfill.ledger import Ledger
from streaming.backfill.trade_files import TradeImport

NOWHERE = BlockingRest("http://127.0.0.1:9/api/v3")  # nothing is asked of it
NOW = datetime(2026, 1, 1, tzinfo=UTC)
COLUMNS = {
    "agg_trade_id": "bigint",
    "price": "decimal(38, 8)",
    "quantity": "decimal(38, 8)",
    "first_trade_id": "bigint",
    "last_trade_id": "bigint",
    "transact_time": "bigint",
    "is_buyer_maker": "boolean",
    "is_best_match": "boolean",
}


def import_file(packed: Path, folder: Path) -> tuple[int, int]:
    """Import a file of aggregates into an empty lake in `folder`; return how many trades and candles it holds then."""
    lake, day = Lake(str(folder)), date.fromisoformat(packed.stem[-10:])
    series = Series(packed.stem.split("-")[0], "aggTrades")
    file = ArchiveFile(series, day, day + timedelta(days=1))
    ledgers = Ledger(lake, "trades", series), Ledger(lake, "candles", series)
    importer = TradeImport(lake, *ledgers, ("1m", "5m"), 2_000_000, NOWHERE, NOWHERE, folder)
    importer.add(file, Fetched(packed, ""), micros(NOW))
    return sum(lake.rows("trades").values()), sum(lake.rows("candles").values())


def measured(packed: Path, trades: int) -> tuple[Rate, int, dict[str, int]]:
    """Import a file in a process of its own; return the rate, the most memory it took (MB), and what the lake holds then."""
    command = [sys.executable, "-m", "bench.measure.lake_import", str(packed)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    return Rate(trades / found["s"], trades / found["cpu_s"]), found["rss_mb"], found["rows"]


def duckdb_parquet(plain: Path, out: Path) -> int:
    """Write the rows of an unzipped file as Parquet, decimals exact, on one thread; return how many there are."""
    import duckdb

    columns = ", ".join(f"'{name}': '{kind}'" for name, kind in COLUMNS.items())
    with duckdb.connect() as engine:
        engine.execute("set threads = 1")
        source = f"read_csv('{plain}', header = false, columns = {{{columns}}})"
        engine.execute(f"copy (select * from {source}) to '{out}' (format parquet, compression zstd)")
    return int(pyarrow.parquet.read_metadata(out).num_rows)


def polars_parquet(plain: Path, out: Path) -> int:
    """The same by Polars, where it is installed."""
    import polars  # type: ignore[import-not-found,unused-ignore]

    kinds = {"bigint": polars.Int64, "boolean": polars.String}
    schema = {name: kinds.get(kind, polars.Decimal(38, 8)) for name, kind in COLUMNS.items()}
    frame = polars.scan_csv(plain, has_header=False, schema=schema)
    flags = [(polars.col(name) == "True").alias(name) for name in ("is_buyer_maker", "is_best_match")]
    frame.with_columns(flags).sink_parquet(out, compression="zstd")
    return int(pyarrow.parquet.read_metadata(out).num_rows)


def has_polars() -> bool:
    """Whether Polars is there to be compared with."""
    return importlib.util.find_spec("polars") is not None


def _main(packed: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="bench-lake-") as folder:
        watch = Stopwatch()
        trades, candles = import_file(packed, Path(folder))
        rate = watch.rate(trades)
    rows = {"trades": trades, "candles": candles}
    return {"s": trades / rate.per_s, "cpu_s": trades / rate.per_cpu_s, "rss_mb": _most_memory(), "rows": rows}


def _most_memory() -> int:
    """Return the most memory that this process had, MB; `ru_maxrss` would count what its parent had before it began."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    return 0


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_main(Path(sys.argv[1]))) + "\n")
