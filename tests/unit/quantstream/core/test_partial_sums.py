"""Sums of parts are the sums of the whole, whatever the parts and their order; a log that sums begin is that of its trades."""

from __future__ import annotations

from copy import deepcopy

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from quantstream.core.candle_builder import CandleBuilder
from quantstream.core.partial_sums import Window
from quantstream.core.time import MINUTE, SECOND
from quantstream.core.trade import Trade

T0 = 1_723_161_600 * SECOND


def trade(number: int, price: int, quantity: int, maker: bool, at: int = T0) -> Trade:
    return Trade("BTCUSDT", number, number, number, price, quantity, at, maker)


def summed(trades: list[Trade], opened_at: int = T0) -> Window:
    window = Window(opened_at)
    for each in trades:
        window.add(each)
    return window


@st.composite
def trades_in_parts(draw: st.DrawFn) -> tuple[list[Trade], list[list[Trade]]]:
    drawn = draw(st.lists(st.tuples(st.integers(1, 10**13), st.integers(0, 10**12), st.booleans()), min_size=1))
    trades = [trade(number, *each) for number, each in enumerate(drawn, start=1_000)]
    parts: list[list[Trade]] = [[] for _ in range(4)]
    for each in draw(st.permutations(trades)):
        parts[draw(st.integers(0, 3))].append(each)
    return trades, [part for part in parts if part]


@given(trades_in_parts())
@settings(max_examples=100, deadline=None)
def test_parts_merged_in_any_order_are_the_window_of_all_trades(drawn: tuple[list[Trade], list[list[Trade]]]) -> None:
    trades, parts = drawn
    window = Window(T0)
    for part in parts:
        window.merge(summed(part))
    assert window == summed(trades)


@given(st.integers(1, 10**9), st.integers(0, 9 * MINUTE), st.one_of(st.none(), st.integers(-MINUTE, 9 * MINUTE)))
@settings(max_examples=100, deadline=None)
def test_a_log_that_sums_begin_is_that_of_its_first_trade(number: int, at: int, heard: int | None) -> None:
    builder = CandleBuilder("BTCUSDT", ("1m", "5m"))
    if heard is not None:
        builder.heartbeat(T0 + heard)
    first = trade(number, 7, 5, True, T0 + at)
    alone = deepcopy(builder)
    alone.add(first)
    may_begin = heard is None or heard <= at
    assert builder.begin(number, first.traded_at) == may_begin
    if may_begin:
        builder.add_sums(
            summed([first], first.traded_at // MINUTE * MINUTE), 1, number, first.traded_at, first.traded_at
        )
        assert builder.bounds() == alone.bounds()
        assert msgspec.json.encode(builder.state) == msgspec.json.encode(alone.state)


def test_sums_begin_no_log_that_has_begun_and_none_with_the_id_before_which_there_is_none() -> None:
    builder = CandleBuilder("BTCUSDT")
    assert not builder.begin(0, T0)
    builder.add(trade(0, 7, 5, True))
    assert not builder.begin(1, T0)
