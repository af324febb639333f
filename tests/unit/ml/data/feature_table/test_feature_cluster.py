"""Features made by a Dask cluster are those made in the process, to the last bit."""

from __future__ import annotations

from pathlib import Path

from ml.data.feature_table.build import build
from ml.data.feature_table.columns import TABLE
from ml.data.feature_table.reading import load
from quantstream.lake import partition_files
from quantstream.lake.store import Lake
from tests.unit.ml import markets

MONTH = 300


def test_two_local_workers_make_the_same_files_as_the_process_itself(tmp_path: Path) -> None:
    found = []
    for dask in ("", "local"):
        lake = Lake(str(tmp_path / f"lake{dask}"))
        for seed, symbol in enumerate(("BTCUSDT", "ETHUSDT", "SOLUSDT")):
            markets.write_candles(lake, symbol, markets.candles(12_000, seed))
        built = build(lake, ["BTCUSDT", "ETHUSDT", "SOLUSDT"], MONTH, dask)
        assert (built.made, built.refused) == (6, {})
        made = partition_files.made(lake, TABLE)
        assert made is not None
        files = {key: (Path(lake.url, TABLE) / part.path).read_bytes() for key, part in made.parts.items()}
        found.append((load(lake, tmp_path, None, MONTH)[1].rows_hash, files))
    assert found[0] == found[1]
