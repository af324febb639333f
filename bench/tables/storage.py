"""What the lake costs to keep: bytes a trade and the time to read them, a commit to a table of 100,000 files, a compaction.

The trades are recorded ones where a recording is named (`--frames`, lines of `<receive_ns> {"stream":…,"data":{…}}`), else a
seeded walk. They are committed as the sink does, a few seconds at a time, beside the library's default settings.
"""

from __future__ import annotations

import gzip
import json
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import write_deltalake

from bench.measure import machine, result
from quantstream.core.time import SECOND
from quantstream.lake.schemas import PARTITIONS, SCHEMAS, TIME
from quantstream.lake.snapshots import snapshot
from quantstream.lake.store import Lake, Step
from quantstream.lake.upkeep.compaction import compact
from quantstream.process_end import end_with
from streaming.sink.trade_rows import units

TARGET_BYTES, TARGET_RATIO = 12.0, 1.5
FILES, SYMBOLS, IN_A_COMMIT = 100_000, 2_000, 500
SLICE = 5 * SECOND  # of a commit
SMALL_COMMITS = 1_000
READINGS = 25


def main(argv: list[str] | None = None) -> int:
    """Measure, print, return the exit code."""
    options = result.parser(__doc__ or "")
    options.add_argument("--frames", type=Path, nargs="*", default=[], metavar="FILE.gz", help="recorded trades")
    given = options.parse_args(argv)
    rows = pa.concat_tables([recorded(path) for path in given.frames] or [walk(2_000 if given.quick else 40_000)])
    with tempfile.TemporaryDirectory(prefix="bench-lake-") as folder:
        sizes, reads = stored(Path(folder), rows)
        commits, memory = commit_costs(Path(folder), 2_000 if given.quick else FILES, 5 if given.quick else 25)
        merged = compaction_beside_a_writer(Path(folder), rows, 20 if given.quick else SMALL_COMMITS)
    lines = [
        _row("a trade in the lake, compacted", "bytes", sizes["compacted"], sizes["default"], TARGET_BYTES),
        _row("read all of it, processor time", "ms", reads["compacted"], reads["default"], None),
        _row("a commit to a table of many files", "ms", commits["many"], commits["none"], None),
        _row("a writer's slowest commit beside a compaction", "ms", merged["slowest_ms"], merged["alone_ms"], None),
    ]
    details = {
        "trades": rows.num_rows,
        "is_recorded": bool(given.frames),
        "bytes_a_trade": sizes,
        "read_ms": reads,
        "commit_ms": commits,
        "commit_ratio": round(commits["many"] / commits["none"], 2),
        "commit_ratio_target": TARGET_RATIO,
        "rss_mb": memory,
        "compaction": merged,
    }
    return result.show(result.report("tables.storage", lines, given.quick, **details), given.json)


def _row(what: str, unit: str, ours: float, floor: float, target: float | None) -> result.Row:
    names = {"bytes": "the library's default", "ms": "the same by default, empty or alone"}
    return result.Row(what, unit, ours, target, None, floor, names[unit], better="lower")


