"""Late trades and gap fills over several intervals: what they change is told, the account counts each, windows stay few."""

from __future__ import annotations

import pytest

from quantstream.core.accounts import Account
from quantstream.core.candle import Candle
from quantstream.core.candle_builder import MAX_TOUCHED_WINDOWS, RETAINED_WINDOWS, CandleBuilder
from quantstream.core.decimals import UNIT
from quantstream.core.time import MINUTE, SECOND
from quantstream.core.trade import Trade

T0 = 1_723_161_600 * SECOND  # on a boundary of 15m


def trade(number: int, at: int) -> Trade:
    return Trade("BTCUSDT", number, number, number, 100 * UNIT, UNIT, at, False)


def builder_of(*intervals: str) -> CandleBuilder:
    """Return a builder whose feed was alive before the first trade."""
    builder = CandleBuilder("BTCUSDT", intervals, 0)
    builder.heartbeat(T0 - 1)
    return builder


def told(candles: list[Candle]) -> list[tuple[str, int, int, bool]]:
    return [(c.interval, (c.opened_at - T0) // MINUTE, c.revision, c.is_complete) for c in candles]


def test_a_gap_fill_is_told_at_every_interval_that_it_completes() -> None:
    builder = builder_of("1m", "5m")
    builder.add(trade(1, T0))
    builder.add(trade(3, T0 + 2 * SECOND))
    builder.heartbeat(T0 + 6 * MINUTE)
    assert told(builder.add(trade(2, T0 + SECOND))) == [("1m", 0, 1, True), ("5m", 0, 1, True)]


def test_a_late_trade_without_a_gap_is_told_at_every_interval_that_it_changes() -> None:
    builder = builder_of("1m", "5m")
    builder.add(trade(1, T0 + 4 * MINUTE))
    builder.heartbeat(T0 + 5 * MINUTE)
    assert told(builder.add(trade(2, T0 + 4 * MINUTE + SECOND))) == [("1m", 4, 1, True), ("5m", 0, 1, True)]


def test_a_gap_fill_after_late_trades_takes_none_of_their_revisions_away() -> None:
    builder = builder_of("5m")
    builder.add(trade(1, T0))
    builder.heartbeat(T0 + 20 * MINUTE)
    for number, minute in ((2, 6), (3, 11), (5, 12)):  # into windows that closed flat
        builder.add(trade(number, T0 + minute * MINUTE))
    revised = builder.add(trade(4, T0 + 21 * MINUTE))  # dated into the open window
    assert told(revised) == [("5m", 5, 1, True), ("5m", 10, 1, True), ("5m", 10, 2, True)]


def test_after_a_trade_that_no_window_had_room_for_trades_are_stored_and_counted_as_before() -> None:
    builder = builder_of("5m")
    builder.add(trade(1, T0))
    builder.heartbeat(T0 + 60 * MINUTE)
    for number in (2, 3):
        builder.add(trade(number, T0 + number * SECOND))
    builder.add(trade(4, T0 + 61 * MINUTE))
    assert (builder.state.late_trades, builder.state.lost) == (2, 2)
    assert builder.state.settle() == Account(stored=2, refused=2, passed=2)


def test_a_candle_in_the_making_names_its_symbol() -> None:
    builder = builder_of("5m")
    builder.add(trade(1, T0))
    assert [(c.symbol, c.opened_at, c.is_complete) for c in builder.open_candles()] == [("BTCUSDT", T0, False)]


def test_the_windows_kept_after_they_closed_are_those_that_late_trades_may_still_reach() -> None:
    builder = builder_of("5m")
    builder.add(trade(1, T0))
    builder.heartbeat(T0 + 60 * MINUTE)
    assert sorted(builder.state.windows["5m"]) == [
        T0 + (60 - 5 * back) * MINUTE for back in range(RETAINED_WINDOWS, 0, -1)
    ]


@pytest.mark.parametrize("touched", [MAX_TOUCHED_WINDOWS - 1, MAX_TOUCHED_WINDOWS, MAX_TOUCHED_WINDOWS + 3])
def test_of_the_windows_that_a_gap_touches_the_newest_are_kept(touched: int) -> None:
    builder = builder_of("5m")
    builder.add(trade(1, T0))
    end = T0 + (touched + RETAINED_WINDOWS) * 5 * MINUTE
    builder.add(trade(3, end))
    builder.heartbeat(end + SECOND)
    kept = sorted(at for at in builder.state.windows["5m"] if at < end)
    every = [T0 + number * 5 * MINUTE for number in range(touched + RETAINED_WINDOWS)]
    assert kept == every[-MAX_TOUCHED_WINDOWS - RETAINED_WINDOWS :]
