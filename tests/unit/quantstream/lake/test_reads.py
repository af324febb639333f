"""Reads of candles and trades: at once or in batches they are the same rows, whatever lies where."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest

from quantstream.core.errors import DataRejected, Unavailable
from quantstream.core.time import micros
from quantstream.lake import reads
from quantstream.lake.reads import Asked
from quantstream.lake.snapshots import snapshot
from quantstream.lake.store import Lake
from quantstream.lake.upkeep.compaction import compact
from tests.unit.quantstream.lake.filled import DAYS, SYMBOLS, day_after, filled, put_by_day

RANGES = [
    Asked(None, interval="5m"),
    Asked(["币安人生USDT", "BTCUSDT", "NONEUSDT"], interval="5m"),
    Asked(["BTCUSDT"], day_after(1), interval="5m"),
    Asked(["ETHUSDT", "BTCUSDT"], day_after(2), day_after(9), "5m"),
    Asked(None, None, day_after(3), "5m"),
    Asked(["BTCUSDT"], interval="5m", as_of=day_after(6)),
    Asked(["BTCUSDT"], day_after(40), day_after(50), "5m"),
]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return filled(tmp_path_factory.mktemp("filled"))


def whole(lake: Lake, asked: Asked, with_quarantined: bool = False) -> pa.Table:
    return lake.candles(
        asked.symbols, asked.interval or "5m", asked.start, asked.end, None, asked.as_of, "refuse", with_quarantined
    )


def plain(rows: pa.Table) -> list[dict[str, object]]:
    return rows.drop_columns(["month"]).to_pylist() if "month" in rows.column_names else rows.to_pylist()


@pytest.mark.parametrize("at_once", [1, 3, 8, 1_000_000])
def test_batches_are_the_candles_in_the_same_order_however_many_are_read_at_once(
    at_once: int, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "AT_ONCE", at_once)
    for asked in RANGES:
        for also in (False, True):
            found = lake.batches("candles", asked, with_quarantined=also).read_all()
            assert plain(found) == plain(whole(lake, asked, also)), asked


def test_what_is_in_the_lake_is_what_comes_out(lake: Lake) -> None:
    candles = lake.candles()
    assert candles.num_rows == DAYS * 2 * len(SYMBOLS) - 2, "newest revisions, a day of one symbol in quarantine"
    assert candles.filter(pa.compute.field("revision") > 0).num_rows == DAYS // 3
    assert lake.candles(with_quarantined=True).num_rows == DAYS * 2 * len(SYMBOLS)
    assert lake.candles(interval="1m")["symbol"].unique().to_pylist() == ["BTCUSDT"]
    assert lake.candle_frame(["BTCUSDT"])["close"].iloc[1] == 2.0


def test_trades_come_in_order_of_time_and_id_at_once_or_in_batches(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lake.trades()["id"].to_pylist() == list(range(DAYS * 10))
    monkeypatch.setattr(reads, "AT_ONCE", 3)
    assert lake.batches("trades", Asked()).read_all()["id"].to_pylist() == list(range(DAYS * 10))
    part = lake.trades(["BTCUSDT"], day_after(2), day_after(4))
    assert part["id"].to_pylist() == list(range(20, 40))


def test_all_revisions_come_where_no_interval_is_named(lake: Lake) -> None:
    found = lake.batches("candles", Asked(["BTCUSDT"], day_after(0), day_after(1))).read_all()
    assert found.select(["interval", "revision"]).to_pylist() == [
        {"interval": "1m", "revision": 0},
        {"interval": "5m", "revision": 0},
        {"interval": "5m", "revision": 1},
        {"interval": "5m", "revision": 0},
    ]


def test_a_table_by_day_of_an_older_version_reads_the_same(lake: Lake, tmp_path: Path) -> None:
    old = Lake(str(tmp_path))
    put_by_day(lake, old)
    for asked in RANGES:
        assert plain(whole(old, asked)) == plain(whole(lake, asked, with_quarantined=True))
        assert plain(old.batches("candles", asked).read_all()) == plain(whole(old, asked))


def test_compaction_and_snapshots_change_nothing_of_what_is_read(tmp_path: Path) -> None:
    lake = filled(tmp_path)
    before, version = plain(lake.candles()), lake.version("candles")
    then = snapshot(lake, ["candles"])
    compact(lake, "candles")
    assert len(lake.table("candles").file_uris()) == 2 * len(SYMBOLS), "a file a symbol and month"
    for _ in range(8):  # after some readings the files are listed
        assert plain(then.candles(SYMBOLS)) == before
    assert plain(then.batches("candles", Asked(interval="5m")).read_all()) == before
    assert plain(lake.candles()) == before
    assert plain(lake.candles(version=version)) == before
    assert plain(lake.batches("candles", Asked(interval="5m"), version).read_all()) == before


def test_a_version_that_is_not_there_is_named(lake: Lake) -> None:
    for version in (-1, 999):
        with pytest.raises(DataRejected, match=rf"candles at .* has no version {version}: its newest is {DAYS}"):
            lake.candles(version=version)


def test_a_file_that_is_gone_half_way_is_said_and_not_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = filled(tmp_path)
    monkeypatch.setattr(reads, "AT_ONCE", 3)
    batches = lake.batches("candles", Asked(["BTCUSDT"], interval="5m"))
    batches.read_next_batch()
    for file in (tmp_path / "candles").rglob("symbol=BTCUSDT/month=2025-12/*.parquet"):
        file.unlink()
    with pytest.raises(Unavailable, match=r"candles at .* cannot be read"):
        batches.read_all()


def test_each_stretch_is_read_once_and_all_of_them_are_the_range(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "AT_ONCE", 4)
    files = reads.TableFiles(lake.table("candles"))
    asked = Asked(["BTCUSDT"], day_after(2), day_after(9))
    found = [(micros(one.start), micros(one.end)) for one in reads.parts(asked, files) if one.start and one.end]
    assert found[0][0] == micros(day_after(2))
    assert found[-1][1] == micros(day_after(9))
    assert all(before[1] == after[0] for before, after in pairwise(found))
