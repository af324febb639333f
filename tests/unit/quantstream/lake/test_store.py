"""The lake: atomic, exact, and it knows where each writer stands."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pandas as pd
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from quantstream.core.candle import Candle
from quantstream.core.decimals import QUOTE_UNIT, UNIT
from quantstream.core.errors import Broken, Fenced, Unavailable
from quantstream.core.time import MINUTE, SECOND, micros, utc
from quantstream.lake import snapshots, stored_states
from quantstream.lake import store as lake_module
from quantstream.lake.commits import staging
from quantstream.lake.schemas import SCHEMAS, candle_rows
from quantstream.lake.snapshots import RECENT, RecentLake, snapshot
from quantstream.lake.store import Lake, Step
from quantstream.lake.stored_states import BUFFER
from quantstream.lake.upkeep import compaction
from quantstream.lake.upkeep.compaction import compact

T0 = 1_723_161_600 * SECOND


def candle(number: int = 0, symbol: str = "BTCUSDT", revision: int = 0, close: int = 100 * UNIT) -> Candle:
    return Candle(
        symbol=symbol,
        interval="5m",
        opened_at=T0 + number * 5 * MINUTE,
        open=100 * UNIT,
        high=200 * UNIT,
        low=UNIT,
        close=close,
        volume=3,
        quote_volume=7 * QUOTE_UNIT + 1,
        trade_count=2,
        taker_buy_volume=1,
        taker_buy_quote_volume=1,
        first_trade_id=1,
        last_trade_id=2,
        is_complete=True,
        revision=revision,
    )


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def test_of_many_symbols_files_only_those_asked_for_are_looked_at(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["BTCUSDT", "O'X=Y/%20", "币安人生USDT", *(f"A{n}USDT" for n in range(20))]
    lake.append("candles", candle_rows([candle(0, name) for name in names]))
    lake.append("candles", candle_rows([candle(600, name) for name in names]))
    looked_at: list[int] = []
    whole = DeltaTable.to_pyarrow_dataset

    def counted(*arguments: Any, **named: Any) -> Any:
        data = whole(*arguments, **named)
        looked_at.append(len(list(data.get_fragments())))
        return data

    monkeypatch.setattr(DeltaTable, "to_pyarrow_dataset", counted)
    for name in names[:3]:
        assert lake.read("candles", [name])["symbol"].to_pylist() == [name, name]
    assert lake.read("candles", names[:3], utc(T0 + 600 * 5 * MINUTE)).num_rows == 3
    assert lake.read("candles", names, end=utc(T0 + 5 * MINUTE)).num_rows == len(names)
    assert lake.read("candles", []).num_rows == 0
    assert lake.read("candles").num_rows == 2 * len(names)
    assert looked_at == [2, 2, 2, 3, len(names), 0, 2 * len(names)]


def test_numbers_come_back_to_the_last_decimal(lake: Lake) -> None:
    lake.append("candles", candle_rows([candle()]))
    (row,) = lake.read("candles").to_pylist()
    assert row["quote_volume"] == Decimal("7.0000000000000001")
    assert row["volume"] == Decimal("0.00000003")
    assert row["opened_at"] == datetime(2024, 8, 9, tzinfo=UTC)
    assert row["date"] == row["opened_at"].date()


def test_the_newest_revision_of_a_candle_counts(lake: Lake) -> None:
    for revision, close in ((0, 100 * UNIT), (2, 102 * UNIT), (1, 101 * UNIT)):
        lake.append("candles", candle_rows([candle(0, revision=revision, close=close)]))
    lake.append("candles", candle_rows([candle(1), candle(0, "ETHUSDT")]))
    found = lake.candles().to_pylist()
    assert [(row["symbol"], row["revision"], row["close"]) for row in found] == [
        ("BTCUSDT", 2, Decimal(102)),
        ("BTCUSDT", 0, Decimal(100)),
        ("ETHUSDT", 0, Decimal(100)),
    ]


def test_a_read_is_bounded_by_symbol_and_time(lake: Lake) -> None:
    lake.append("candles", candle_rows([candle(number, symbol) for number in range(600) for symbol in ("A1", "B1")]))
    start = utc(T0) + timedelta(minutes=25)
    rows = lake.read("candles", ["B1"], start, start + timedelta(hours=30), columns=["symbol", "opened_at"])
    assert rows.num_rows == 360
    assert rows["opened_at"][0].as_py() == start


def test_floats_are_rounded_as_python_rounds(lake: Lake) -> None:
    numbers = [1, 3, 29_999_999, 6_183_763_000_001, 12_345_678_901_234_567]
    candles = [msgspec.structs.replace(candle(n), low=1, high=10**20, close=close) for n, close in enumerate(numbers)]
    lake.append("candles", candle_rows(candles))
    assert lake.candle_frame()["close"].tolist() == [number / UNIT for number in numbers]


def test_progress_is_in_the_same_transaction_as_the_rows(lake: Lake) -> None:
    assert lake.progress("candles", "sink/x/0") is None
    lake.append("candles", candle_rows([candle()]), {"sink/x/0": Step(None, 41), "sink/x/1": Step(None, 7)})
    lake.append("candles", candle_rows([candle(1)]), {"sink/x/0": Step(41, 42)})
    assert lake.progress("candles", "sink/x/0") == 42
    assert lake.progress("candles", "sink/x/1") == 7


def test_a_writer_that_another_has_fenced_writes_nothing(lake: Lake) -> None:
    lake.append("candles", candle_rows([candle()]), {"sink/x/0": Step(None, 8)})
    lake.append("candles", candle_rows([candle(1)]), {"sink/x/0": Step(8, 10)})
    for late in (Step(8, 10), Step(None, 8), Step(8, 12)):
        with pytest.raises(Fenced, match="sink/x/0 at 10 instead of"):
            lake.append("candles", candle_rows([candle(1)]), {"sink/x/0": late})
    assert (lake.read("candles").num_rows, lake.progress("candles", "sink/x/0")) == (2, 10)


@pytest.mark.parametrize("module", [staging, lake_module])  # of a folder, and of an address
def test_the_comparison_is_part_of_the_commit(module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two writers find the same progress; the second has compared before the first commits."""
    lake = Lake(str(tmp_path) if module is staging else f"file://{tmp_path}")
    real, begun = lake_module.write_deltalake, []

    def overtaken(table: DeltaTable, *args: Any, **options: Any) -> None:
        if not begun:
            begun.append(True)
            lake.append("candles", candle_rows([candle(2)]), {"sink/x/0": Step(None, 9)})
        real(table, *args, **options)

    monkeypatch.setattr(module, "write_deltalake", overtaken)
    with pytest.raises(Fenced, match="sink/x/0 at 9 instead of None"):
        lake.append("candles", candle_rows([candle()]), {"sink/x/0": Step(None, 8)})
    assert (lake.read("candles").num_rows, lake.progress("candles", "sink/x/0")) == (1, 9)


