"""The synthetic market: the same for the same seed, exact, and alive."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from quantstream.core.time import DAY, HOUR, MINUTE, SECOND
from streaming.exchange.market.market_klines import klines, windows_between
from streaming.exchange.market.price_path import Regime
from streaming.exchange.market.protocol import aggregates_from, latest_trades, trades_between, trades_from
from streaming.exchange.market.synthetic import MarketSeed, SyntheticMarket

STARTS_AT = 1_763_800_123 * SECOND
COLUMNS = ("ids", "at", "price", "quantity", "buyer_is_maker", "aggregate_starts", "aggregate_ids")


def small(**changes: Any) -> SyntheticMarket:
    return SyntheticMarket(
        MarketSeed(**{"seed": 7, "starts_at": STARTS_AT, "history_days": 2, **changes}), ["BTCUSDT", "XRPUSDT"]
    )


def test_equal_seeds_give_equal_markets_in_whatever_order_they_are_asked() -> None:
    one, other = small(), small()
    times = [STARTS_AT, STARTS_AT - 2 * DAY, STARTS_AT + DAY, STARTS_AT - DAY]
    tapes = {at: one.tape_at("XRPUSDT", at) for at in times}
    for at in sorted(times):
        for column in COLUMNS:
            assert np.array_equal(getattr(tapes[at], column), getattr(other.tape_at("XRPUSDT", at), column))


def test_another_seed_gives_another_market() -> None:
    assert not np.array_equal(
        small().tape_at("BTCUSDT", STARTS_AT).price[:50], small(seed=8).tape_at("BTCUSDT", STARTS_AT).price[:50]
    )


def test_a_symbol_does_not_depend_on_which_others_are_listed() -> None:
    alone = SyntheticMarket(MarketSeed(7, STARTS_AT, 2), ["XRPUSDT"])
    assert np.array_equal(alone.tape_at("XRPUSDT", STARTS_AT).price, small().tape_at("XRPUSDT", STARTS_AT).price)


def test_a_planted_change_of_regime_makes_moves_larger_from_its_moment_on_and_nothing_else_before() -> None:
    as_it_is, changed = small(), small(regime=Regime(STARTS_AT + 6 * HOUR, 4.0))
    moves = []
    for market in (as_it_is, changed):
        before = market.tape_at("BTCUSDT", STARTS_AT - DAY)
        windows = windows_between("5m", STARTS_AT + 7 * HOUR, STARTS_AT + 19 * HOUR, 1000)
        closes = np.array([kline.close for kline in klines(market, "BTCUSDT", "5m", windows, STARTS_AT + DAY)])
        moves.append((before.price, np.std(np.diff(np.log(closes)))))
    assert np.array_equal(moves[0][0], moves[1][0])
    assert 3 < moves[1][1] / moves[0][1] < 5


@pytest.mark.parametrize("trades_per_second", [1.5, 300.0, 2_000.0])
def test_ids_run_on_without_gaps_and_times_never_fall(trades_per_second: float) -> None:
    market = small(trades_per_second=trades_per_second)
    expected, aggregate, before = 1, 1, 0
    for tape, start, stop in trades_between(market, "BTCUSDT", market.begins_at, STARTS_AT + 3 * MINUTE):
        assert (start, tape.ids[0]) == (0, expected)
        assert np.all(np.diff(tape.ids) == 1)
        assert np.array_equal(tape.aggregate_ids, aggregate + np.arange(len(tape.aggregate_ids)))
        assert tape.at[0] >= before
        assert np.all(np.diff(tape.at) >= 0)
        assert tape.opened_at <= tape.at[0] <= tape.at[-1] < tape.closed_at
        expected, aggregate, before = tape.ids[-1] + 1, tape.aggregate_ids[-1] + 1, tape.at[-1]
        assert stop <= len(tape)


def test_the_present_is_as_dense_as_asked_and_history_is_not() -> None:
    market = small(trades_per_second=1_000.0)
    history = sum(
        stop - start
        for _, start, stop in trades_between(market, "BTCUSDT", STARTS_AT - 6 * 60 * MINUTE, STARTS_AT - MINUTE)
    )
    present = sum(stop - start for _, start, stop in trades_between(market, "BTCUSDT", STARTS_AT, STARTS_AT + MINUTE))
    assert history < 4 * 6 * 3600
    assert present > 300 * 60


def test_an_aggregate_is_one_order_of_one_price_time_and_side() -> None:
    tape = small().tape_at("BTCUSDT", STARTS_AT)
    for column in (tape.price, tape.at, tape.buyer_is_maker):
        assert np.array_equal(
            column, column[tape.aggregate_starts].repeat(np.diff(tape.aggregate_starts, append=len(tape)))
        )
    assert int(tape.aggregate_quantities.sum()) == int(tape.quantity.sum())


def test_prices_and_quantities_keep_to_the_listed_steps() -> None:
    market = small()
    for symbol, listing in market.listings.items():
        tape = market.tape_at(symbol, STARTS_AT)
        assert not np.any(tape.price % listing.tick)
        assert not np.any(tape.quantity % listing.lot)
        assert int(tape.quantity.min()) >= listing.lot


def test_trades_are_found_by_id_wherever_they_are() -> None:
    market = small()
    now = STARTS_AT + 5 * MINUTE
    newest = latest_trades(market, "XRPUSDT", 1, now)[-1]
    last_id = int(newest.tape.ids[newest.stop - 1])
    for trade_id in (1, 2, last_id // 2, last_id - 1, last_id):
        spans = list(trades_from(market, "XRPUSDT", trade_id, 1, now))
        assert [int(span.tape.ids[span.start]) for span in spans] == [trade_id]
    assert list(trades_from(market, "XRPUSDT", last_id + 1, 10, now)) == []


def test_paging_by_aggregate_id_visits_every_trade_once() -> None:
    market = small()
    now, ids, next_id = STARTS_AT, [], 1
    while spans := list(aggregates_from(market, "XRPUSDT", next_id, 700, now)):
        for tape, start, stop in spans:
            lasts = tape.aggregate_last_rows[start:stop]
            for first, last in zip(tape.aggregate_starts[start:stop].tolist(), lasts.tolist(), strict=True):
                ids += tape.ids[first : last + 1].tolist()
            next_id = int(tape.aggregate_ids[stop - 1]) + 1
    newest = latest_trades(market, "XRPUSDT", 1, now)[-1]
    assert ids == list(range(1, int(newest.tape.ids[newest.stop - 1]) + 1))


def test_a_quiet_symbol_has_windows_without_trades() -> None:
    market = small()
    minutes = market.minutes_at("XRPUSDT", STARTS_AT - DAY)
    assert len(np.unique(minutes.opened_at // (5 * MINUTE))) < 288


def test_fat_fingers_stand_out_and_are_rare() -> None:
    market = SyntheticMarket(MarketSeed(7, STARTS_AT, 5), ["BTCUSDT"])
    found = []
    for tape, _, _ in trades_between(market, "BTCUSDT", market.begins_at, STARTS_AT - DAY):
        median = float(np.median(tape.quantity))
        for finger in tape.fat_fingers:
            found.append(finger.kind)
            if finger.kind == "size":
                assert tape.quantity[finger.row] >= 50 * median
            else:
                near = tape.price[max(0, finger.row - 40) : finger.row]
                assert abs(tape.price[finger.row] / np.median(near) - 1) > 0.004
        assert len(tape.fat_fingers) < len(tape) / 1_000
    assert {"price", "size"} == set(found)


def test_volatility_clusters_and_tails_are_fat() -> None:
    market = SyntheticMarket(MarketSeed(7, STARTS_AT, 30), ["SOLUSDT"])
    windows = windows_between("5m", market.begins_at, STARTS_AT, 10_000)
    closes = np.array([kline.close for kline in klines(market, "SOLUSDT", "5m", windows, STARTS_AT)])
    returns = np.diff(np.log(closes))
    size = np.abs(returns)
    assert np.corrcoef(size[:-1], size[1:])[0, 1] > 0.1
    assert abs(np.corrcoef(returns[:-1], returns[1:])[0, 1]) < 0.1
    assert np.mean((returns / returns.std()) ** 4) > 5
