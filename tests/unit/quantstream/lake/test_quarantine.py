"""The table `quarantine`: partitions that are left out of reads, and every change of that with its reason."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from quantstream.lake.quarantine import HELD, RELEASED, Change, note, quarantine_of
from quantstream.lake.schemas import SCHEMAS
from quantstream.lake.snapshots import snapshot
from quantstream.lake.store import Lake
from quantstream.lake.trades import StoredTrades

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = [date(2026, 1, day) for day in (1, 2, 3)]
NOW = datetime(2026, 2, 1, 12, 5, tzinfo=UTC)


def candle(symbol: str, at: datetime) -> dict[str, Any]:
    """Return a row of the lake's candles."""
    one = Decimal(1)
    exact = ("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")
    return {
        "symbol": symbol,
        "interval": "5m",
        "opened_at": at,
        **dict.fromkeys(exact, one),
        "trade_count": 1,
        "first_trade_id": -1,
        "last_trade_id": -1,
        "is_complete": True,
        "revision": 0,
        "source": "klines",
        "known_at": at,
    }


def lake_of_three_days(folder: Path) -> Lake:
    lake = Lake(str(folder))
    times = [FIRST + timedelta(days=day, minutes=minutes) for day in range(3) for minutes in (0, 1435)]
    lake.append("candles", pa.Table.from_pylist([candle(symbol, at) for symbol in ("AAA", "BBB") for at in times]))
    return lake


def change(day: date, what: str = HELD, symbol: str = "AAA", table: str = "candles", **given: Any) -> Change:
    fields = {"expectation": "expect_x", "reason": "3 rows", "changed_at": NOW, "by": "gate", **given}
    return Change(symbol=symbol, day=day, table=table, change=what, **fields)


def days_of(rows: pa.Table, symbol: str) -> list[date]:
    return [row["opened_at"].date() for row in rows.to_pylist() if row["symbol"] == symbol]


def test_a_held_day_of_one_symbol_is_left_out_and_seen_on_request(tmp_path: Path) -> None:
    lake = lake_of_three_days(tmp_path)
    before = lake.candles()
    note(lake, [change(DAYS[1])])
    assert days_of(lake.candles(), "AAA") == [DAYS[0]] * 2 + [DAYS[2]] * 2
    assert days_of(lake.candles(), "BBB") == days_of(before, "BBB")
    assert lake.candles(with_quarantined=True) == before
    assert len(lake.candle_frame(["AAA"])) == 4
    assert len(lake.candle_frame(["AAA"], with_quarantined=True)) == 6


def test_a_lake_without_the_table_reads_as_before_and_does_not_get_one(tmp_path: Path) -> None:
    lake = lake_of_three_days(tmp_path)
    assert lake.candles().num_rows == 12
    assert not lake.has("quarantine")


def test_a_day_is_let_out_when_every_expectation_has_let_it_out(tmp_path: Path) -> None:
    lake = lake_of_three_days(tmp_path)
    later = NOW + timedelta(hours=1)
    note(lake, [change(DAYS[1]), change(DAYS[1], expectation="expect_y")])
    note(lake, [change(DAYS[1], RELEASED, changed_at=later)])
    assert lake.held("candles") == {("AAA", DAYS[1])}
    note(lake, [change(DAYS[1], RELEASED, expectation="expect_y", changed_at=later)])
    assert lake.held("candles") == frozenset()
    assert lake.candles().num_rows == 12
    assert str(quarantine_of(lake).changes[0]) == (
        "AAA 2026-01-02 candles: held for expect_x, 2026-02-01 12:05 UTC by gate: 3 rows"
    )


def test_what_was_known_then_leaves_out_what_was_held_then(tmp_path: Path) -> None:
    lake = lake_of_three_days(tmp_path)
    note(lake, [change(DAYS[0])])
    note(lake, [change(DAYS[0], RELEASED, changed_at=NOW + timedelta(hours=1))])
    assert lake.candles(["AAA"], as_of=NOW - timedelta(seconds=1)).num_rows == 6
    assert lake.candles(["AAA"], as_of=NOW).num_rows == 4
    assert lake.candles(["AAA"]).num_rows == 6


def test_a_held_day_of_one_table_says_nothing_of_another(tmp_path: Path) -> None:
    lake = lake_of_three_days(tmp_path)
    note(lake, [change(DAYS[0], table="trades")])
    assert lake.candles(["AAA"]).num_rows == 6
    assert lake.held("trades") == {("AAA", DAYS[0])}


def test_a_snapshot_asks_once(tmp_path: Path) -> None:
    lake = lake_of_three_days(tmp_path)
    note(lake, [change(DAYS[0])])
    seen = snapshot(lake, ["candles"])
    assert seen.candles(["AAA"]).num_rows == 4
    note(lake, [change(DAYS[1])])
    assert seen.candles(["AAA"]).num_rows == 4
    assert snapshot(lake, ["candles"]).candles(["AAA"]).num_rows == 2


def test_trades_of_a_held_day_are_not_sampled(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    one = Decimal(1)
    trades = [
        {"symbol": "AAA", "id": i, "first_trade_id": i, "last_trade_id": i, "price": one, "quantity": one}
        | {"traded_at": FIRST + timedelta(days=i), "buyer_is_maker": True, "received_at": FIRST, "origin": "x"}
        for i in range(3)
    ]
    lake.append("trades", pa.Table.from_pylist(trades))
    note(lake, [change(DAYS[1], table="trades")])
    assert [one.id for one in StoredTrades(lake, ["AAA"], DAYS[0], DAYS[2]).sample(9, 1)] == [0, 2]
    everything = StoredTrades(lake, ["AAA"], DAYS[0], DAYS[2], with_quarantined=True)
    assert [one.id for one in everything.sample(9, 1)] == [0, 1, 2]


def test_held_days_of_scores_are_left_out_and_seen_on_request(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    names = [field for field in SCHEMAS["scores"] if field.name != "date"]
    rows = [
        {"symbol": "AAA", "interval": "5m", "opened_at": FIRST + timedelta(days=day), "revision": 0, "known_at": NOW}
        for day in range(3)
    ]
    lake.append("scores", pa.Table.from_pylist(rows, pa.schema(names)))
    note(lake, [change(DAYS[1], table="scores"), change(DAYS[2], table="candles")])
    assert days_of(lake.scores(["AAA"]), "AAA") == [DAYS[0], DAYS[2]]
    assert days_of(lake.scores(with_quarantined=True), "AAA") == DAYS
    assert days_of(lake.scores(start=FIRST + timedelta(days=1)), "AAA") == [DAYS[2]]
    assert days_of(lake.scores(interval="1h"), "AAA") == []
    before = NOW - timedelta(hours=1)
    assert days_of(lake.scores(as_of=before), "AAA") == []
    assert days_of(lake.scores(as_of=NOW + timedelta(hours=1)), "AAA") == [DAYS[0], DAYS[2]]
