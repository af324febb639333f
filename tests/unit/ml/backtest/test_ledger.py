"""The ledger over a real lake: equal to a plain loop that reads the same tables itself, and honest about what it cannot fill."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from deltalake import DeltaTable, write_deltalake

from ml.backtest.booking import Missed
from ml.backtest.costs import Costs
from ml.backtest.fills import Rules, Unfilled
from ml.backtest.ledger import Asked, Ledger, ledger_of
from ml.backtest.ledger_report import fields, lines, summary_rows, table_of
from ml.data import labels
from quantstream.core.decimals import UNIT
from quantstream.core.errors import Misconfigured
from quantstream.core.time import HOUR, MINUTE, SECOND, utc
from quantstream.features import STEP_US
from quantstream.lake.quarantine import HELD, Change, note
from quantstream.lake.schemas import PARTITIONS, SHADOW_SCORES
from quantstream.lake.store import Lake
from streaming.recordings.readers import read_trades
from tests.unit.ml import markets
from tests.unit.ml.backtest import acted
from tests.unit.ml.monitoring.watched import write_scores

COUNT = 60  # candles that were scored
MARKET = acted.market()
OTHER = acted.market("ETHUSDT", seed=5)
CENT = Decimal("0.01")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(str(tmp_path_factory.mktemp("acted")))
    for made in (MARKET, OTHER):
        acted.fill(lake, made, acted.alternating(COUNT))
    return lake


def by_hand(
    lake: Lake, latency_s: float, fee_bp: Decimal, slip_bp: Decimal, stop_s: float = 0, shift: int = 0
) -> list[dict[str, Any]]:
    """A plain back-test: pandas reads the tables, one loop walks the trades, floats and decimals count the money.

    With `shift` each trade has the price of so many trades later.
    """
    candles, scores, trades = (DeltaTable(f"{lake.url}/{name}").to_pandas() for name in ("candles", "scores", "trades"))
    found = []
    for symbol in sorted(scores["symbol"].unique()):
        own = candles[candles["symbol"] == symbol].sort_values("opened_at")
        returns = own["close"].astype(float).map(math.log).diff()
        deviation = ((returns**2).rolling(288).mean() ** 0.5).set_axis(own["opened_at"])
        tape = trades[trades["symbol"] == symbol].sort_values("id")
        prices, at = tape["price"].shift(-shift).ffill().tolist(), tape["traded_at"].tolist()
        for row in scores[scores["symbol"] == symbol].sort_values("opened_at").to_dict("records"):
            if row["action"] == "Hold":
                continue
            one = walked(row, at, prices, max(deviation[row["opened_at"]] * math.sqrt(12), 0.002), (latency_s, stop_s))
            if one is not None:
                found.append({**one, **earned(one, row["action"], fee_bp, slip_bp), "symbol": symbol})
    return found


def walked(
    row: dict[str, Any], at: list[Any], prices: list[Decimal], width: float, seconds: tuple[float, float]
) -> dict[str, Any] | None:
    """Follow the trades from the order to the exit."""
    ends, arrives = row["opened_at"] + timedelta(minutes=65), row["scored_at"] + timedelta(seconds=seconds[0])
    up, first = row["action"] == "Buy", bisect_left(at, arrives)
    if first == len(at):
        return None
    one = {"entry": prices[first], "entered": at[first]}
    high, low = (Decimal(f"{float(prices[first]) * math.exp(sign * width):.8f}") for sign in (1, -1))
    touched = None
    for when, price in zip(at[first + 1 :], prices[first + 1 :], strict=True):
        if touched is not None:
            if when >= touched + timedelta(seconds=seconds[1]):
                return {**one, "exit": price, "exited": when, "reason": "stop"}
            continue
        if when >= ends:
            return {**one, "exit": price, "exited": when, "reason": "time"}
        if (price > high) if up else (price < low):
            return {**one, "exit": high if up else low, "exited": when, "reason": "target"}
        if (price <= low) if up else (price >= high):
            touched = when
    return None


def earned(one: dict[str, Any], action: str, fee_bp: Decimal, slip_bp: Decimal) -> dict[str, Decimal]:
    """The money of a trade of 1,000 at its entry."""
    quantity = Decimal(1000) / one["entry"]
    gross = quantity * (one["exit"] - one["entry"]) * (1 if action == "Buy" else -1)
    both = quantity * (one["exit"] + one["entry"])
    fees, slippage = both * fee_bp / 10_000, both * slip_bp / 10_000
    return {"gross": gross, "fees": fees, "slippage": slippage, "net": gross - fees - slippage}


def ours(found: Ledger) -> list[dict[str, Any]]:
    return [row for row in table_of(found).to_pylist() if row["entered_at"] is not None]


def same_to_the_cent(found: Ledger, expected: list[dict[str, Any]]) -> bool:
    rows = ours(found)
    pairs = list(zip(rows, expected, strict=False))
    return len(rows) == len(expected) and all(
        (row["symbol"], row["entered_at"], row["exited_at"], row["exit_reason"])
        == (each["symbol"], each["entered"], each["exited"], each["reason"])
        and abs(row["entry_price"] - each["entry"]) < Decimal("1e-6")
        and abs(row["exit_price"] - each["exit"]) < Decimal("1e-6")
        and all(
            round(row[name], 2) == round(each[name], 2) or abs(row[name] - each[name]) < CENT / 1000
            for name in ("gross", "fees", "slippage", "net")
        )
        for row, each in pairs
    )


@pytest.mark.parametrize(
    ("rules", "costs"),
    [
        (Rules(), Costs()),
        (Rules(latency=0), Costs(Fraction(2))),
        (Rules(latency=5 * MINUTE), Costs(Fraction(4), Fraction(3), Fraction(1, 2))),
        (Rules(latency=20 * SECOND, stop_latency=45 * SECOND), Costs(Fraction(15, 2))),
    ],
)
def test_the_ledger_is_a_plain_loop_s_back_test_to_the_cent(lake: Lake, rules: Rules, costs: Costs) -> None:
    fee, slip = (Decimal(float(rate)) for rate in (costs.fee_bp, costs.spread_bp / 2 + costs.slippage_bp))
    expected = by_hand(lake, rules.latency / SECOND, fee, slip, rules.stop_latency / SECOND)
    found = ledger_of(lake, Asked(rules=rules, costs=costs))
    assert same_to_the_cent(found, expected)
    assert len(expected) == len(found.trades) >= 2 * 2 * (COUNT - 12) // 3
    assert {one["reason"] for one in expected} == {"target", "stop", "time"}
    assert sum(abs(row["net"]) for row in ours(found)) > 10
    assert found.prices == Counter(trades=len(found.trades))


@pytest.mark.data
def test_on_real_trades_of_a_quiet_symbol_it_is_the_plain_loop_s_too(data: Path, tmp_path: Path) -> None:
    """12,477 aggregates of XRPETH in 59 hours: the first day and a half is the barriers' history, the rest is acted on."""
    rows = list(read_trades(data / "trades" / "XRPETH-aggTrades-2019-10-11_13.ccxt.json.gz"))
    at, price = (np.array([getattr(one, name) for one in rows]) for name in ("traded_at", "price"))
    begins = int(at[0]) // STEP_US * STEP_US
    candles = acted.bars_of(at, price, begins).assign(taker_buy_volume=0.0)
    made = acted.Market("XRPETH", at, price, candles, begins)
    lake = Lake(str(tmp_path))
    markets.write_candles(lake, "XRPETH", candles)
    acted.write_trades(lake, made)
    places = range(400, len(candles) - 14)
    actions = acted.alternating(len(places))
    scores = [acted.score("XRPETH", begins + i * STEP_US, one) for i, one in zip(places, actions, strict=True)]
    write_scores(lake, scores)
    found = ledger_of(lake, Asked(is_checked=True))
    expected = by_hand(lake, 1, Decimal(10), Decimal(0))
    assert (len(found.trades), found.faults, set(found.prices)) == (len(expected), [], {"trades"})
    assert same_to_the_cent(found, expected)


