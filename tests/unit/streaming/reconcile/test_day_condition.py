"""Every symbol and day has a row in the lake that says its condition and why; the one made last counts."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from quantstream.core.accounts import newest_of_each
from quantstream.core.time import DAY, MINUTE, utc
from quantstream.lake.schemas import candle_rows
from quantstream.lake.store import Lake
from streaming.reconcile.verify import Exchange, verify
from streaming.sink.daily_accounts import keep_accounts
from tests.unit.streaming.lakes import (
    MIDNIGHT,
    STEP,
    SYMBOL,
    T0,
    FakeRest,
    fill,
    live_candles,
    score_rows,
    trade_rows,
    walk,
)
from tests.unit.streaming.memory_broker import MemoryBroker
from tests.unit.streaming.test_balance import make_sink, put, started

TRADES = walk()
CANDLES = live_candles(TRADES)
END = T0 + 12 * STEP
NOW = END + STEP // 2


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Made by the sink itself, so that accounts are there."""
    broker = MemoryBroker()
    put(broker, *TRADES)
    started(make_sink, broker, str(tmp_path))
    return Lake(str(tmp_path))


def kept(lake: Lake, now: int = NOW, symbols: tuple[str, ...] = (SYMBOL,), start: int | None = None) -> dict[Any, Any]:
    proof = verify(lake, Exchange(FakeRest(CANDLES, now)), symbols, start=start)
    made = keep_accounts(lake, proof.days, now)
    return {(row["symbol"], row["day"].date().isoformat()): (row["condition"], row["why"]) for row in made}


def test_the_day_that_goes_on_is_pending_and_the_one_before_is_whole(lake: Lake) -> None:
    lake.append("candles", candle_rows(CANDLES))
    lake.append("scores", score_rows(CANDLES))
    assert kept(lake) == {
        (SYMBOL, "2024-08-08"): ("whole", ""),
        (SYMBOL, "2024-08-09"): ("pending", "the day is not over"),
    }
    rows = lake.read("accounts").to_pylist()
    assert [(row["candles"], row["equal"], row["sink_read"], row["sink_rows"]) for row in rows] == [
        (3, 3, None, None),
        (9, 9, len(TRADES), len(TRADES)),
    ]


def test_rows_that_the_sink_never_read_are_told(lake: Lake) -> None:
    lake.append("candles", candle_rows(CANDLES))
    lake.append("trades", trade_rows(TRADES[-3:]))
    assert kept(lake)[SYMBOL, "2024-08-09"] == (
        "degraded",
        f"3 rows are there twice; the table holds {len(TRADES) + 3} rows, the sink has stored {len(TRADES)}",
    )


def test_a_symbol_that_stopped_a_day_ago_is_missing_and_one_that_never_came_as_well(lake: Lake) -> None:
    lake.append("candles", candle_rows(CANDLES))
    found = kept(lake, MIDNIGHT + 2 * DAY + 2 * 60 * MINUTE, (SYMBOL, "NEVERUSDT"))
    assert {key: output[0] for key, output in found.items()} == {
        (SYMBOL, "2024-08-08"): "whole",
        (SYMBOL, "2024-08-09"): "degraded",
        (SYMBOL, "2024-08-10"): "missing",
        (SYMBOL, "2024-08-11"): "missing",
        ("NEVERUSDT", "2024-08-08"): "missing",
        ("NEVERUSDT", "2024-08-09"): "missing",
        ("NEVERUSDT", "2024-08-10"): "missing",
        ("NEVERUSDT", "2024-08-11"): "missing",
    }
    assert found[SYMBOL, "2024-08-10"][1] == "none of 288 candles is there"
    assert found[SYMBOL, "2024-08-09"][1] == f"{288 - 9} of 288 candles are missing"


def test_young_candles_are_on_their_way_and_old_ones_are_missed(lake: Lake) -> None:
    lake.append("candles", candle_rows(CANDLES[:-1]))
    assert kept(lake)[SYMBOL, "2024-08-09"] == ("pending", "candles on their way: 1; the day is not over")
    later = kept(lake, NOW + 70 * MINUTE)
    assert later[SYMBOL, "2024-08-09"][1].startswith("3 of 23 candles are missing")


def test_an_older_day_keeps_the_sinks_counts_that_it_had_and_the_last_row_counts(lake: Lake) -> None:
    lake.append("candles", candle_rows(CANDLES))
    for now in (NOW, NOW + DAY):
        kept(lake, now)
    rows = newest_of_each(lake.read("accounts").to_pylist())
    assert [(row["day"], row["sink_stored"], row["made_at"]) for row in rows] == [
        (utc(MIDNIGHT - DAY), None, utc(NOW + DAY)),
        (utc(MIDNIGHT), len(TRADES), utc(NOW + DAY)),
        (utc(MIDNIGHT + DAY), len(TRADES), utc(NOW + DAY)),
    ]
    assert rows[1]["day"] - rows[0]["day"] == timedelta(days=1)


def test_a_lake_of_before_has_conditions_without_accounts(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    fill(lake, TRADES, CANDLES)
    assert kept(lake)[SYMBOL, "2024-08-09"] == ("pending", "the day is not over")
