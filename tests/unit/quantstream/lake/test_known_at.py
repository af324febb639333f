"""What was known at a time: each revision says when it became known, and a lake of before is brought up to date."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from msgspec.structs import replace

from quantstream.core.candle import CORRECTION_STEP, Candle
from quantstream.core.decimals import UNIT
from quantstream.core.errors import DataRejected, Misconfigured
from quantstream.core.time import HOUR, MINUTE, SECOND, utc
from quantstream.lake.schemas import PARTITIONS, SCHEMAS, candle_rows
from quantstream.lake.store import Lake, Step
from quantstream.lake.upkeep.compaction import compact
from quantstream.lake.upkeep.evolution import migrate

T0 = 1_763_820_000 * SECOND  # 2025-11-22 14:00
LENGTH = 5 * MINUTE
FIRST = Candle("BTCUSDT", "5m", T0, 2 * UNIT, 2 * UNIT, 2 * UNIT, 2 * UNIT, 1, 1, 1, 0, 0, 7, 7, True)
REVISED = replace(FIRST, close=3 * UNIT, high=3 * UNIT, revision=1)
CORRECTED = replace(FIRST, close=4 * UNIT, high=4 * UNIT, revision=CORRECTION_STEP, source="klines")
SECOND_ONE = replace(FIRST, opened_at=T0 + LENGTH)
OLD, NEW = ("candles", "scores"), ("month", "known_at")


def closes(lake: Lake, as_of: int | None = None, **how: str) -> list[float]:
    when = None if as_of is None else utc(as_of)
    return [float(row["close"]) for row in lake.candles(["BTCUSDT"], as_of=when, **how).to_pylist()]  # type: ignore[arg-type]


def old_lake(folder: Path) -> Lake:
    """Make a lake as versions before this one did, with a candle and its revision in it."""
    for name in OLD:
        schema = pa.schema([field for field in SCHEMAS[name] if field.name not in NEW])
        DeltaTable.create(f"{folder}/{name}", schema=schema, partition_by=PARTITIONS)
    rows = candle_rows([FIRST, REVISED])
    rows = rows.append_column("date", pa.array([utc(T0).date()] * 2))
    names = [name for name in SCHEMAS["candles"].names if name not in NEW]
    write_deltalake(f"{folder}/candles", rows.select(names), mode="append")
    return Lake(str(folder))


def test_candles_as_of_a_time_are_the_newest_revisions_that_were_known_then(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    lake.append(
        "candles", candle_rows([FIRST, REVISED, SECOND_ONE], known_at=[T0 + LENGTH, T0 + 6 * MINUTE, T0 + 2 * LENGTH])
    )
    lake.append("candles", candle_rows([CORRECTED], known_at=[T0 + HOUR]))
    assert closes(lake, T0 + LENGTH - 1) == []
    assert closes(lake, T0 + LENGTH) == [2.0]
    assert closes(lake, T0 + 6 * MINUTE) == [3.0]
    assert closes(lake, T0 + HOUR - 1) == [3.0, 2.0]
    assert closes(lake, T0 + HOUR) == [4.0, 2.0]
    assert closes(lake) == [4.0, 2.0]


def test_a_lake_of_before_is_read_as_it_was_and_says_what_it_does_not_know(tmp_path: Path) -> None:
    lake = old_lake(tmp_path)
    assert closes(lake) == [3.0]
    with pytest.raises(DataRejected, match=r"2 of the candles .* does not say when they became known"):
        closes(lake, T0 + HOUR)
    assert closes(lake, T0 + LENGTH - 1, undated="at close") == []
    assert closes(lake, T0 + LENGTH, undated="at close") == [3.0]


def test_a_writer_of_a_lake_of_before_says_what_to_do(tmp_path: Path) -> None:
    lake = old_lake(tmp_path)
    with pytest.raises(Misconfigured, match=r"older version.* lacks month, known_at.*quantstream lake migrate"):
        lake.append("candles", candle_rows([SECOND_ONE], known_at=[T0 + 2 * LENGTH]))


def test_a_migrated_lake_keeps_every_row_and_knows_all_of_them_from_then_on(tmp_path: Path) -> None:
    lake = old_lake(tmp_path)
    before = lake.read("candles")
    assert migrate(lake, T0 + HOUR) == [
        *(f"{table}: {column} was added" for table in OLD for column in NEW),
        "candles: 2 rows are now partitioned by symbol and month",
        "scores: 0 rows are now partitioned by symbol and month",
    ]
    assert migrate(lake, T0 + 9 * HOUR) == [], "a second run finds nothing to do"
    assert lake.read("candles").select(before.column_names).equals(before)
    lake.append("candles", candle_rows([SECOND_ONE], known_at=[T0 + 2 * HOUR]))
    assert closes(lake) == [3.0, 2.0]
    assert closes(lake, T0 + 2 * HOUR) == [3.0, 2.0]
    assert closes(lake, T0 + 2 * HOUR - 1) == [3.0], "what was there when the column came was known then"
    with pytest.raises(DataRejected, match="does not say when they became known"):
        closes(lake, T0 + HOUR - 1)
    compact(lake, "candles")
    assert closes(lake, T0 + 2 * HOUR - 1) == [3.0], "compaction keeps what the column says"


def test_progress_and_version_stay_when_a_lake_is_migrated(tmp_path: Path) -> None:
    lake = old_lake(tmp_path)
    table = DeltaTable(f"{tmp_path}/candles")
    rows = pa.table(table.to_pyarrow_dataset().to_table())
    Lake(str(tmp_path)).table("candles")
    from deltalake import CommitProperties, Transaction

    write_deltalake(
        table,
        rows.slice(0, 0),
        mode="append",
        commit_properties=CommitProperties(app_transactions=[Transaction("sink/x/0", 41)]),
    )
    migrate(lake, T0)
    lake.append("candles", candle_rows([SECOND_ONE], known_at=[T0]), {"sink/x/0": Step(41, 42)})
    assert lake.progress("candles", "sink/x/0") == 42


def test_tables_that_are_not_there_are_not_made_by_a_migration(tmp_path: Path) -> None:
    assert migrate(Lake(str(tmp_path / "none")), T0) == []
    assert not (tmp_path / "none").exists()


def test_a_lake_of_a_newer_version_is_read_but_not_written(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    schema = SCHEMAS["candles"].append(pa.field("mood", pa.string()))
    DeltaTable.create(f"{tmp_path}/candles", schema=schema, partition_by=PARTITIONS)
    assert lake.candles().num_rows == 0
    with pytest.raises(Misconfigured, match=r"newer version.* mood.*upgrade"):
        lake.append("candles", candle_rows([FIRST], known_at=[T0]))
    with pytest.raises(Misconfigured, match=r"newer version.* mood.*upgrade"):
        migrate(lake, T0)


def test_a_column_of_another_type_is_refused_by_name(tmp_path: Path) -> None:
    fields = [pa.field("revision", pa.string()) if field.name == "revision" else field for field in SCHEMAS["candles"]]
    DeltaTable.create(f"{tmp_path}/candles", schema=pa.schema(fields), partition_by=PARTITIONS)
    for act in (
        lambda: migrate(Lake(str(tmp_path)), T0),
        lambda: Lake(str(tmp_path)).append("candles", candle_rows([FIRST])),
    ):
        with pytest.raises(Misconfigured, match="revision as string where it should be int32"):
            act()
