"""`quantstream sql`: the same rows as the typed reads, nothing but reading, and a sentence for what is wrong."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from quantstream.core.errors import DataRejected, Misconfigured, QuantStreamError, Unavailable
from quantstream.lake.queries.sql import answer
from quantstream.lake.store import Lake
from tests.unit.quantstream.lake.filled import DAYS, SYMBOLS, day_after, filled


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    filled(tmp_path_factory.mktemp("filled"))
    return Lake(str(tmp_path_factory.getbasetemp() / "filled0"), may_create=False)


def rows(lake: Lake, query: str, as_of: datetime | None = None, **versions: int) -> list[dict[str, object]]:
    with answer(lake, query, versions, as_of) as found:
        return found.read_all().to_pylist()


def test_candles_are_the_newest_revisions_without_days_in_quarantine_as_the_typed_read_has_them(lake: Lake) -> None:
    found = rows(lake, "select * exclude month from candles where interval = '5m' order by symbol, opened_at")
    expected = lake.candles().drop_columns(["month"]).to_pylist()
    assert [dict(sorted(row.items())) for row in found] == [dict(sorted(row.items())) for row in expected]


def test_candles_all_have_every_row_and_trades_are_exact(lake: Lake) -> None:
    stored = lake.read("candles").num_rows
    assert rows(lake, "select count(*) n from candles_all") == [{"n": stored}]
    assert rows(lake, "select sum(price)::text total, count(*) n from Trades") == [
        {"total": f"{DAYS * 10 * 2}.00000120", "n": DAYS * 10}
    ]


def test_tables_are_joined_and_found_out_about(lake: Lake) -> None:
    query = "with c as (from candles) select count(distinct c.symbol) n from c join trades t on t.symbol <= c.symbol"
    assert rows(lake, query) == [{"n": len(SYMBOLS)}]
    assert {"candles", "candles_all", "trades", "quarantine"} <= {str(row["name"]) for row in rows(lake, "show tables")}
    assert "known_at" in {row["column_name"] for row in rows(lake, "describe candles")}
    assert rows(lake, "select 1 one") == [{"one": 1}]


def test_a_time_leaves_out_what_became_known_later_and_a_version_what_was_committed_later(lake: Lake) -> None:
    for days in (1, 4, 9):
        then = day_after(days)
        found = rows(
            lake, "select opened_at, revision from candles where interval = '5m' order by symbol, opened_at", then
        )
        assert found == lake.candles(as_of=then, with_quarantined=True).select(["opened_at", "revision"]).to_pylist()
    assert rows(lake, "select count(*) n from trades", trades=3) == [{"n": 30}]
    with pytest.raises(DataRejected, match="has no version 99"):
        rows(lake, "from trades", trades=99)
    with pytest.raises(Misconfigured, match="trades does not exist"):
        rows(lake, "from trades", day_after(1))


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("selekt 1", r'^Parser Error: syntax error at or near "selekt"$'),
        (
            "select * from nope",
            r"^Catalog Error: Table with name nope does not exist.*there are the tables trades, candles",
        ),
        ("select nope from candles", r'^Binder Error: Referenced column "nope" not found'),
        ("select 'a'::int", r"^Conversion Error: Could not convert string 'a' to INT32$"),
        ("", "one query that reads, please"),
        ("select 1; select 2", "one query that reads, please"),
        ("create table x as from candles", "one query that reads, please"),
        ("insert into candles from candles", "one query that reads, please"),
        ("drop view candles", "one query that reads, please"),
        ("copy candles to '/tmp/x.csv'", "one query that reads, please"),
        ("attach '/tmp/x.db'", "one query that reads, please"),
        ("install httpfs", "one query that reads, please"),
        ("set enable_external_access = true", "one query that reads, please"),
        ("select * from read_csv('/etc/hostname')", "file system operations are disabled"),
        ("select * from '/etc/hostname'", "does not exist"),
    ],
)
def test_what_is_wrong_or_more_than_reading_gets_one_sentence(query: str, said: str, lake: Lake) -> None:
    with pytest.raises(Misconfigured, match=said) as refused:
        rows(lake, query)
    assert "\n" not in str(refused.value)


def test_no_lake_is_said_and_none_is_made(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"there is no lake at .*; start with `quantstream up`"):
        rows(Lake(str(tmp_path / "none"), may_create=False), "from candles")
    assert not (tmp_path / "none").exists()


def test_a_file_that_is_gone_is_said_and_not_left_out(tmp_path: Path) -> None:
    lake = filled(tmp_path)
    next((tmp_path / "candles").rglob("symbol=ETHUSDT/month=2025-12/*.parquet")).unlink()
    with pytest.raises(QuantStreamError) as refused:
        rows(lake, "select sum(volume) from candles")
    assert isinstance(refused.value, Unavailable), refused.value
