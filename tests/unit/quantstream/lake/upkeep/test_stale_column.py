"""A lake of before the marks of stale scores gets their column, and what the sink writes then has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from quantstream.core.errors import Misconfigured
from quantstream.lake.schemas import SCHEMAS, partitions_of
from quantstream.lake.store import Lake
from quantstream.lake.upkeep.evolution import migrate
from quantstream.messages.payloads import Anomaly, Score
from streaming.sink.table_rows import anomaly_row, score_row, table_of

AT = 1_766_000_100_000_000
SCORE = score_row(Score("BTCUSDT", "5m", AT, 0, 1.0, AT, "hash", stale=["quantstream-risk"]))
ANOMALY = anomaly_row(Anomaly("BTCUSDT", 7, AT, 1, 1, True, 0.9, [], "quantstream-anomaly/3", AT, stale=True))


@pytest.mark.parametrize(
    ("name", "row", "mark"),
    [
        ("scores", SCORE, ["quantstream-risk"]),
        ("shadow_scores", SCORE, ["quantstream-risk"]),
        ("anomalies", ANOMALY, True),
    ],
)
def test_a_table_of_before_takes_marked_rows_once_it_is_migrated(
    tmp_path: Path, name: str, row: dict[str, Any], mark: Any
) -> None:
    schema = SCHEMAS[name]
    DeltaTable.create(
        f"{tmp_path}/{name}", schema=schema.remove(schema.get_field_index("stale")), partition_by=partitions_of(name)
    )
    lake, rows = Lake(str(tmp_path)), table_of(name, [row])
    with pytest.raises(Misconfigured, match="lacks stale"):
        lake.append(name, rows)
    assert any("stale" in sentence for sentence in migrate(lake, AT))
    lake.append(name, rows)
    assert lake.read(name)["stale"].to_pylist() == [mark]