def recorded(path: Path) -> pa.Table:
    """Return the trades of a recording of one symbol as the sink stores them."""
    found, symbol = [], ""
    with gzip.open(path, "rt") as lines:
        events = [line.partition(" ") for line in lines]
    for received_ns, _, event in events:
        trade = json.loads(event).get("data", {})
        if trade.get("e") == "trade":
            symbol = trade["s"]
            exact = (int(Decimal(trade[name]).scaleb(8)) for name in "pq")
            found.append((trade["t"], *exact, trade["T"] * 1000, trade["m"], int(received_ns) // 1000))
    return _rows(symbol, *(np.array(column) for column in zip(*found, strict=True)))


def walk(count: int) -> pa.Table:
    """Return a seeded walk of trades, about thirty a second."""
    rng = np.random.default_rng(7)
    price = (6_000_000 + np.cumsum(rng.integers(-3, 4, count) * (rng.random(count) < 0.3))) * 10**6
    at = 1_723_161_600 * SECOND + np.cumsum(rng.exponential(33, count).astype(np.int64)) * 1000
    quantity = np.maximum(1, rng.lognormal(5, 2, count).astype(np.int64)) * 1000
    ids = np.arange(3_735_683_259, 3_735_683_259 + count)
    return _rows("BTCUSDT", ids, price, quantity, at, rng.random(count) < 0.5, at + rng.integers(900, 3000, count))


def _rows(symbol: str, ids: np.ndarray, price: np.ndarray, quantity: np.ndarray, *rest: np.ndarray) -> pa.Table:
    at, maker, received_at = rest
    return pa.table(
        {
            "symbol": pa.array([symbol] * len(ids)),
            **dict.fromkeys(("id", "first_trade_id", "last_trade_id"), pa.array(ids)),
            "price": units(price),
            "quantity": units(quantity),
            "traded_at": pa.array(at).cast(TIME),
            "buyer_is_maker": pa.array(maker, pa.bool_()),
            "received_at": pa.array(received_at).cast(TIME),
            "origin": pa.array(["live"] * len(ids)),
        }
    )


def stored(folder: Path, rows: pa.Table) -> tuple[dict[str, float], dict[str, float]]:
    """Return bytes a trade and ms to read all, by default settings in one commit, as the sink commits, and compacted."""
    default, lake = Lake(str(folder / "default")), Lake(str(folder / "ours"))
    days = pc.cast(pc.cast(rows["traded_at"], pa.timestamp("us")), pa.date32())
    whole = rows.append_column("date", days).select(SCHEMAS["trades"].names).cast(SCHEMAS["trades"])
    write_deltalake(default.table("trades"), whole, mode="append")
    for number, part in enumerate(_slices(rows)):
        lake.append("trades", part, {"bench": Step(number or None, number + 1)})
    sizes = {"default": _bytes(default) / rows.num_rows, "committed": _bytes(lake) / rows.num_rows}
    reads = _read_ms({"committed": lake})
    compact(lake, "trades")
    sizes["compacted"] = _bytes(lake) / rows.num_rows
    reads |= _read_ms({"default": default, "compacted": lake})
    ordered = [("symbol", "ascending"), ("id", "ascending")]
    if not lake.read("trades").sort_by(ordered).equals(default.read("trades").sort_by(ordered)):
        raise ValueError("the rows differ")
    return _rounded(sizes), _rounded(reads)


def _slices(rows: pa.Table) -> Iterator[pa.Table]:
    number = pc.divide(rows["traded_at"].cast(pa.int64()), SLICE)
    for one in sorted(set(number.to_pylist())):
        yield rows.filter(pc.equal(number, one))


def _bytes(lake: Lake) -> int:
    return sum(pa.table(lake.table("trades").get_add_actions())["size_bytes"].to_pylist())


def _read_ms(lakes: Mapping[str, Lake]) -> dict[str, float]:
    """Return the least processor time of some readings of each lake's trades, read by turns: what else runs slows all alike."""
    opened = {name: snapshot(lake, ["trades"]) for name, lake in lakes.items()}  # the data alone, not the log
    times = {name: list[float]() for name in lakes}
    for _ in range(READINGS):
        for name, one in opened.items():
            begun = time.process_time()
            one.read("trades")
            times[name].append((time.process_time() - begun) * 1000)
    return {name: min(each) for name, each in times.items()}


def _append_ms(lake: Lake, rows: pa.Table, steps: Mapping[str, Step]) -> float:
    return _ms(lambda: lake.append("trades", rows, steps))


def _ms(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return (time.perf_counter() - begun) * 1000


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 2) for name, value in figures.items()}


def commit_costs(folder: Path, files: int, commits: int) -> tuple[dict[str, float], dict[str, int]]:
    """Return the median ms of a commit to an empty table and to one whose log names many files, and the process's memory."""
    lakes, few = {name: Lake(str(folder / name)) for name in ("none", "many")}, walk(50)
    for lake in lakes.values():
        lake.table("trades")
    fill_log(folder / "many" / "trades", files)
    memory, times = {"before": _resident_mb()}, {name: list[float]() for name in lakes}
    for number in range(commits + 1):  # by turns: what else the machine does slows both
        for name, lake in lakes.items():
            times[name].append(_append_ms(lake, few, {"bench": Step(number or None, number + 1)}))
    memory["after"] = _resident_mb()
    medians = {name: statistics.median(each[1:]) for name, each in times.items()}
    return _rounded(medians | {f"{name}_first": each[0] for name, each in times.items()}), memory


def fill_log(table: Path, files: int) -> None:
    """Write commits that name so many files, none of which is there: a commit reads none."""
    day = date(2026, 1, 1)
    for version, first in enumerate(range(0, files, IN_A_COMMIT), 1):
        adds = [_add(number, day) for number in range(first, min(files, first + IN_A_COMMIT))]
        info = {"commitInfo": {"timestamp": 1_760_000_000_000 + version, "operation": "WRITE"}}
        lines = "\n".join(json.dumps(one) for one in [*adds, info])
        (table / "_delta_log" / f"{version:020}.json").write_text(lines)


def _add(number: int, day: date) -> dict[str, object]:
    partition = {"symbol": f"S{number % SYMBOLS:04}USDT", "date": str(day + timedelta(days=number // SYMBOLS))}
    bounds = dict.fromkeys(("id", "first_trade_id", "last_trade_id"), number)
    stats = {"numRecords": 1, "minValues": bounds, "maxValues": bounds, "nullCount": dict.fromkeys(bounds, 0)}
    where = "/".join(f"{name}={partition[name]}" for name in PARTITIONS)
    entry = {"path": f"{where}/part-{uuid.uuid4()}.parquet", "partitionValues": partition, "size": 5_000}
    return {"add": {**entry, "modificationTime": 1_760_000_000_000, "dataChange": True, "stats": json.dumps(stats)}}


def _resident_mb() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4 // 1024


def compaction_beside_a_writer(folder: Path, rows: pa.Table, commits: int) -> dict[str, float]:
    """Merge many small commits while another goes on; return how long it took, and the writer's median and slowest commit."""
    lake, other, times, done = Lake(str(folder / "small")), Lake(str(folder / "small")), [], threading.Event()
    reached = None
    for number in range(commits):
        begin = number * 10 % max(1, rows.num_rows - 10)
        step = Step(reached, number + 1)
        times.append(_append_ms(lake, rows.slice(begin, 10), {"bench": step}))
        reached = number + 1
    alone, beside = statistics.median(times), list[float]()

    def write() -> None:
        number = 0
        while not done.is_set() or not number:
            step = Step(number or None, number + 1)
            beside.append(_append_ms(lake, rows.slice(0, 10), {"beside": step}))
            number += 1
            done.wait(0.02)

    writer = threading.Thread(target=write)
    writer.start()
    took = _ms(lambda: compact(other, "trades"))
    done.set()
    writer.join()
    held = lake.read("trades").num_rows
    if held != 10 * (commits + len(beside)):
        raise ValueError(f"{held} rows instead of {10 * (commits + len(beside))}")
    files = lake.table("trades").get_add_actions().num_rows
    figures = {"alone_ms": alone, "beside_ms": statistics.median(beside), "slowest_ms": max(beside), "took_ms": took}
    return _rounded(figures) | {"commits": commits, "beside": len(beside), "files": files}


if __name__ == "__main__":
    machine.pin()
    end_with(main)
