"""A lake of before the marks of stale scores gets their column, and what the sink writes then has it."""

from __future__ import annotations

from pathlib import Path

import pytest
from deltalake import DeltaTable

from quantstream.core.errors import Misconfigured
from quantstream.lake.schemas import BY_MONTH, SCHEMAS
from quantstream.lake.store import Lake
from quantstream.lake.upkeep.evolution import migrate
from quantstream.messages.payloads import Score
from streaming.sink.table_rows import score_row, table_of

AT = 1_766_000_100_000_000
MARKED = Score("BTCUSDT", "5m", AT, 0, 1.0, AT, "hash", stale=["quantstream-risk"])


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
