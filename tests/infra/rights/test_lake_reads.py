"""The lake on the real object store: typed reads, SQL, exports and the migration give what they give in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quantstream.core.errors import Unavailable
from quantstream.lake.queries.export import Export, export
from quantstream.lake.queries.sql import answer
from quantstream.lake.reads import Asked
from quantstream.lake.store import Lake
from quantstream.lake.upkeep.evolution import migrate
from tests.infra.rights.object_store import ObjectStore, running, whats_missing
from tests.unit.quantstream.lake.filled import fill, filled, put_by_day

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # the first time the program is built
LAKE = "s3://quantstream/lake"
COUNT = "select symbol, count(*) n, sum(volume)::text volume from candles group by all order by symbol"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """The object store."""
    if why := whats_missing():
        pytest.skip(why)
    with running(tmp_path_factory.mktemp("objects")) as served:
        yield served


@pytest.fixture(scope="module")
def lake(store: ObjectStore) -> Lake:
    """A filled lake, as a reader has it."""
    fill(Lake(LAKE, store.options("sink")))
    return Lake(LAKE, store.options("dashboard"), may_create=False)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The same in a folder."""
    return filled(tmp_path_factory.mktemp("here"))


def test_typed_reads_and_batches_are_those_of_a_folder(lake: Lake, here: Lake) -> None:
    assert lake.candles().equals(here.candles())
    assert lake.trades().equals(here.trades())
    asked = Asked(["BTCUSDT", "币安人生USDT"], interval="5m")
    assert lake.batches("candles", asked).read_all().equals(here.batches("candles", asked).read_all())
    assert lake.candles(version=3).equals(here.candles(version=3))


def test_sql_and_an_export_are_those_of_a_folder(lake: Lake, here: Lake, tmp_path: Path) -> None:
    with answer(lake, COUNT) as found, answer(here, COUNT) as expected:
        assert found.read_all().to_pylist() == expected.read_all().to_pylist()
    asked = Asked(["BTCUSDT"], interval="5m")
    for one, name in ((lake, "there.parquet"), (here, "here.parquet")):
        export(one, Export("candles", asked, tmp_path / name))
    assert pq.read_table(tmp_path / "there.parquet").equals(pq.read_table(tmp_path / "here.parquet"))


def test_a_lake_by_day_is_migrated_and_keeps_every_row_and_version(store: ObjectStore, here: Lake) -> None:
    old = Lake(f"{LAKE}/of-before", store.options("tasks"))
    put_by_day(here, old)
    before, version = sorted_rows(old), old.version("candles")
    assert migrate(old, 0)[-1] == f"candles: {before.num_rows} rows are now partitioned by symbol and month"
    assert migrate(old, 0) == []
    assert sorted_rows(old).select(before.column_names).equals(before)
    assert old.read("candles", version=version).num_rows == before.num_rows


def sorted_rows(lake: Lake) -> pa.Table:
    rows = lake.read("candles")
    order = ("symbol", "opened_at", "interval", "revision")
    return rows.sort_by([(name, "ascending") for name in order]).combine_chunks()


def test_a_store_that_is_away_is_said_in_a_sentence(lake: Lake, tmp_path: Path) -> None:
    away = replace(lake, storage_options={**(lake.storage_options or {}), "AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    away = replace(away, storage_options={**(away.storage_options or {}), "max_retries": "0"})
    with pytest.raises(Unavailable), answer(away, COUNT):
        pass
    with pytest.raises(Unavailable):
        export(away, Export("candles", Asked(["BTCUSDT"], interval="5m"), tmp_path / "x.csv"))