@pytest.mark.parametrize("shift", [1, -1])
def test_prices_that_are_shifted_by_one_trade_make_the_comparison_red(lake: Lake, shift: int) -> None:
    ten = Decimal(10)
    assert same_to_the_cent(ledger_of(lake, Asked()), by_hand(lake, 1, ten, Decimal(0)))
    assert not same_to_the_cent(ledger_of(lake, Asked()), by_hand(lake, 1, ten, Decimal(0), shift=shift))


def test_every_action_is_a_row_or_named_and_holds_are_counted(lake: Lake) -> None:
    found = ledger_of(lake, Asked(["BTCUSDT"]))
    assert (found.counted.scores, found.counted.holds) == (COUNT, COUNT // 3)
    assert len(found.rows) == COUNT - COUNT // 3 == len(found.trades) + sum(found.missed.values())
    assert set(found.missed) <= {Unfilled.OPEN}
    assert ledger_of(lake, Asked(["BTCUSDT"])).rows == found.rows  # the same again


def test_symbols_and_times_that_are_asked_for_are_the_rows_of_the_whole(lake: Lake) -> None:
    whole = ledger_of(lake, Asked())
    start, end = utc(MARKET.begins + HOUR), utc(MARKET.begins + 3 * HOUR)
    part = ledger_of(lake, Asked(["ETHUSDT"], start, end))
    wanted = [
        row for row in whole.rows if row.decision.symbol == "ETHUSDT" and start <= utc(row.decision.opened_at) < end
    ]
    assert part.rows == wanted
    assert len(wanted) == 16


def test_where_trades_are_missing_candles_fill_and_the_row_says_so(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    acted.fill(lake, MARKET, acted.alternating(COUNT), with_trades=False)
    gap = slice(2400, 2700)
    acted.write_trades(lake, MARKET, gap)
    whole = Lake(str(tmp_path / "whole"))
    acted.fill(whole, MARKET, acted.alternating(COUNT))
    found, complete = (ledger_of(one, Asked(is_checked=True)) for one in (lake, whole))
    assert found.faults == complete.faults == []
    lost = (int(MARKET.at[gap][0]), int(MARKET.at[gap][-1]))
    for row, other in zip(found.trades, complete.trades, strict=True):
        needs = other.decision.decided_at <= lost[1] and other.position.exited_at >= lost[0]
        if row.prices == "trades":
            assert row == other
        else:
            assert needs
            assert row.position.entered_at % STEP_US == 0
            assert row.position.entered_at - row.decision.decided_at >= SECOND
    assert set(found.prices) == {"trades", "5m candles"}
    assert 0 < found.prices["5m candles"] < 30
    assert f"{found.prices['5m candles']:,} filled by 5m candles" in dict(summary_rows(found))["trades"]


def test_finer_candles_come_before_coarser_ones(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    acted.fill(lake, MARKET, acted.alternating(COUNT), with_trades=False)
    assert set(ledger_of(lake, Asked()).prices) == {"5m candles"}
    acted.write_minutes(lake, MARKET)
    found = ledger_of(lake, Asked(is_checked=True))
    assert (set(found.prices), found.faults) == ({"1m candles"}, [])
    for trade in found.trades:
        assert MINUTE > trade.position.entered_at - trade.decision.decided_at - SECOND >= 0


def test_an_action_that_nothing_can_fill_is_named_with_the_reason(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    markets.write_candles(lake, "BTCUSDT", MARKET.candles.iloc[80:])  # of the barriers' day too little, at first
    acted.write_trades(lake, MARKET, slice(3000, 7200))
    first = MARKET.begins
    write_scores(
        lake,
        [
            acted.score("BTCUSDT", first, "Buy"),
            acted.score("BTCUSDT", first + 250 * STEP_US, "Buy", after=2 * HOUR),
            acted.score("BTCUSDT", int(MARKET.at[-1]) // STEP_US * STEP_US - STEP_US, "Sell"),
        ],
    )
    found = ledger_of(lake, Asked())
    assert [row.why for row in found.rows if isinstance(row, Missed)] == [
        *(Unfilled.UNKNOWN_BARRIER, Unfilled.OPEN),
        Unfilled.LATE,
    ]
    told = fields(found)
    assert told["not_filled"] == dict.fromkeys(map(str, (Unfilled.UNKNOWN_BARRIER, Unfilled.OPEN, Unfilled.LATE)), 1)
    assert told["verdict"].startswith("None of 3 actions could be filled")
    assert told["figures"]["net_bp"] is None
    assert [row["exit_reason"] for row in table_of(found).to_pylist()] == [str(row.why) for row in found.rows]  # type: ignore[union-attr]


def test_days_in_quarantine_are_left_out_and_counted(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    acted.fill(lake, MARKET, acted.alternating(COUNT))
    day = utc(MARKET.begins).date()
    hold(lake, "scores", day)
    with pytest.raises(Exception, match="no signal in what was asked for"):
        ledger_of(lake, Asked())
    lake = Lake(str(tmp_path / "trades"))
    acted.fill(lake, MARKET, acted.alternating(COUNT))
    hold(lake, "trades", day)
    assert set(ledger_of(lake, Asked()).prices) == {"5m candles"}
    more = [acted.score("BTCUSDT", MARKET.begins + (i - 288) * STEP_US, "Hold") for i in range(3)]
    write_scores(lake, more)
    hold(lake, "scores", utc(MARKET.begins - 288 * STEP_US).date())
    assert "3 scores of days in quarantine are left out" in fields(ledger_of(lake, Asked()))["notes"]


def hold(lake: Lake, table: str, day: date) -> None:
    note(lake, [Change("BTCUSDT", day, table, "a hole", HELD, "try", datetime(2026, 1, 1, tzinfo=UTC), "gate")])


def test_a_score_made_again_counts_once_and_the_first_one_does(lake: Lake, tmp_path: Path) -> None:
    twice = Lake(str(tmp_path))
    scores = acted.fill(twice, MARKET, acted.alternating(COUNT))
    write_scores(twice, [replace_action(one, "Buy") for one in scores])
    assert ledger_of(twice, Asked()).rows == ledger_of(lake, Asked(["BTCUSDT"])).rows


def replace_action(one: Any, action: str) -> Any:
    import msgspec

    said = msgspec.structs.replace(one.signal, action=action)
    return msgspec.structs.replace(one, scored_at=one.scored_at + SECOND, signal=said)


def test_a_challenger_s_scores_have_a_ledger_of_their_own(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    acted.fill(lake, MARKET, acted.alternating(COUNT))
    own = [acted.score("BTCUSDT", MARKET.begins + i * STEP_US, "Sell", version="7") for i in range(20)]
    write_scores(lake, own, SHADOW_SCORES)
    assert {row.decision.version for row in ledger_of(lake, Asked()).rows} == {"1"}
    found = ledger_of(lake, Asked(version="7"))
    assert {(row.decision.version, row.decision.role, row.decision.side) for row in found.rows} == {
        ("7", "challenger", -1)
    }
    assert (len(found.rows), found.counted.scores, found.counted.silent) == (20, 20, 0)
    assert list(fields(found)["versions"]) == ["7 (challenger)"]


def test_by_probability_the_threshold_follows_the_costs(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    acted.fill(lake, MARKET, ["Hold"] * 40)
    lean = [(0.2 + 0.004 * i, 0.4 - 0.004 * i) for i in range(40)]  # from −0.2 to +0.11
    lake = Lake(str(tmp_path / "leaning"))
    acted.fill(lake, MARKET, [])
    write_scores(
        lake,
        [acted.score("BTCUSDT", MARKET.begins + i * STEP_US, "Hold", probabilities=one) for i, one in enumerate(lean)],
    )
    assert ledger_of(lake, Asked()).rows == []
    close = MARKET.candles["close"].map(math.log).diff()
    width = (
        ((close**2).rolling(288).mean() ** 0.5 * math.sqrt(12)).clip(lower=labels.MIN_BARRIER).to_numpy()[acted.QUIET :]
    )
    for bp in (Fraction(0), Fraction(2), Fraction(4), Fraction(10)):
        found = ledger_of(lake, Asked(costs=Costs(bp), by_probability=True))
        moves = {i: width[i] * (buy - sell) for i, (buy, sell) in enumerate(lean)}
        wanted = {i: 1 if move > 0 else -1 for i, move in moves.items() if abs(move) > 2 * float(bp) / 10_000}
        got = {(row.decision.opened_at - MARKET.begins) // STEP_US: row.decision.side for row in found.rows}
        assert got == wanted
    assert ledger_of(lake, Asked(costs=Costs(Fraction(0)), by_probability=True)).rows


def test_by_probability_what_a_score_expects_counts_where_it_says_so(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    acted.fill(lake, MARKET, [])
    moves = [0.0009, -0.0009, 0.0003, None]
    write_scores(
        lake,
        [acted.score("BTCUSDT", MARKET.begins + i * STEP_US, "Hold", expected=one) for i, one in enumerate(moves)],
    )
    found = ledger_of(lake, Asked(costs=Costs(Fraction(4)), by_probability=True))
    assert [row.decision.side for row in found.rows] == [1, -1]


def test_a_market_whose_clock_runs_ahead_of_ours_is_told_of(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    acted.fill(lake, MARKET, [])
    write_scores(lake, [acted.score("BTCUSDT", MARKET.begins + i * STEP_US, "Buy", after=-HOUR) for i in range(5)])
    found = ledger_of(lake, Asked())
    assert found.counted.early == len(found.trades) == 5
    assert any("5 scores were made before their candle closed" in line for line in lines(found))
    for trade in found.trades:
        assert trade.position.entered_at >= trade.decision.opened_at + STEP_US + SECOND


def test_a_recording_scored_long_after_is_taken_as_known_at_the_close_if_one_says_so(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    acted.fill(lake, MARKET, [])
    write_scores(
        lake, [acted.score("BTCUSDT", MARKET.begins + i * STEP_US, "Buy", after=900 * 24 * HOUR) for i in range(5)]
    )
    asked = Asked()
    late = ledger_of(lake, asked)
    assert late.missed == Counter({str(Unfilled.LATE): 5})
    assert any("--clock candle takes them as known" in line for line in lines(late))
    found = ledger_of(lake, replace(asked, clock="candle"))
    assert len(found.trades) == 5
    assert "after its candle's close" in "".join(lines(found))


def test_a_score_without_a_signal_is_counted(tmp_path: Path) -> None:
    import msgspec

    lake = Lake(str(tmp_path))
    acted.fill(lake, MARKET, acted.alternating(5))
    silent = msgspec.structs.replace(acted.score("BTCUSDT", MARKET.begins + 5 * STEP_US, "Buy"), signal=None, models={})
    write_scores(lake, [silent])
    assert (ledger_of(lake, Asked()).counted.silent, ledger_of(lake, Asked()).counted.scores) == (1, 5)


def test_the_account_in_words_says_rules_costs_and_what_cannot_be_told_of_few(lake: Lake) -> None:
    said = "\n".join(lines(ledger_of(lake, Asked(notional=250 * UNIT))))
    assert "costs: 10 bp a side (fee 10, half the spread 0, slippage 0)" in said
    assert "entered at the first trade 1 s after the score or later" in said
    assert "every action is a trade of 250.00 of its own" in said
    assert "Too few to tell an edge from chance" in said
    assert "by symbol:" in said


def test_a_hundred_days_of_holds_say_that_nothing_was_earned(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    acted.fill(lake, MARKET, ["Hold"] * 30)
    found = ledger_of(lake, Asked())
    assert (
        fields(found)["verdict"]
        == "Nothing was acted on: all 30 scores say Hold, so nothing was earned and nothing paid"
    )
    assert len(summary_rows(found)) == 3
    assert isinstance(pd.DataFrame(table_of(found).to_pandas()), pd.DataFrame)


def test_symbols_of_several_currencies_are_not_added_up_without_a_word(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    for name, seed in (("BTCUSDT", 1), ("ETHBTC", 2)):
        acted.fill(lake, acted.market(name, hours=2, seed=seed), ["Buy"] * 6)
    assert not any("quote currencies" in one for one in fields(ledger_of(lake, Asked(["BTCUSDT"])))["notes"])
    assert any("quote currencies may differ" in one for one in fields(ledger_of(lake, Asked()))["notes"])


def test_a_lake_of_an_older_version_is_to_be_migrated_first(tmp_path: Path) -> None:
    made, old = Lake(str(tmp_path / "made")), Lake(str(tmp_path / "old"))
    acted.fill(made, MARKET, acted.alternating(3))
    rows = made.read("scores")
    write_deltalake(f"{old.url}/scores", rows.drop_columns(["month"]), partition_by=PARTITIONS)
    with pytest.raises(Misconfigured, match="run `quantstream lake migrate`"):
        ledger_of(Lake(old.url, may_create=False), Asked())
