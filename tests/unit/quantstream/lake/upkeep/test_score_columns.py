"""A lake of before some column of scores gets it, and what the sink writes then has it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from quantstream.core.errors import Misconfigured
from quantstream.lake.schemas import BY_MONTH, SCHEMAS
from quantstream.lake.store import Lake
from quantstream.lake.upkeep.evolution import migrate
from quantstream.messages.payloads import Score, Signal
from streaming.sink.table_rows import score_row, table_of

AT = 1_766_000_100_000_000
MARKED = Score("BTCUSDT", "5m", AT, 0, 1.0, AT, "hash", stale=["quantstream-risk"])
DIRECTION = ("usually_up", "tail_lean", "expected_return", "round_trip_cost")


@pytest.mark.parametrize("name", ["scores", "shadow_scores"])
def test_a_table_of_before_takes_marked_scores_once_it_is_migrated(tmp_path: Path, name: str) -> None:
    schema = SCHEMAS[name]
    DeltaTable.create(
        f"{tmp_path}/{name}", schema=schema.remove(schema.get_field_index("stale")), partition_by=BY_MONTH
    )
    lake, rows = Lake(str(tmp_path)), table_of("scores", [score_row(MARKED)])
    with pytest.raises(Misconfigured, match="lacks stale"):
        lake.append(name, rows)
    assert any("stale" in sentence for sentence in migrate(lake, AT))
    lake.append(name, rows)
    assert lake.read(name)["stale"].to_pylist() == [["quantstream-risk"]]


@pytest.mark.parametrize("name", ["scores", "shadow_scores"])
def test_a_table_of_before_takes_directions_and_its_own_rows_say_nothing_of_them(tmp_path: Path, name: str) -> None:
    old = Score("BTCUSDT", "5m", AT - 300_000_000, 0, 1.0, AT, "hash", signal=Signal("Hold", 0.2, 0.5, 0.3))
    new = msgspec.structs.replace(MARKED, signal=Signal("Buy", 0.6, 0.3, 0.1, 0.55, 0.5, 0.001, 0.002))
    schema = pa.schema([field for field in SCHEMAS[name] if field.name not in DIRECTION])
    DeltaTable.create(f"{tmp_path}/{name}", schema=schema, partition_by=BY_MONTH)
    keys = {"date": [datetime(2025, 12, 17, tzinfo=UTC).date()], "month": ["2025-12"]}
    before = table_of("scores", [score_row(old)]).drop_columns(list(DIRECTION))
    for column, values in keys.items():
        before = before.append_column(column, pa.array(values))
    write_deltalake(f"{tmp_path}/{name}", before.select(schema.names).cast(schema), mode="append")
    lake = Lake(str(tmp_path))
    with pytest.raises(Misconfigured, match="lacks usually_up, tail_lean, expected_return, round_trip_cost; run"):
        lake.append(name, table_of("scores", [score_row(new)]))
    assert [f"{name}: {column} was added" for column in DIRECTION] == migrate(lake, AT)
    lake.append(name, table_of("scores", [score_row(new)]))
    rows = lake.read(name).sort_by("opened_at").to_pylist()
    assert [[row[column] for column in DIRECTION] for row in rows] == [[None] * 4, [0.55, 0.5, 0.001, 0.002]]
    assert [row["buy"] for row in rows] == [0.2, 0.6]
