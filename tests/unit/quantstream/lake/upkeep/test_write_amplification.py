"""A partition that grows is not written anew at each compaction: how often its rows are written, and its files, are bounded."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from hypothesis import given
from hypothesis import strategies as st

from quantstream.lake.store import Lake, Step
from quantstream.lake.upkeep import compaction
from quantstream.lake.upkeep.compaction import SHARE, STILL_MS, compact, paying
from tests.unit.quantstream.lake.upkeep.test_compaction import SINK, trades

NOW = 1_790_000_000_000
DAY = 86_400_000


def file(rows: int, number: int = 0, at: int = NOW) -> dict[str, Any]:
    return {"num_records": rows, "path": f"{number:09}", "modification_time": at}


class Partition:
    """Files by their rows, and how many rows were written to make them."""

    def __init__(self) -> None:
        self.files: list[dict[str, Any]] = []
        self.written = self.number = 0

    def put(self, rows: int) -> None:
        self.number += 1
        self.files.append(file(rows, self.number))
        self.written += rows

    def compact(self) -> None:
        some = paying(self.files, NOW)
        if len(some) > 1:
            self.files = [one for one in self.files if one not in some]
            self.put(sum(one["num_records"] for one in some))


@given(st.lists(st.lists(st.integers(1, 10_000), max_size=8), min_size=1, max_size=60))
def test_rows_are_written_a_logarithm_of_times_and_a_logarithm_of_files_is_left(runs: list[list[int]]) -> None:
    partition, rows = Partition(), 0
    for commits in runs:
        for one in commits:
            partition.put(one)
            rows += one
        partition.compact()
        assert sum(one["num_records"] for one in partition.files) == rows
        if rows:
            assert len(partition.files) <= 1 + math.log(rows, SHARE + 1)
            assert partition.written <= rows * (1 + math.log(rows, 1 + 1 / SHARE))


@pytest.mark.parametrize(
    ("what", "runs", "commits", "factor", "left"),
    [("a month of candles", 30 * 144, 2, 12, 7), ("a day of trades", 144, 120, 8, 5)],
)
def test_a_partition_that_grows_all_along_is_written_about_ten_times(
    what: str, runs: int, commits: int, factor: float, left: int
) -> None:
    partition, most = Partition(), 0
    for _ in range(runs):
        for _ in range(commits):
            partition.put(1)
        partition.compact()
        most = max(most, len(partition.files))
    assert partition.written / (runs * commits) < factor, what  # all of it each time: 2,162 and 74 times
    assert most <= left, what


def test_what_stood_still_for_a_day_becomes_one() -> None:
    young, old = NOW - DAY // 2, NOW - STILL_MS - 1
    growing = [file(1_000, 1, old), file(10, 2, young)]
    assert paying(growing, NOW) == []
    still = [file(1_000, 1, old), file(10, 2, old)]
    assert paying(still, NOW) == still
    assert len(paying([file(10, 1, old)], NOW)) == 1  # alone: nothing to merge it with


def test_small_files_beside_a_large_one_are_merged_with_each_other_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(str(tmp_path))

    def put(number: int, count: int) -> None:
        lake.append("trades", trades(number * 1000, count), {SINK: Step(number or None, number + 1)})

    def rows() -> list[int]:
        return sorted(
            pa.table(DeltaTable(f"{lake.url}/trades").get_add_actions(flatten=True))["num_records"].to_pylist()
        )

    put(0, 400)
    for number in (1, 2, 3):
        put(number, 10)
    before = lake.read("trades")
    compact(lake, "trades")
    assert rows() == [30, 400]
    assert compact(lake, "trades")["files_removed"] == 0  # again: nothing pays
    put(4, 200)
    assert compact(lake, "trades")["files_removed"] == 3  # 200 of 630 are a good part
    assert rows() == [630]
    put(5, 1)
    assert compact(lake, "trades")["files_removed"] == 0
    monkeypatch.setattr(compaction, "STILL_MS", -1_000_000)
    assert compact(lake, "trades")["files_removed"] == 2
    assert lake.read("trades").num_rows == before.num_rows + 201
