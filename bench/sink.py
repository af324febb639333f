"""Trades topic to Delta tables, exactly once, on one core: from the first record read to the last commit to the lake."""

from __future__ import annotations

import resource
import tempfile
import time
import uuid

import pyarrow as pa
import pyarrow.json

from bench.measure import cores, floors, result, source
from quantstream.kafka import Reader, Writer
from quantstream.lake.store import Lake
from quantstream.messages.topics import TRADES
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics
from quantstream.process_end import end_with
from quantstream.settings import Kafka
from streaming.sink.stage import SinkStage

TARGET, AIM = 200_000, 350_000  # trades/s
QUICK = 20_000
PATIENCE = 60.0  # seconds without a record
FLOOR_ROWS = 200_000


def main(argv: list[str] | None = None) -> int:
    """Measure, print, return the exit code."""
    options = result.parser(__doc__ or "")
    options.add_argument("--trades", type=int, default=0)
    options.add_argument("--symbols", type=int, default=source.SYMBOLS)
    given = options.parse_args(argv)
    trades = given.trades or (QUICK if given.quick else source.TRADES)
    with cores.broker_apart() as kafka, tempfile.TemporaryDirectory(prefix="bench-lake-") as folder:
        source.fill(kafka, TRADES.name, trades, given.symbols)
        floor = read_json(min(trades, FLOOR_ROWS), given.symbols)
        rate, lake, commits = sink(kafka, folder, trades)
    rows = _report_rows(rate, floor)
    details = {
        "trades_per_s": round(rate.per_s),
        "trades_per_cpu_s": round(rate.per_cpu_s),
        "floor_per_cpu_s": round(floor.per_cpu_s),
        "exactly_once": lake == trades,
        "trades": trades,
        "commits": commits,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    return result.show(result.report("sink", rows, given.quick, **details), given.json)


def _report_rows(rate: floors.Rate, floor: floors.Rate) -> list[result.Row]:
    what, name = "sink: trades topic to Delta, exactly once", "pyarrow's JSON reader alone"
    return [result.Row(what, "trades/s", round(rate.per_s), TARGET, AIM, round(floor.per_s), name)]


def read_json(count: int, symbols: int) -> floors.Rate:
    """Return the rate at which Arrow alone reads the same events from memory, numbers left as text."""
    raw = b"\n".join(event for _, event in source.events(count, symbols))
    watch = floors.Stopwatch()
    pa.json.read_json(pa.BufferReader(raw), read_options=pa.json.ReadOptions(use_threads=False))
    return watch.rate(count)


def sink(kafka: Kafka, folder: str, trades: int) -> tuple[floors.Rate, int, int]:
    """Run the stage over the whole topic; return its rate, how many rows the lake then holds, and in how many commits.

    Raises: TimeoutError when the topic ends early.
    """
    lake = Lake(folder)
    reader = Reader(kafka, f"bench-{uuid.uuid4().hex}")
    stage = SinkStage(lake, reader, Writer(kafka), Metrics("sink"), Health(), 5.0, lambda: time.time_ns() // 1000)
    stage.start()
    watch, heard = None, time.perf_counter()
    while (taken := _taken(stage)) < trades:
        begun = floors.Stopwatch()
        stage.turn()
        if _taken(stage) > taken:
            watch, heard = watch or begun, time.perf_counter()
        elif time.perf_counter() - heard > PATIENCE:
            raise TimeoutError(f"the topic holds only {taken} of {trades} records")
    stage.commit()
    rate = (watch or floors.Stopwatch()).rate(trades)
    stage.reader.close()
    table = lake.table("trades")
    files = pa.table(table.get_add_actions(flatten=True))
    return rate, int(sum(files["num_records"].to_pylist())), int(table.version())


def _taken(stage: SinkStage) -> int:
    waiting: int = sum(part.num_rows for part in stage.trades)
    written: int = int(stage.written["trades"]._value.get())
    return waiting + written


if __name__ == "__main__":
    end_with(main)
