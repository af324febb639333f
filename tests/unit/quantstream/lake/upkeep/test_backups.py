"""Backups of a lake: whole at one version, small, and put back only when every byte is what it was."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyarrow.fs import FileSystem

from quantstream.core.errors import Broken, Misconfigured, Unavailable
from quantstream.lake.schemas import candle_rows
from quantstream.lake.store import Lake, Step, files_at
from quantstream.lake.upkeep import pieces as pieces_module
from quantstream.lake.upkeep.backups import Made, back_up, restore, stamps_of
from quantstream.lake.upkeep.compaction import compact
from quantstream.lake.upkeep.pieces import folder_pieces, lake_differences, lake_pieces
from tests.unit.quantstream.lake.test_store import candle

NAMES = ["BTCUSDT", "O'X=Y/%20", "币安人生USDT"]
DAY = timedelta(days=1)
KEEP = 14 * DAY


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    found = Lake(str(tmp_path / "lake"))
    for number in range(3):
        commit(found, number)
    return found


@pytest.fixture
def kept(tmp_path: Path) -> FileSystem:
    return files_at(str(tmp_path / "kept"), may_create=True)


def commit(lake: Lake, number: int) -> None:
    """Append a candle of each symbol with the offset and the state of its reader."""
    step = Step(number - 1 if number else None, number)
    rows = candle_rows([candle(number, name) for name in NAMES])
    lake.append("candles", rows, {"candles.0": step}, {"candles.0": f"state {number}".encode()})


def make(lake: Lake, kept: FileSystem, now: datetime) -> Made:
    return back_up(files_at(lake.url), lake_pieces(lake), kept, now, KEEP)


def at(day: int) -> datetime:
    return datetime.now(UTC) + day * DAY


def test_what_is_put_back_is_the_lake_with_its_writers_progress_and_states(
    lake: Lake, kept: FileSystem, tmp_path: Path
) -> None:
    made = make(lake, kept, at(0))
    before = lake.read("candles"), lake.version("candles")
    commit(lake, 3)
    facts = restore(kept, made.stamp, files_at(str(tmp_path / "anew"), may_create=True))
    found = Lake(str(tmp_path / "anew"))
    assert (found.read("candles"), found.version("candles")) == before
    assert found.progress("candles", "candles.0") == 2
    assert found.states("candles") == {"candles.0": b"state 2"}
    assert lake_differences(found, facts) == []
    commit(found, 3)  # its writer goes on from there
    assert found.read("candles").equals(lake.read("candles"))


def test_a_long_log_is_kept_from_its_checkpoint_on(lake: Lake, kept: FileSystem, tmp_path: Path) -> None:
    lake.table("candles").create_checkpoint()
    commit(lake, 3)
    log = [one.path for one in lake_pieces(lake).pieces if "_delta_log" in one.path]
    assert [path.rpartition("/")[2] for path in log] == [
        *(f"{version:020}.json" for version in (4, 3)),
        f"{3:020}.checkpoint.parquet",
    ]
    made = make(lake, kept, at(0))
    restore(kept, made.stamp, files_at(str(tmp_path / "anew"), may_create=True))
    assert Lake(str(tmp_path / "anew")).read("candles").equals(lake.read("candles"))


def test_only_what_is_new_is_copied(lake: Lake, kept: FileSystem) -> None:
    first = make(lake, kept, at(0))
    assert (first.copied, make(lake, kept, at(1)).copied) == (first.pieces, 0)
    commit(lake, 3)
    assert make(lake, kept, at(2)).copied == len(NAMES) + 2  # a commit and a state


def test_what_a_compaction_took_away_is_still_in_the_backup_of_before(
    lake: Lake, kept: FileSystem, tmp_path: Path
) -> None:
    made, rows = make(lake, kept, at(0)), lake.read("candles")
    compact(lake, "candles", keep=7 * DAY)
    make(lake, kept, at(1))
    restore(kept, made.stamp, files_at(str(tmp_path / "anew"), may_create=True))
    assert Lake(str(tmp_path / "anew")).read("candles").equals(rows)


def test_old_backups_go_with_what_only_they_needed_and_the_newest_stays(lake: Lake, kept: FileSystem) -> None:
    made = [make(lake, kept, at(0)).stamp]
    compact(lake, "candles", keep=7 * DAY)
    made += [make(lake, kept, at(10)).stamp]
    before = files(kept)
    assert make(lake, kept, at(15)).removed == 1
    assert made[0] not in stamps_of(kept)
    assert made[1] in stamps_of(kept)
    assert files(kept) < before
    assert make(lake, kept, at(400)).removed == 2
    assert len(stamps_of(kept)) == 1


def files(kept: FileSystem) -> int:
    return len([one for one in folder_pieces(kept).pieces if one.path.startswith("files/")])


def test_what_a_run_that_ended_half_way_left_is_no_backup(lake: Lake, kept: FileSystem, tmp_path: Path) -> None:
    found = lake_pieces(lake)
    lost = next(one.path for one in found.pieces if one.path.endswith(".parquet"))
    away = Path(lake.url, lost).rename(tmp_path / "away")
    with pytest.raises(Unavailable, match="the backup was not made"):
        back_up(files_at(lake.url), found, kept, at(0), KEEP)
    assert stamps_of(kept) == []
    away.rename(Path(lake.url, lost))
    assert make(lake, kept, at(0)).copied == len(found.pieces)


@pytest.mark.parametrize(
    "damage",
    [lambda path: path.write_bytes(path.read_bytes()[:-1]), lambda path: path.write_bytes(bytes(path.stat().st_size))],
    ids=["cut", "other-bytes"],
)
def test_what_is_not_what_was_backed_up_is_not_put_back_in_silence(
    lake: Lake, kept: FileSystem, tmp_path: Path, damage: Callable[[Path], int]
) -> None:
    made = make(lake, kept, at(0))
    hit = max(
        (path for path in (tmp_path / "kept" / "files").rglob("*") if path.is_file()),
        key=lambda one: one.stat().st_size,
    )
    damage(hit)
    anew = tmp_path / "anew"
    with pytest.raises(Broken, match="is not what was backed up"):
        restore(kept, made.stamp, files_at(str(anew), may_create=True))
    assert not list(anew.glob("*/_delta_log/*"))  # so nobody opens half a table


def test_a_kept_file_that_was_lost_is_copied_again(lake: Lake, kept: FileSystem, tmp_path: Path) -> None:
    make(lake, kept, at(0))
    next(path for path in (tmp_path / "kept" / "files").rglob("*") if path.is_file()).unlink()
    assert make(lake, kept, at(1)).copied == 1


def test_a_place_that_holds_something_is_left_alone(lake: Lake, kept: FileSystem) -> None:
    made = make(lake, kept, at(0))
    with pytest.raises(Misconfigured, match="name a new folder"):
        restore(kept, made.stamp, files_at(lake.url))


def test_a_backup_that_is_not_there_is_named_with_those_that_are(lake: Lake, kept: FileSystem, tmp_path: Path) -> None:
    made = make(lake, kept, at(0))
    with pytest.raises(Misconfigured, match=made.stamp):
        restore(kept, "20200101T000000Z", files_at(str(tmp_path / "anew"), may_create=True))


def test_states_are_those_of_the_version_though_a_writer_goes_on(
    lake: Lake, kept: FileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two commits between opening the table and reading states take the state away that belongs to it."""
    numbers = iter(range(3, 7))
    read = Lake.states

    def states(self: Lake, name: str, table: object = None) -> dict[str, bytes | None]:
        for number in [next(numbers, None) for _ in range(2)]:
            if number is not None:
                commit(lake, number)
        return read(self, name, table)  # type: ignore[arg-type]

    monkeypatch.setattr(Lake, "states", states)
    made = make(lake, kept, at(0))
    monkeypatch.setattr(Lake, "states", read)
    restore(kept, made.stamp, files_at(str(tmp_path / "anew"), may_create=True))
    found = Lake(str(tmp_path / "anew"))
    assert found.states("candles") == {"candles.0": f"state {found.progress('candles', 'candles.0')}".encode()}


