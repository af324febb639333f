"""Many small files become few: small, sorted and exact, while others write and whoever is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from quantstream.core.time import SECOND, utc
from quantstream.lake.commits.staging import STAGING
from quantstream.lake.schemas import SCHEMAS
from quantstream.lake.store import Lake, Step
from quantstream.lake.upkeep import compaction, tidying
from quantstream.lake.upkeep.compaction import compact
from quantstream.lake.upkeep.tidying import checkpoint_of

T0 = 1_723_161_600 * SECOND
SINK, IMPORT = "trades/0", "archive/x"
WEEK = 7 * 86_400


def trades(first: int, count: int, symbol: str = "BTCUSDT") -> pa.Table:
    numbers = range(first, first + count)
    rows = [
        {"symbol": symbol, "id": one, "first_trade_id": one, "last_trade_id": one, "origin": "live"}
        | {"traded_at": utc(T0 + one * 1000), "received_at": utc(T0 + one * 1000 + 77), "buyer_is_maker": one % 3 == 0}
        for one in numbers
    ]
    schema = pa.schema([field for field in SCHEMAS["trades"] if field.name not in ("date", "price", "quantity")])
    exact = pa.array([f"{60_000 + one % 97}.{one % 10**8:08}" for one in numbers]).cast(
        SCHEMAS["trades"].field("price").type
    )
    return pa.Table.from_pylist(rows, schema).append_column("price", exact).append_column("quantity", exact)


def files(lake: Lake) -> list[Path]:
    return sorted(
        path
        for path in Path(lake.url, "trades").rglob("*.parquet")
        if "_" not in path.relative_to(lake.url).parts[1][:1]
    )


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def fill(lake: Lake, commits: int, count: int = 20) -> None:
    for number in range(commits):
        step = Step(number or None, number + 1)
        lake.append("trades", trades(number * count, count), {SINK: step}, {SINK: b"%d" % number})


def age(path: Path, seconds: float = WEEK + 3600) -> None:
    at = time.time() - seconds
    os.utime(path, (at, at))


def test_merged_files_hold_each_decimal_and_are_encoded_by_differences(lake: Lake) -> None:
    fill(lake, 6)
    before = lake.read("trades")
    compact(lake, "trades")
    assert lake.read("trades").equals(before)
    path = DeltaTable(f"{lake.url}/trades").file_uris()[0]
    found = pq.ParquetFile(path).metadata.row_group(0)
    encodings = {found.column(at).path_in_schema: found.column(at).encodings for at in range(found.num_columns)}
    for name in ("id", "first_trade_id", "last_trade_id", "traded_at", "received_at"):
        assert "DELTA_BINARY_PACKED" in encodings[name]
    assert "RLE_DICTIONARY" in encodings["origin"]
    with duckdb.connect() as reader:
        exact = reader.execute(f"select max(price)::varchar, count(*), max(id) from '{path}'").fetchall()
    assert exact == [(str(max(before["price"].to_pylist())), 120, 119)]


def test_files_of_nested_columns_merge_too(lake: Lake) -> None:
    row = {"symbol": "BTCUSDT", "opened_at": utc(T0), "interval": "5m", "models": [("forecast", "v1")]}
    row["forecasts"] = [{"horizon": "1h", "levels": [0.1], "log_returns": [0.2], "targets": [1.0]}]
    names = [field for field in SCHEMAS["scores"] if field.name != "date"]
    for _ in range(3):
        lake.append("scores", pa.Table.from_pylist([row], pa.schema(names)))
    before = lake.read("scores")
    assert compact(lake, "scores")["files_removed"] == 3
    assert lake.read("scores").equals(before)


def test_large_finished_files_are_left_alone(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "MOST_ROWS", 100)
    fill(lake, 5)
    compact(lake, "trades")
    whole = DeltaTable(f"{lake.url}/trades").file_uris()
    assert len(whole) == 1
    lake.append("trades", trades(100, 20), {SINK: Step(5, 6)})
    lake.append("trades", trades(120, 20), {SINK: Step(6, 7)})
    assert compact(lake, "trades")["files_removed"] == 2
    assert set(whole) < set(DeltaTable(f"{lake.url}/trades").file_uris())


def test_what_killed_writers_left_goes_after_the_retention_and_states_stay(lake: Lake) -> None:
    fill(lake, 3)
    folder = files(lake)[0].parent
    old, young = folder / "part-old.parquet", folder / "part-young.parquet"
    for path in (
        old,
        young,
        Path(lake.url, "trades", STAGING, "x", "part.parquet"),
        Path(lake.url, "trades", STAGING, "y", "p"),
    ):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half a file")
    age(old)
    age(Path(lake.url, "trades", STAGING, "x"))
    state = next(Path(lake.url, "trades/_state").rglob("*.json"))
    age(state)
    compact(lake, "trades")
    assert (old.exists(), young.exists(), state.exists()) == (False, True, True)
    assert [path.name for path in Path(lake.url, "trades", STAGING).iterdir()] == ["y"]
    assert lake.state("trades", SINK, 3) == b"2"


def test_the_log_is_summed_up_and_its_old_entries_go(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tidying, "CHECKPOINT_EVERY", 5)
    fill(lake, 6)
    compact(lake, "trades", timedelta(days=7))
    for path in Path(lake.url, "trades/_delta_log").iterdir():
        age(path)
    summed_up = checkpoint_of(lake, "trades")
    for number in range(6, 12):
        lake.append("trades", trades(number * 20, 20), {SINK: Step(number, number + 1)})
    compact(lake, "trades", timedelta(days=7))
    left = sorted(int(path.stem) for path in Path(lake.url, "trades/_delta_log").glob("*.json"))
    assert left[0] >= summed_up > 6
    assert (
        DeltaTable(f"{lake.url}/trades").metadata().configuration["delta.logRetentionDuration"] == "interval 168 hours"
    )
    lake.append("trades", trades(240, 1), {SINK: Step(12, 13)})  # by the writer that has been there all along
    assert (lake.read("trades").num_rows, lake.progress("trades", SINK)) == (241, 13)


WRITER = """
import sys
from quantstream.lake.store import Lake, Step
from tests.unit.quantstream.lake.upkeep.test_compaction import IMPORT, trades
lake, number = Lake(sys.argv[1]), 0
number = lake.progress("trades", IMPORT) or 0
while True:
    lake.append("trades", trades(10**6 + number * 5, 5, "ETHUSDT"), {IMPORT: Step(number or None, number + 1)})
    number += 1
    print(number, flush=True)
