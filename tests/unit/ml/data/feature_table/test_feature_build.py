"""The table of features over a real lake: what is made, when it is made anew, and that it is what one reading would give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml.data import dataset
from ml.data.feature_table import build as building
from ml.data.feature_table.build import build
from ml.data.feature_table.columns import TABLE
from ml.data.feature_table.reading import load
from quantstream.core.errors import Broken, DataRejected, Fenced, Misconfigured, Unavailable
from quantstream.lake import partition_files
from quantstream.lake.store import Lake
from tests.unit.ml import markets

MONTH = 300  # candles of the threshold, so that little history has labels
NAMES = ("momentum_1h", "log_rms_24h", "jump_share_1h")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def frame(count: int, seed: int = 1, start: str = "2024-01-01") -> pd.DataFrame:
    made = markets.candles(count, seed)
    made["opened_at"] = pd.date_range(pd.Timestamp(start, tz="UTC"), periods=count, freq="5min")
    return made


def read(lake: Lake, tmp: Path, version: int | None = None) -> dataset.Dataset:
    return load(lake, tmp, version, MONTH)[0]


def same(one: dataset.Dataset, other: dataset.Dataset) -> None:
    assert one.symbols == other.symbols
    for name in ("symbol", "opened_at", "close", "features"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name in other.labels:
        np.testing.assert_array_equal(one.labels[name], other.labels[name])


def whole(lake: Lake, *symbols: str) -> dataset.Dataset:
    """What one reading of all candles gives."""
    candles = lake.candle_frame(symbols, "5m")
    return dataset.build({str(name): part.reset_index(drop=True) for name, part in candles.groupby("symbol")}, MONTH)


def correct(lake: Lake, row: int) -> None:
    """Append a later revision of a candle that closes at its high."""
    correction = lake.read("candles").sort_by([("opened_at", "ascending"), ("revision", "ascending")]).slice(row, 1)
    for name in ("close", "high"):
        place = correction.column_names.index(name)
        correction = correction.set_column(place, name, correction["high"])
    place = correction.column_names.index("revision")
    correction = correction.set_column(place, "revision", [[1]]).cast(correction.schema)
    lake.append("candles", correction)


def test_months_made_apart_are_what_one_reading_of_all_candles_gives(lake: Lake, tmp_path: Path) -> None:
    holed = frame(22_000).drop(index=[*range(700, 760), *range(8_890, 8_960), 17_000])  # one lies over a month's end
    markets.write_candles(lake, "BTCUSDT", holed)
    markets.write_candles(lake, "ETHUSDT", frame(9_000, 2, "2024-02-20"))
    built = build(lake, ["BTCUSDT", "ETHUSDT"], MONTH)
    assert (built.parts, built.rows, built.made) == (5, 22_000 - 131 + 9_000, 5)
    same(read(lake, tmp_path), whole(lake, "BTCUSDT", "ETHUSDT"))


def test_a_history_that_pauses_for_longer_than_features_look_back_is_not_taken_to_begin_after_it(
    lake: Lake, tmp_path: Path
) -> None:
    paused = frame(40_000).drop(
        index=range(5_000, 21_000)
    )  # the pause ends within what the features of April look back on
    markets.write_candles(lake, "BTCUSDT", paused)
    build(lake, ["BTCUSDT"], MONTH)
    same(read(lake, tmp_path), whole(lake, "BTCUSDT"))


def test_nothing_is_made_twice_and_new_candles_make_their_months_only(lake: Lake, tmp_path: Path) -> None:
    candles = frame(27_000)
    markets.write_candles(lake, "BTCUSDT", candles[:26_000])
    first = build(lake, ["BTCUSDT"], MONTH)
    again = build(lake, ["BTCUSDT"], MONTH)
    assert (again.version, again.made, again.unchanged) == (first.version, 0, 0)
    before = partition_files.made(lake, TABLE)
    markets.write_candles(lake, "BTCUSDT", candles[26_000:])
    assert build(lake, ["BTCUSDT"], MONTH).made == 2  # March goes on and April begins
    after = partition_files.made(lake, TABLE)
    assert before is not None
    assert after is not None
    kept = [key for key, part in after.parts.items() if before.parts.get(key) == part]
    assert kept == [("BTCUSDT", "2024-01"), ("BTCUSDT", "2024-02")]
    same(read(lake, tmp_path), whole(lake, "BTCUSDT"))
    same(read(lake, tmp_path, first.version), read(lake, tmp_path, first.version))
    assert len(read(lake, tmp_path, first.version).close) == 26_000


def test_the_hour_after_a_months_end_completes_the_labels_of_its_last_rows(lake: Lake, tmp_path: Path) -> None:
    candles = frame(9_000)
    ends = 31 * 288
    markets.write_candles(lake, "BTCUSDT", candles[:ends])
    build(lake, ["BTCUSDT"], MONTH)
    assert np.isnan(read(lake, tmp_path).labels["return_1h"][ends - 1])
    markets.write_candles(lake, "BTCUSDT", candles[ends:])
    assert build(lake, ["BTCUSDT"], MONTH).made == 2
    assert np.isfinite(read(lake, tmp_path).labels["return_1h"][ends - 1])


def test_a_corrected_candle_makes_the_months_that_look_back_on_it_anew(lake: Lake, tmp_path: Path) -> None:
    markets.write_candles(lake, "BTCUSDT", frame(30_000))
    build(lake, ["BTCUSDT"], MONTH)
    correct(lake, 3_000)  # of 11 January: February looks back on it, March does not
    assert build(lake, ["BTCUSDT"], MONTH).made == 2
    same(read(lake, tmp_path), whole(lake, "BTCUSDT"))
    made = partition_files.made(lake, TABLE)
    assert made is not None
    assert [made.parts["BTCUSDT", month].facts["revision"] for month in ("2024-01", "2024-02")] == [1, 0]


def test_months_that_were_read_again_and_found_as_they_were_are_not_read_a_third_time(
    lake: Lake, tmp_path: Path
) -> None:
    markets.write_candles(lake, "BTCUSDT", frame(18_000))
    first = build(lake, ["BTCUSDT"], MONTH)
    correct(lake, 3_000)  # of 11 January: the log of what March may look back on says something else, its rows do not
    second = build(lake, ["BTCUSDT"], MONTH)
    assert (second.made, second.unchanged) == (2, 1)
    third = build(lake, ["BTCUSDT"], MONTH)
    assert (third.version, third.made, third.unchanged) == (second.version, 0, 0)
    correct(lake, 9_500)  # of 2 February, on which March looks back
    fourth = build(lake, ["BTCUSDT"], MONTH)
    assert (fourth.made, fourth.unchanged) == (2, 1)  # January's labels end before
    same(read(lake, tmp_path), whole(lake, "BTCUSDT"))
    same(read(lake, tmp_path, third.version), read(lake, tmp_path, second.version))
    assert len(read(lake, tmp_path, first.version).close) == 18_000


@pytest.mark.parametrize("damaged", [b"", b"{", b"[1]", b'{"BTCUSDT/2024-03": 3}'])
def test_what_was_found_as_it_was_is_read_again_where_nobody_remembers(
    lake: Lake, tmp_path: Path, damaged: bytes
) -> None:
    markets.write_candles(lake, "BTCUSDT", frame(18_000))
    build(lake, ["BTCUSDT"], MONTH)
    correct(lake, 3_000)
    build(lake, ["BTCUSDT"], MONTH)
    (memory,) = (tmp_path / "lake" / TABLE / "_state").rglob("*.json")
    memory.write_bytes(damaged)
    assert build(lake, ["BTCUSDT"], MONTH).unchanged == 1
    assert build(lake, ["BTCUSDT"], MONTH).unchanged == 0


def test_a_symbol_that_is_asked_for_no_more_is_not_in_the_new_version(lake: Lake, tmp_path: Path) -> None:
    for seed, symbol in enumerate(("BTCUSDT", "ETHUSDT")):
        markets.write_candles(lake, symbol, frame(2_000, seed))
    both = build(lake, ["BTCUSDT", "ETHUSDT"], MONTH)
    one = build(lake, ["ETHUSDT"], MONTH)
    assert (one.removed, one.made) == (1, 0)
    assert read(lake, tmp_path).symbols == ("ETHUSDT",)
    assert read(lake, tmp_path, both.version).symbols == ("BTCUSDT", "ETHUSDT")


def test_other_definitions_make_everything_anew_and_a_version_of_before_is_refused_in_a_sentence(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    markets.write_candles(lake, "BTCUSDT", frame(2_000))
    first = build(lake, ["BTCUSDT"], MONTH)
    monkeypatch.setattr("quantstream.features.FEATURE_HASH", "feedbeef")
    assert build(lake, ["BTCUSDT"], MONTH).made == 1
    with pytest.raises(Misconfigured, match=r"was made by .*, this process computes feedbeef/.*features build"):
        load(lake, tmp_path, first.version, MONTH)


def test_many_rows_are_kept_as_float32_and_versions_of_before_keep_their_columns(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    markets.write_candles(lake, "BTCUSDT", frame(2_000))
    exact = build(lake, ["BTCUSDT"], MONTH)
    monkeypatch.setattr("ml.data.feature_table.columns.IN_MEMORY", 1_000)
    short = build(lake, ["BTCUSDT"], MONTH)
    assert short.made == 1
    found, wanted = read(lake, tmp_path, short.version), read(lake, tmp_path, exact.version)
    np.testing.assert_array_equal(found.features, np.asarray(wanted.features).astype(np.float32))
    np.testing.assert_array_equal(found.close, wanted.close)


def test_a_symbol_whose_candles_cannot_be_is_named_and_the_others_are_made(lake: Lake, tmp_path: Path) -> None:
    markets.write_candles(lake, "BTCUSDT", frame(2_000))
    odd = frame(2_000, 2)
    odd["opened_at"] += pd.Timedelta(seconds=1)
    markets.write_candles(lake, "ETHUSDT", odd)
    built = build(lake, ["BTCUSDT", "ETHUSDT"], MONTH)
    assert list(built.refused) == ["ETHUSDT 2024-01"]
    assert "five-minute grid" in str(built)
    assert read(lake, tmp_path).symbols == ("BTCUSDT",)


def test_a_month_that_another_try_may_mend_ends_the_build_after_the_others_were_made(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed, symbol in enumerate(("BTCUSDT", "ETHUSDT")):
        markets.write_candles(lake, symbol, frame(2_000, seed))
    whole_make = building.make

    def fails(stretch: building.Stretch) -> building.Months:
        if stretch.symbol == "BTCUSDT":
            raise Unavailable("the store is away")
        return whole_make(stretch)

    monkeypatch.setattr(building, "make", fails)
    with pytest.raises(Unavailable, match="the store is away"):
        build(lake, ["BTCUSDT", "ETHUSDT"], MONTH)
    made = partition_files.made(lake, TABLE)
    assert made is not None
    assert list(made.parts) == [("ETHUSDT", "2024-01")]
    monkeypatch.undo()
    assert build(lake, ["BTCUSDT", "ETHUSDT"], MONTH).made == 1


def test_of_two_builds_at_once_one_goes_on_from_what_the_other_made(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    markets.write_candles(lake, "BTCUSDT", frame(2_000))
    whole_make, others = building.make, list[building.Built]()

    def overtaken(stretch: building.Stretch) -> building.Months:
        monkeypatch.setattr(building, "make", whole_make)
        others.append(build(lake, ["BTCUSDT"], MONTH))
        return whole_make(stretch)

    monkeypatch.setattr(building, "make", overtaken)
    built = build(lake, ["BTCUSDT"], MONTH)
    assert (built.version, built.made) == (others[0].version, 0)
    assert len(read(lake, tmp_path).close) == 2_000


def test_a_commit_on_a_table_that_moved_on_is_fenced(lake: Lake) -> None:
    markets.write_candles(lake, "BTCUSDT", frame(2_000))
    planned = building.plan(lake, ["BTCUSDT"], MONTH)
    build(lake, ["BTCUSDT"], MONTH)
    with pytest.raises(Fenced):
        partition_files.commit(lake, TABLE, planned.base, [], [], {})


def test_files_of_a_version_that_is_kept_stay_and_those_of_others_go(lake: Lake, tmp_path: Path) -> None:
    candles = frame(2_300)
    versions = []
    for end in (2_000, 2_100, 2_200):
        markets.write_candles(lake, "BTCUSDT", candles[len(lake.read("candles")) : end])
        versions.append(build(lake, ["BTCUSDT"], MONTH).version)
    assert len(partition_files.vacuum(lake, TABLE, versions[:1], hours=0, dry_run=True)) == 1
    assert len(partition_files.vacuum(lake, TABLE, versions[:1], hours=0)) == 1
    assert [len(read(lake, tmp_path, version).close) for version in (versions[0], versions[2])] == [2_000, 2_200]
    with pytest.raises(Misconfigured, match="was vacuumed"):
        read(lake, tmp_path, versions[1])
    markets.write_candles(lake, "BTCUSDT", candles[2_200:])
    assert build(lake, ["BTCUSDT"], MONTH).made == 1


def test_old_versions_stay_readable_after_the_log_was_put_together_and_columns_changed(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    candles = frame(1_200)
    for end in range(1_000, 1_130, 10):  # a checkpoint is written after ten
        markets.write_candles(lake, "BTCUSDT", candles[len(lake.read("candles")) : end])
        build(lake, ["BTCUSDT"], MONTH)
    monkeypatch.setattr("ml.data.feature_table.columns.IN_MEMORY", 1_000)
    build(lake, ["BTCUSDT"], MONTH)
    table = partition_files._open(lake, TABLE, None)
    assert table is not None
    assert table.metadata().configuration["delta.enableExpiredLogCleanup"] == "false"
    assert len(read(lake, tmp_path, 1).close) == 1_000


def test_no_candles_and_no_features_are_said_in_a_sentence(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(DataRejected, match="no features to learn from; `python -m ml features build`"):
        load(lake, tmp_path)
    with pytest.raises(DataRejected, match="no candles to learn from"):
        build(lake, ["BTCUSDT"], MONTH)


def test_a_version_that_is_not_there_and_rows_that_are_not_those_written_are_refused(
    lake: Lake, tmp_path: Path
) -> None:
    markets.write_candles(lake, "BTCUSDT", frame(2_000))
    built = build(lake, ["BTCUSDT"], MONTH)
    with pytest.raises(Misconfigured, match="has no version 99 that could be read; its newest is 1"):
        load(lake, tmp_path, 99, MONTH)
    (file,) = Path(lake.url, TABLE).rglob("*.parquet")
    markets.write_candles(lake, "ETHUSDT", frame(2_000, 2))
    build(lake, ["BTCUSDT", "ETHUSDT"], MONTH)
    (other,) = [path for path in Path(lake.url, TABLE).rglob("*.parquet") if path != file]
    file.write_bytes(other.read_bytes())
    with pytest.raises(Broken, match="does not hold the rows that were written"):
        load(lake, tmp_path, built.version, MONTH)
    file.unlink()
    with pytest.raises(Misconfigured, match=r"no longer has symbol=BTCUSDT/month=2024-01/.*vacuumed"):
        load(lake, tmp_path, built.version, MONTH)
