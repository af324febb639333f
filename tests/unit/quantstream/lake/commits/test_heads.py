"""Commits to a folder: what they cost does not go by the table, and what anybody else does to it in between is seen."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from quantstream.core.errors import Fenced, Misconfigured
from quantstream.core.time import SECOND, utc
from quantstream.lake import store as lake_module
from quantstream.lake.commits import staging
from quantstream.lake.commits.staging import STAGING
from quantstream.lake.schemas import SCHEMAS
from quantstream.lake.store import Lake, Step
from quantstream.lake.upkeep.compaction import compact

AT = utc(1_723_161_600 * SECOND)
APPLICATION = "trades/0"


def trades(first: int, count: int = 1, symbol: str = "BTCUSDT") -> pa.Table:
    rows = [
        {"symbol": symbol, "id": number, "first_trade_id": number, "last_trade_id": number}
        | {"traded_at": AT, "received_at": AT, "buyer_is_maker": True, "origin": "live"}
        for number in range(first, first + count)
    ]
    return pa.Table.from_pylist(rows, pa.schema([field for field in SCHEMAS["trades"] if field.name != "date"]))


def ids(lake: Lake) -> list[int]:
    return sorted(lake.read("trades")["id"].to_pylist())


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def away(tmp_path: Path) -> Lake:
    """A lake that is reached by an address, as object storage is."""
    (tmp_path / "away").mkdir()
    return Lake(f"file://{tmp_path}/away")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tables that were opened."""
    found: list[str] = []
    whole = Lake.table

    def table(self: Lake, name: str) -> DeltaTable:
        found.append(name)
        return whole(self, name)

    monkeypatch.setattr(Lake, "table", table)
    return found


def test_a_writer_opens_a_table_once_whatever_others_commit(lake: Lake, opened: list[str]) -> None:
    other = Lake(lake.url)
    for number in range(5):
        lake.append("trades", trades(2 * number), {APPLICATION: Step(number or None, number + 1)})
        other.append("trades", trades(2 * number + 1), {"trades/1": Step(number or None, number + 1)})
    assert opened == ["trades", "trades"]
    assert ids(lake) == list(range(10))


def test_a_commit_of_the_library_itself_fences_too(lake: Lake) -> None:
    lake.append("trades", trades(0), {APPLICATION: Step(None, 1)})
    rows = lake.read("trades")
    properties = CommitProperties(app_transactions=[Transaction(APPLICATION, 2)])
    write_deltalake(f"{lake.url}/trades", rows, mode="append", commit_properties=properties)
    with pytest.raises(Fenced, match="trades/0 at 2 instead of 1"):
        lake.append("trades", trades(1), {APPLICATION: Step(1, 2)})
    lake.append("trades", trades(1), {APPLICATION: Step(2, 3)})
    assert ids(lake) == [0, 0, 1]


def test_an_older_table_in_the_place_of_this_one_is_seen(lake: Lake, tmp_path: Path) -> None:
    lake.append("trades", trades(0), {APPLICATION: Step(None, 1)})
    shutil.copytree(lake.url, tmp_path / "before")
    for number in (1, 2):
        lake.append("trades", trades(number), {APPLICATION: Step(number, number + 1)})
    shutil.rmtree(lake.url)
    shutil.copytree(tmp_path / "before", lake.url)
    with pytest.raises(Fenced, match="trades/0 at 1 instead of 3"):
        lake.append("trades", trades(3), {APPLICATION: Step(3, 4)})
    lake.append("trades", trades(1), {APPLICATION: Step(1, 2)})
    assert (ids(lake), lake.version("trades")) == ([0, 1], 2)


def test_a_table_that_is_gone_is_begun_again_only_from_the_beginning(lake: Lake) -> None:
    lake.append("trades", trades(0), {APPLICATION: Step(None, 1)})
    shutil.rmtree(lake.url)
    with pytest.raises(Fenced, match="trades/0 at None instead of 1"):
        lake.append("trades", trades(1), {APPLICATION: Step(1, 2)})


def test_commits_that_were_cleaned_away_leave_no_gap_behind_a_writer(lake: Lake) -> None:
    idle, busy = lake, Lake(lake.url)
    idle.append("trades", trades(0), {APPLICATION: Step(None, 1)})
    for number in range(1, 6):
        busy.append("trades", trades(number), {"trades/1": Step(number - 1 or None, number)})
    busy.table("trades").create_checkpoint()
    for version in range(2, 6):  # as the library does with commits that are old enough
        os.remove(f"{lake.url}/trades/_delta_log/{version:020}.json")
    idle.append("trades", trades(6), {APPLICATION: Step(1, 2)})
    assert (ids(lake), lake.version("trades")) == (list(range(7)), 7)