"""
COMPACTOR = """
import os, signal, sys
from quantstream.lake.store import Lake
from quantstream.lake.upkeep import compaction
real, place = getattr(compaction, sys.argv[2]), []
def dies(*arguments):
    if sys.argv[3] == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    done = real(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(compaction, sys.argv[2], dies)
compaction.compact(Lake(sys.argv[1]), "trades")
"""


def test_a_compaction_blocks_no_writer_and_readers_see_every_row_once(lake: Lake) -> None:
    fill(lake, 30)
    writer = subprocess.Popen([sys.executable, "-c", WRITER, lake.url], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    try:
        for _ in range(4):
            writer.stdout.readline()  # it is at work before each
            compact(lake, "trades")
            seen = lake.read("trades")["id"].to_pylist()
            assert len(seen) == len(set(seen))
            assert set(range(600)) <= set(seen)
            assert len(seen) % 5 == 0
    finally:
        writer.send_signal(signal.SIGKILL)
        said = writer.communicate()[0]
    reached = lake.progress("trades", IMPORT)
    assert reached is not None
    assert reached >= int((said.split() or ["0"])[-1])  # what it was told is there, is there
    assert sorted(lake.read("trades", ["ETHUSDT"])["id"].to_pylist()) == list(range(10**6, 10**6 + 5 * reached))
    lake.append("trades", trades(0, 1, "XRPUSDT"), {IMPORT: Step(reached, reached + 1)})
    assert lake.read("trades").num_rows == 600 + 5 * reached + 1


@pytest.mark.parametrize(
    ("step", "when"), [("_merge", "before"), ("_merge", "after"), ("_commit", "before"), ("_commit", "after")]
)
def test_a_compaction_that_is_killed_anywhere_costs_no_row(step: str, when: str, lake: Lake) -> None:
    fill(lake, 8)
    before = lake.read("trades")
    done = subprocess.run([sys.executable, "-c", COMPACTOR, lake.url, step, when], check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert lake.read("trades").equals(before)
    compact(lake, "trades")
    assert lake.read("trades").equals(before)
    assert len(DeltaTable(f"{lake.url}/trades").file_uris()) == 1