def test_a_writer_that_never_rests_is_said(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter(range(3, 99))

    def states(self: Lake, name: str, table: object = None) -> dict[str, bytes | None]:
        commit(lake, next(numbers))
        return {"candles.0": None}

    monkeypatch.setattr(Lake, "states", states)
    monkeypatch.setattr(pieces_module, "TRIES", 3)
    with pytest.raises(Unavailable, match="faster than its states can be read"):
        lake_pieces(lake)


def test_a_log_that_lacks_a_commit_is_not_backed_up(lake: Lake) -> None:
    log = [one for one in folder_pieces(files_at(lake.url)).pieces if one.path.endswith(f"{1:020}.json")]
    Path(lake.url, log[0].path).unlink()
    with pytest.raises((Broken, Unavailable), match=r"lacks version 1|cannot be"):
        lake_pieces(lake)


def test_folders_that_are_no_tables_are_named(lake: Lake) -> None:
    Path(lake.url, "anew", "candles").mkdir(parents=True)
    Path(lake.url, "anew", "candles", "x").write_text("x")
    assert lake_pieces(lake).facts["left_out"] == ["anew"]


def test_a_folder_of_files_comes_back_as_it_was(tmp_path: Path, kept: FileSystem) -> None:
    large = bytes(range(256)) * (40 << 10)  # more than is written at once
    for name, content in {"a/b c.bin": large, "a/é.txt": b"", "c": b"x"}.items():
        (tmp_path / "of" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "of" / name).write_bytes(content)
    source = files_at(str(tmp_path / "of"))
    made = back_up(source, folder_pieces(source), kept, at(0), KEEP)
    restore(kept, made.stamp, files_at(str(tmp_path / "anew"), may_create=True))
    there = {
        str(p.relative_to(tmp_path / "anew")): p.read_bytes() for p in (tmp_path / "anew").rglob("*") if p.is_file()
    }
    assert there == {"a/b c.bin": large, "a/é.txt": b"", "c": b"x"}
