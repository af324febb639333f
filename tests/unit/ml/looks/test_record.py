"""The record of looks: one chain for all, whoever writes; what was removed or edited is found; trouble stops no evaluation."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from deltalake import DeltaTable

from ml.looks import table
from ml.looks.counting import as_fields, counted, lines
from ml.looks.table import record_of
from quantstream.core.errors import Unavailable
from quantstream.lake.store import Lake
from tests.unit.ml.looks.lines import look


def recorded(lake: Lake, count: int = 3) -> list[str]:
    for number in range(count):
        written = table.record(lambda: lake, [look(f"candidate {number}")])
        assert written.trouble == ""
    return [one.hash for one in record_of(lake).lines]


def test_looks_are_read_back_as_they_were_written_and_follow_each_other(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    assert record_of(lake) == table.Record()
    hashes = recorded(lake)
    record = record_of(Lake(str(tmp_path)))
    assert [one.number for one in record.lines] == [1, 2, 3]
    assert [one.before for one in record.lines] == ["", *hashes[:2]]
    assert record.lines[0] == look("candidate 0").linked(1, "")
    assert record.faults == []
    assert lines(record)[-1] == "3 looks at held-out data; candidates tried: 3 of risk"
    assert as_fields(record)["looks"][2]["figures"] == {"auc_gain": 0.03}


def test_several_of_one_training_are_one_commit(tmp_path: Path) -> None:
    written = table.record(lambda: Lake(str(tmp_path)), [look("risk/2"), look("risk/1")])
    assert [one.number for one in written.looks] == [1, 2]
    assert written.looks[1].before == written.looks[0].hash
    assert counted(written, written.looks[0])["tried"] == 1
    assert counted(written, written.looks[1])["tried"] == 2


def test_those_who_look_at_once_get_a_line_each(tmp_path: Path) -> None:
    recorded(Lake(str(tmp_path)), 1)
    together = Barrier(6)

    def one(number: int) -> str:
        together.wait()
        return table.record(lambda: Lake(str(tmp_path)), [look(f"at once {number}")]).trouble

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(one, range(6))) == [""] * 6
    record = record_of(Lake(str(tmp_path)))
    assert [one.number for one in record.lines] == [1, 2, 3, 4, 5, 6, 7]
    assert record.faults == []


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("number = 2", ["line 2 is gone"]),
        ("number >= 3", ["lines 3 to 4 are gone"]),
        ("number <= 4", ["lines 1 to 4 are gone"]),
    ],
)
def test_a_line_that_was_removed_is_found(tmp_path: Path, gone: str, said: list[str]) -> None:
    recorded(Lake(str(tmp_path)), 4)
    DeltaTable(str(tmp_path / "looks")).delete(gone)
    assert record_of(Lake(str(tmp_path))).faults == said


def test_later_lines_that_were_numbered_anew_do_not_hide_it(tmp_path: Path) -> None:
    recorded(Lake(str(tmp_path)), 4)
    DeltaTable(str(tmp_path / "looks")).delete("number = 2")
    DeltaTable(str(tmp_path / "looks")).update(updates={"number": "number - 1"}, predicate="number > 2")
    found = record_of(Lake(str(tmp_path))).faults
    assert found[0].startswith("line 2 does not follow the line before it")
    assert found[-1] == "line 4 is gone"


def test_a_line_that_was_edited_is_found_and_told_by_whoever_looks_next(tmp_path: Path) -> None:
    recorded(Lake(str(tmp_path)), 3)
    DeltaTable(str(tmp_path / "looks")).update(updates={"candidate": "'candidate 0'"}, predicate="number = 2")
    assert record_of(Lake(str(tmp_path))).faults == ["line 2 was edited: its hash is of another text"]
    written = table.record(lambda: Lake(str(tmp_path)), [look("another")])
    found = counted(written, written.looks[0])
    assert found["number"] == 4
    assert "The record of looks is damaged (line 2 was edited" in found["sentence"]
    assert found["sentence"].endswith("there were at least so many")


def test_looks_go_on_after_removed_ones_without_their_numbers(tmp_path: Path) -> None:
    recorded(Lake(str(tmp_path)), 3)
    DeltaTable(str(tmp_path / "looks")).delete("number = 3")
    assert table.record(lambda: Lake(str(tmp_path)), [look()]).looks[0].number == 4
    assert record_of(Lake(str(tmp_path))).faults[0] == "line 3 is gone"


def _in_a_file(folder: Path) -> Lake:
    (folder / "lake").write_text("no folder")
    return Lake(str(folder / "lake"))


def _damaged(folder: Path) -> Lake:
    recorded(Lake(str(folder)))
    for file in folder.glob("looks/**/*.parquet"):
        file.write_bytes(b"PAR1 damaged")
    return Lake(str(folder))


def _of_another_kind(folder: Path) -> Lake:
    recorded(Lake(str(folder)))
    DeltaTable(str(folder / "looks")).update(updates={"candidate": "NULL"}, predicate="number = 2")
    return Lake(str(folder))


@pytest.mark.parametrize("make", [_in_a_file, _damaged, _of_another_kind])
def test_a_record_that_cannot_be_kept_is_told_and_stops_nothing(tmp_path: Path, make: object) -> None:
    assert callable(make)
    lake = make(tmp_path)
    written = table.record(lambda: lake, [look()])
    assert written.trouble
    found = counted(written, written.looks[0])
    assert found["is_recorded"] is False
    assert "could not be recorded" in found["sentence"]


def test_a_lake_that_does_not_answer_is_told_too() -> None:
    def away() -> Lake:
        raise Unavailable("the store does not answer")

    assert table.record(away, [look()]).trouble == "the store does not answer"