@pytest.mark.parametrize("module", [staging, lake_module])
def test_writers_of_different_progress_do_not_hinder_one_another(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(str(tmp_path) if module is staging else f"file://{tmp_path}")
    real, begun = lake_module.write_deltalake, []

    def beside(table: DeltaTable, *args: Any, **options: Any) -> None:
        if not begun:
            begun.append(True)
            lake.append("candles", candle_rows([candle(2)]), {"sink/x/1": Step(None, 9)})
        real(table, *args, **options)

    monkeypatch.setattr(module, "write_deltalake", beside)
    lake.append("candles", candle_rows([candle()]), {"sink/x/0": Step(None, 8)})
    assert lake.read("candles").num_rows == 2


def test_a_state_belongs_to_the_progress_it_was_kept_with(lake: Lake) -> None:
    steps = [Step(None, 3), Step(3, 7), Step(7, 9)]
    for step in steps:
        lake.append(
            "candles", candle_rows([candle(step.reached)]), {"sink/x/0": step}, {"sink/x/0": b"at %d" % step.reached}
        )
        assert lake.state("candles", "sink/x/0", step.reached) == b"at %d" % step.reached
    assert lake.state("candles", "sink/x/0", 7) == b"at 7"  # for who read the progress just before
    assert lake.state("candles", "sink/x/0", 3) is None
    assert lake.state("candles", "sink/x/1", 9) is None
    lake.table("candles").vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    assert lake.state("candles", "sink/x/0", 9) == b"at 9"


def test_compaction_changes_no_row_and_keeps_progress(lake: Lake) -> None:
    for number in range(5):
        lake.append("candles", candle_rows([candle(number)]), {"sink": Step(number - 1 if number else None, number)})
    before = lake.read("candles")
    assert compact(lake, "candles")["files_removed"] == 5
    assert lake.read("candles").equals(before)
    assert lake.progress("candles", "sink") == 4


def test_a_commit_counts_though_old_states_cannot_be_deleted(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.append("candles", candle_rows([candle()]), {"sink/x/0": Step(None, 3)}, {"sink/x/0": b"3"})

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("the store is away")

    monkeypatch.setattr(stored_states, "FileSelector", refuse)
    lake.append("candles", candle_rows([candle(1)]), {"sink/x/0": Step(3, 7)}, {"sink/x/0": b"7"})
    assert (lake.progress("candles", "sink/x/0"), lake.state("candles", "sink/x/0", 7)) == (7, b"7")


@pytest.mark.parametrize("symbol", ["BTCUSDT", "BTCUSDT_240628", "币安人生USDT", "A B%C/D"])
def test_compacted_files_say_the_same_bounds_for_any_symbol(lake: Lake, symbol: str) -> None:
    for number in range(4):
        lake.append("candles", candle_rows([candle(3 * number, symbol), candle(3 * number + 1, symbol)]))
    before, extent = lake.read("candles"), lake.extent("candles")
    compact(lake, "candles")
    assert (lake.read("candles", [symbol]).equals(before), lake.extent("candles")) == (True, extent)
    start = utc(T0) + timedelta(minutes=45)
    assert lake.read("candles", [symbol], start, start + timedelta(minutes=10)).num_rows == 2
    assert DeltaTable(f"{lake.url}/candles").to_pyarrow_table().num_rows == 8


def test_two_compactions_at_once_multiply_no_row(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        lake.append("candles", candle_rows([candle(number), candle(number, "ETHUSDT")]))
    before, done = lake.read("candles"), []
    real, begun = compaction._commit, []

    def overtaken(table: DeltaTable, *args: Any) -> None:
        if not begun:
            begun.append(True)
            done.append(compact(lake, "candles"))
            lake.append("candles", candle_rows([candle(7, "XRPUSDT")]))
        real(table, *args)

    monkeypatch.setattr(compaction, "_commit", overtaken)
    late = compact(lake, "candles")
    assert (done[0]["files_removed"], late["files_removed"]) == (12, 0)
    assert lake.read("candles", ["BTCUSDT", "ETHUSDT"]).equals(before)
    assert lake.read("candles").num_rows == 13


def test_a_compaction_that_would_lose_a_row_changes_nothing(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        lake.append("candles", candle_rows([candle(number)]))
    read = compaction.pq.ParquetFile.read
    monkeypatch.setattr(compaction.pq.ParquetFile, "read", lambda file: read(file).slice(0, 0))
    with pytest.raises(Broken, match="0 rows read where the log says 3; nothing was changed"):
        compact(lake, "candles")
    assert lake.read("candles").num_rows == 3


def test_the_extent_of_a_table_is_known_without_reading_it(lake: Lake) -> None:
    assert lake.extent("candles") == {}
    lake.append("candles", candle_rows([candle(0), candle(2), candle(1, "ETHUSDT")]))
    lake.append("candles", candle_rows([candle(1), candle(1, revision=1)]))
    assert lake.extent("candles") == {
        "BTCUSDT": (3, utc(T0) + timedelta(minutes=10)),
        "ETHUSDT": (1, utc(T0) + timedelta(minutes=5)),
    }


def test_a_candle_that_was_only_written_as_a_correction_counts_once(lake: Lake) -> None:
    lake.append("candles", candle_rows([candle(0), candle(0, revision=1), candle(0, revision=1000), candle(3)]))
    lake.append("candles", candle_rows([candle(1, revision=1000), candle(0, "ETHUSDT")]))
    assert {symbol: count for symbol, (count, _) in lake.extent("candles").items()} == {"BTCUSDT": 3, "ETHUSDT": 1}


def test_an_older_version_can_still_be_read(lake: Lake) -> None:
    lake.append("candles", candle_rows([candle(0)]))
    version = lake.version("candles")
    lake.append("candles", candle_rows([candle(1)]))
    assert lake.candles(version=version).num_rows == 1


def test_others_read_it_without_code_of_ours(lake: Lake) -> None:
    lake.append("candles", candle_rows([candle()]))
    table = DeltaTable(f"{lake.url}/candles")
    assert table.to_pandas()["close"].tolist() == [Decimal("100.00000000")]
    rows = table.to_pyarrow_dataset()
    found = duckdb.sql("select sum(volume) from rows")
    assert found is not None
    assert found.fetchall() == [(Decimal("0.00000003"),)]
    assert rows.count_rows() == 1


def test_a_store_that_refuses_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("a file where the folder should be")
    with pytest.raises(Unavailable, match="cannot be opened"):
        Lake(str(tmp_path / "lake")).append("candles", candle_rows([candle()]))


def test_an_empty_table_reads_as_no_rows(lake: Lake) -> None:
    assert lake.candles().num_rows == 0
    assert isinstance(lake.candle_frame(), pd.DataFrame)
    assert isinstance(lake.read("scores"), pa.Table)
    assert micros(utc(T0)) == T0


def test_a_snapshot_does_not_see_what_comes_later_and_a_recent_lake_soon_does(lake: Lake) -> None:
    lake.append("candles", candle_rows([candle()]))
    clock = [0.0]
    before, recent = snapshot(lake, ["candles"]), RecentLake(lake, ["candles"], lambda: clock[0])
    assert recent.now().read("candles").num_rows == 1
    lake.append("candles", candle_rows([candle(1)]))
    lake.append("scores", SCHEMAS["scores"].empty_table())
    for at, rows in ((0.0, 1), (RECENT, 1), (RECENT + 0.1, 2)):
        clock[0] = at
        assert recent.now().read("candles").num_rows == rows
    assert before.read("candles").num_rows == 1
    assert before.read("candles", version=lake.version("candles")).num_rows == 2
    assert before.read("scores").num_rows == 0


@pytest.mark.parametrize("size", [0, BUFFER - 1, BUFFER, BUFFER + 1, 5_000_000])
def test_a_state_may_be_of_any_size(lake: Lake, size: int) -> None:
    """Thousands of symbols have states of megabytes."""
    state = bytes(n % 251 for n in range(1_000)) * (size // 1_000 + 1)
    lake.append("candles", candle_rows([candle()]), {"sink/x/0": Step(None, 3)}, {"sink/x/0": state[:size]})
    assert lake.state("candles", "sink/x/0", 3) == state[:size]


def test_a_snapshot_that_is_read_often_lists_its_files_once_and_reads_the_same(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["BTCUSDT", "币安人生USDT", *(f"A{n}USDT" for n in range(5))]
    for number in (0, 200, 400):  # of three days
        lake.append("candles", candle_rows([candle(number, name) for name in names]))
    asked = [
        {"symbols": symbols, "start": start, "end": end}
        for symbols in (["BTCUSDT"], ["币安人生USDT", "A1USDT", "A1USDT"], ["NONEUSDT"], [], None)
        for start in (None, utc(T0 + 150 * 5 * MINUTE))
        for end in (None, utc(T0 + 300 * 5 * MINUTE), utc(T0 + 200 * 5 * MINUTE))
    ]
    expected = [lake.read("candles", **query) for query in asked]  # type: ignore[arg-type]
    once = snapshot(lake, ["candles"])
    monkeypatch.setattr(snapshots, "LIST_AFTER", 0)
    listed = []
    whole = DeltaTable.to_pyarrow_dataset
    monkeypatch.setattr(
        DeltaTable, "to_pyarrow_dataset", lambda *each, **named: listed.append(1) or whole(*each, **named)
    )
    assert [once.read("candles", **query) for query in asked] == expected  # type: ignore[arg-type]
    assert len(listed) == 1
    assert sum(rows.num_rows for rows in expected) > 80


def test_who_only_reads_a_lake_makes_nothing_in_it(tmp_path: Path) -> None:
    place = tmp_path / "lake"
    reader = Lake(str(place), may_create=False)
    assert [reader.read(name).num_rows for name in SCHEMAS] == [0] * len(SCHEMAS)
    assert (reader.extent("candles"), reader.metadata("proofs", "x"), reader.version("candles")) == ({}, None, 0)
    assert snapshot(reader, ["candles"]).candles(["BTCUSDT"]).num_rows == 0
    assert not place.exists()
    Lake(str(place)).table("candles")
    assert reader.table("candles").table_uri.rstrip("/").endswith(str(place / "candles"))
