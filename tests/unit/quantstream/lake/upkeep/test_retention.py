"""Old trades go once their candles are proved, never before; and whoever counts or compares afterwards is told."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest

from quantstream.core.errors import Fenced, Misconfigured
from quantstream.core.time import DAY, HOUR
from quantstream.lake.schemas import candle_rows
from quantstream.lake.store import Lake, Step
from quantstream.lake.upkeep import retention
from quantstream.lake.upkeep.compaction import Commit, commit_files, compact
from quantstream.lake.upkeep.deleted_trades import DeletedTrades, deleted_trades, rows_ever
from quantstream.lake.upkeep.retention import retain, retained_lines
from quantstream.lake.upkeep.table_status import lake_status, status_lines
from streaming.reconcile.proof_report import Proof, findings
from streaming.reconcile.verify import Exchange, verify
from streaming.sink.daily_accounts import keep_accounts, kept_accounts
from streaming.sink.symbol_state import sink_accounts, stored_rows
from tests.unit.streaming.lakes import MIDNIGHT, SYMBOL, FakeRest, fill, live_candles, trade_rows, walk

PROVED_AT = MIDNIGHT + 8 * HOUR  # the second day is not over then
NOW = MIDNIGHT + 20 * DAY
TRADES = walk()
CANDLES = live_candles(TRADES)
FIRST, SECOND_DAY = date(2024, 8, 8), date(2024, 8, 9)
OF_FIRST = [trade for trade in TRADES if trade.traded_at < MIDNIGHT]


def prove(lake: Lake, at: int = PROVED_AT, start: int | None = None) -> Proof:
    return verify(lake, Exchange(FakeRest(CANDLES, at)), [SYMBOL], start=start)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Two days, of which the first is over and proved."""
    lake = Lake(str(tmp_path / "lake"))
    fill(lake, TRADES, CANDLES)
    keep_accounts(lake, prove(lake).days, PROVED_AT)
    return lake


def test_a_proved_day_is_deleted_whole_and_what_is_not_proved_stays_with_a_sentence(lake: Lake) -> None:
    lake.append(
        "trades", trade_rows(walk(1, range(0), "ETHUSDT")), {"sink/trades/0": Step(None, 7)}, {"sink/trades/0": b"{}"}
    )
    before = lake.read("candles"), lake.read("scores")
    done = retain(lake, 8, NOW)
    assert (done.days, done.rows) == ([(SYMBOL, FIRST)], len(OF_FIRST))
    assert [sentence.split(";")[0] for sentence in done.refused] == [
        "BTCUSDT 2024-08-09: it is degraded (75 of 96 candles are missing): run quantstream verify --symbols BTCUSDT and "
        "look at it, or repair it",
        "ETHUSDT 2024-08-08: its candles were never verified: run quantstream verify --symbols ETHUSDT and look at it, "
        "or repair it",
    ]
    assert lake.read("trades", [SYMBOL])["id"].to_pylist() == [
        trade.id for trade in TRADES if trade.traded_at >= MIDNIGHT
    ]
    assert (lake.read("candles"), lake.read("scores")) == before
    assert (lake.progress("trades", "sink/trades/0"), lake.state("trades", "sink/trades/0", 7)) == (7, b"{}")
    assert retained_lines(done, 8)[0].startswith(f"trades of 1 days deleted, {len(OF_FIRST)} rows")
    again = retain(lake, 8, NOW)
    assert (again.days, again.refused) == ([], done.refused)


def test_a_proof_does_not_call_deleted_days_missing_but_says_that_they_were_deleted(lake: Lake) -> None:
    retain(lake, 8, NOW)
    proof = prove(lake)
    sentence = "BTCUSDT 5m: trades deleted by retention up to 2024-08-08; its candles until then are kept as they were verified"
    assert (proof.exit_code, proof.total("missing"), proof.total("missing_trades"), proof.total("equal")) == (
        0,
        0,
        0,
        9,
    )
    assert (proof.deleted, proof.not_compared) == ([sentence], [])
    assert f"Deleted: {sentence}" in findings(proof)
    assert [day.day for day in proof.days] == [MIDNIGHT]
    asked = prove(lake, start=MIDNIGHT - HOUR)
    assert (asked.exit_code, asked.not_compared, asked.deleted) == (2, [sentence], [])
    keep_accounts(lake, proof.days, PROVED_AT + 1)
    kept = kept_accounts(lake, lake.read("accounts")["day"][0].as_py())
    assert [(row["day"].date(), row["condition"]) for row in kept] == [(FIRST, "whole"), (SECOND_DAY, "degraded")]