def test_a_table_that_a_newer_version_changed_takes_nothing_more(lake: Lake) -> None:
    lake.append("trades", trades(0), {APPLICATION: Step(None, 1)})
    assert Lake(lake.url).add_columns("trades", [pa.field("venue", pa.string())], {})
    with pytest.raises(Misconfigured, match="written by a newer version: it has venue"):
        lake.append("trades", trades(1), {APPLICATION: Step(1, 2)})


def test_a_writer_that_dies_before_the_log_has_its_commit_leaves_nothing_to_read(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.append("trades", trades(0), {APPLICATION: Step(None, 1)})

    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(staging.StagedCommit, "publish", dies)
    with pytest.raises(KeyboardInterrupt):
        lake.append("trades", trades(1), {APPLICATION: Step(1, 2)})
    monkeypatch.undo()
    assert (ids(lake), lake.progress("trades", APPLICATION)) == ([0], 1)
    lake.append("trades", trades(1), {APPLICATION: Step(1, 2)})
    assert ids(lake) == [0, 1]
    assert list(Path(lake.url, "trades", STAGING).iterdir()) == []


def test_a_log_that_nobody_sums_up_is_summed_up_by_its_writer(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lake_module, "CHECKPOINT_AFTER", 3)
    for number in range(7):
        lake.append("trades", trades(number), {APPLICATION: Step(number or None, number + 1)})
    found = sorted(
        path.name[:20].lstrip("0") for path in Path(lake.url, "trades/_delta_log").glob("*.checkpoint.parquet")
    )
    assert found == ["3", "6"]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["a", "b"]), st.booleans()), max_size=12))
def test_whoever_writes_in_whatever_order_rows_and_progress_are_those_that_were_taken(
    turns: list[tuple[int, str, bool]],
) -> None:
    """Three writers of two applications, each going on from what the table says or from what it said once, and a compaction."""
    with TemporaryDirectory() as folder:
        lakes = [Lake(folder) for _ in range(3)]
        progress: dict[str, int | None] = {"a": None, "b": None}
        taken = []
        for number, (writer, application, knows) in enumerate(turns):
            expected = progress[application] if knows else 0
            try:
                lakes[writer].append("trades", trades(number), {application: Step(expected, number + 1)})
            except Fenced:
                assert expected != progress[application]
                continue
            assert expected == progress[application]
            progress[application] = number + 1
            taken.append(number)
            if number % 5 == 4:
                compact(lakes[0], "trades")
        assert ids(lakes[0]) == taken
        assert {one: lakes[0].progress("trades", one) for one in progress} == progress


def test_a_table_on_object_storage_is_opened_once_and_then_advanced(away: Lake, opened: list[str]) -> None:
    other = Lake(away.url)
    for number in range(0, 10, 2):
        away.append("trades", trades(number), {APPLICATION: Step(number - 1 if number else None, number)})
        other.append("trades", trades(number + 1), {APPLICATION: Step(number, number + 1)})
    assert opened == ["trades", "trades"]
    assert ids(away) == list(range(10))
    with pytest.raises(Fenced, match="at 9 instead of 3"):
        away.append("trades", trades(99), {APPLICATION: Step(3, 99)})
    assert ids(away) == list(range(10))


@pytest.mark.parametrize("what", ["compacted", "summed up and cleaned away", "made anew"])
def test_a_table_that_is_kept_open_survives_what_is_done_to_it_meanwhile(away: Lake, what: str) -> None:
    for number in range(4):
        away.append("trades", trades(number), {APPLICATION: Step(number - 1 if number else None, number)})
    folder, kept = Path(away.url.removeprefix("file://")) / "trades", list(range(4))
    other = Lake(away.url)
    if what == "compacted":
        compact(other, "trades")
    elif what == "made anew":
        shutil.rmtree(folder)
        kept = []
        other.append("trades", trades(3), {APPLICATION: Step(None, 3)})
        kept = [3]
    else:
        for number in range(50, 60):
            other.append("trades", trades(number))
        other.table("trades").create_checkpoint()
        kept += range(50, 60)
        for path in sorted((folder / "_delta_log").glob("*.json"))[:-1]:
            path.unlink()
    away.append("trades", trades(100), {APPLICATION: Step(3, 4)})
    assert ids(Lake(away.url)) == [*kept, 100]


def test_a_lake_is_told_to_another_process_without_its_open_tables(away: Lake) -> None:
    away.append("trades", trades(0))
    told = pickle.loads(pickle.dumps(away))
    told.append("trades", trades(1))
    assert (told == away, ids(away)) == (True, [0, 1])