def test_the_sinks_account_of_rows_stored_goes_on_over_deleted_days(lake: Lake) -> None:
    before = stored_rows(lake, lake.table("trades"))("sink/trades/0", SYMBOL)
    retain(lake, 8, NOW)
    table = lake.table("trades")
    assert stored_rows(lake, table)("sink/trades/0", SYMBOL) == before == len(TRADES)
    assert sink_accounts(lake)[1] == rows_ever(lake, table) == {SYMBOL: len(TRADES)}
    assert deleted_trades(lake) == {SYMBOL: DeletedTrades(MIDNIGHT, len(OF_FIRST))}


def test_a_trade_that_came_after_the_proof_keeps_its_day(lake: Lake) -> None:
    late = msgspec.structs.replace(OF_FIRST[-1], id=1, first_trade_id=1, last_trade_id=1)
    rows = trade_rows([late])
    received_at = pa.array([PROVED_AT + 1], pa.int64()).cast(rows.schema.field("received_at").type)
    lake.append("trades", rows.set_column(rows.column_names.index("received_at"), "received_at", received_at))
    compact(lake, "trades")
    done = retain(lake, 8, NOW)
    assert done.days == []
    assert "its trades are not those that were verified at 2024-08-09 08:00" in done.refused[0]


def test_a_day_whose_candles_are_not_there_any_more_stays(lake: Lake) -> None:
    broken = msgspec.structs.replace(CANDLES[0], is_complete=False, revision=1, source="klines")
    lake.append("candles", candle_rows([broken]))
    done = retain(lake, 8, NOW)
    assert done.days == []
    assert "of 3 candles that were verified 2 are there and complete" in done.refused[0]


def test_a_trade_that_comes_after_its_day_was_deleted_is_named_and_holds_up_nothing(lake: Lake) -> None:
    retain(lake, 8, NOW)
    lake.append("trades", trade_rows(OF_FIRST[:1]))
    done = retain(lake, 8, NOW)
    assert "BTCUSDT 2024-08-08: 1 trades came after the day had been deleted" in done.refused[0]
    assert "BTCUSDT 2024-08-09" in done.refused[1]


def test_days_that_are_not_old_enough_and_lakes_that_keep_all_lose_nothing(lake: Lake) -> None:
    assert retain(lake, 0, NOW) == retention.Retained()
    assert retain(lake, 20, MIDNIGHT + 19 * DAY) == retention.Retained()
    with pytest.raises(Misconfigured, match="8 days at least or for ever"):
        retain(lake, 3, NOW)
    assert lake.read("trades").num_rows == len(TRADES)


def test_a_deletion_beside_a_compaction_leaves_the_table_to_it(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.append("trades", trade_rows(walk(1, range(0), "ETHUSDT")))
    real = retention._delete

    def overtaken(*arguments: object) -> None:
        commit_files(lake.table("trades"), Commit([], []))
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(retention, "_delete", overtaken)
    with pytest.raises(Fenced, match="another compaction"):
        retain(lake, 8, NOW)
    assert (lake.read("trades", [SYMBOL]).num_rows, deleted_trades(lake)) == (len(TRADES), {})
    monkeypatch.undo()
    assert retain(lake, 8, NOW).rows == len(OF_FIRST)


def test_the_status_says_what_each_table_holds_and_what_was_deleted(lake: Lake) -> None:
    retain(lake, 8, NOW)
    found = {one.table: one for one in lake_status(Lake(lake.url, may_create=False))}
    trades = found["trades"]
    assert set(found) == {"trades", "candles", "scores", "anomalies", "accounts"}
    assert (trades.rows, trades.files, trades.small_files) == (len(TRADES) - len(OF_FIRST), 1, 1)
    assert (trades.oldest, trades.newest, trades.deleted_rows, trades.deleted_until) == (
        *("2024-08-09", "2024-08-09"),
        *(len(OF_FIRST), "2024-08-08"),
    )
    assert (trades.version, trades.since_checkpoint, trades.log_bytes > 0) == (2, 2, True)
    assert status_lines(found.values())[-1] == f"trades: {len(OF_FIRST)} rows deleted by retention, up to 2024-08-08"
