"""Fills by law: never before the order arrives, targets when traded through, stops by a later trade, nothing across a gap."""

from __future__ import annotations

from math import exp

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.backtest.candle_fills import CandleTape, fill_on_candles
from ml.backtest.fills import Exit, Order, Position, Rules, Tape, Unfilled, barriers, fill
from quantstream.core.decimals import UNIT
from quantstream.core.time import HOUR, MINUTE, SECOND

ENDS = HOUR
STEP = 5 * MINUTE
FEW_US = st.integers(0, 3 * HOUR // SECOND).map(lambda s: s * SECOND)


@st.composite
def tapes(draw: st.DrawFn) -> Tape:
    """Trades over two hours at round prices, some at the same time, some with ids missing before them."""
    at = np.sort(np.array(draw(st.lists(st.integers(-600, 7200), min_size=2, max_size=40)), dtype=np.int64)) * SECOND
    prices = draw(st.lists(st.integers(90, 110), min_size=len(at), max_size=len(at)))
    breaks = draw(
        st.lists(st.booleans().map(lambda one: one and draw(st.booleans())), min_size=len(at), max_size=len(at))
    )
    return Tape(at, np.array(prices, dtype=np.int64) * UNIT, np.cumsum(np.array(breaks, dtype=bool)))


@st.composite
def candle_tapes(draw: st.DrawFn) -> CandleTape:
    """Five-minute candles over two hours, some missing, some without trades."""
    places = sorted(draw(st.sets(st.integers(-2, 24), min_size=2)))
    rows = [sorted(draw(st.lists(st.integers(90, 110), min_size=3, max_size=3))) for _ in places]
    low, opened, high = (np.array(column, dtype=np.int64) * UNIT for column in zip(*rows, strict=True))
    traded = np.array(
        draw(st.lists(st.sampled_from([True, True, True, False]), min_size=len(places), max_size=len(places)))
    )
    return CandleTape(np.array(places, dtype=np.int64) * STEP, opened, high, low, traded, STEP)


orders = st.builds(
    Order,
    side=st.sampled_from([1, -1]),
    decided_at=st.integers(0, 3600).map(lambda s: s * SECOND),
    ends_at=st.just(ENDS),
    width=st.floats(0.002, 0.1),
)
rules = st.builds(
    Rules,
    latency=st.integers(0, 900).map(lambda s: s * SECOND),
    stop_latency=st.integers(0, 300).map(lambda s: s * SECOND),
)


@given(orders, tapes(), rules)
def test_a_fill_on_trades_keeps_every_rule(order: Order, tape: Tape, rules: Rules) -> None:
    found = fill(order, tape, rules)
    arrives = order.decided_at + rules.latency
    if not isinstance(found, Position):
        assert found in (Unfilled.LATE, Unfilled.QUIET, Unfilled.NO_PRICES)
        return
    assert arrives <= found.entered_at < ENDS
    assert found.entered_at == tape.at[tape.at >= arrives][0]
    assert found.exited_at >= found.entered_at
    target, stop = barriers(order, found.entry)
    between = tape.price[(tape.at > found.entered_at) & (tape.at < min(found.exited_at, ENDS))] * order.side
    assert (between <= target * order.side).all()  # nothing went through the target before
    if found.reason is Exit.TARGET:
        assert found.exit == target
        assert ((tape.price[tape.at == found.exited_at] * order.side) > target * order.side).any()
        assert (between > stop * order.side).all()
        assert found.exited_at < ENDS
    if found.reason is Exit.TIME:
        assert found.exited_at == tape.at[tape.at >= ENDS][0]
        assert (between > stop * order.side).all()
    if found.reason is Exit.STOP:
        path = (tape.at >= found.entered_at) & (tape.at <= found.exited_at)
        assert ((tape.price[path] * order.side) <= stop * order.side).any()
    first, last = (int(np.searchsorted(tape.at, at)) for at in (arrives, found.exited_at))
    assert first > 0  # a trade before it tells that none is missing
    assert tape.breaks[last] == tape.breaks[first - 1]


@given(orders, candle_tapes(), rules)
def test_a_fill_on_candles_keeps_every_rule(order: Order, tape: CandleTape, rules: Rules) -> None:
    found = fill_on_candles(order, tape, rules)
    arrives = order.decided_at + rules.latency
    if not isinstance(found, Position):
        assert found in (Unfilled.LATE, Unfilled.QUIET, Unfilled.NO_PRICES)
        return
    assert arrives <= found.entered_at < ENDS
    assert found.entered_at in tape.at[tape.has_trades]
    assert found.entry == tape.open[tape.at == found.entered_at][0]
    grid = np.arange(
        -(-arrives // STEP) * STEP, found.exited_at - (STEP if found.reason is Exit.TARGET else 0) + 1, STEP
    )
    assert np.isin(grid, tape.at).all()  # no candle on the way is missing
    target, stop = barriers(order, found.entry)
    best, worst = (tape.high, tape.low) if order.side > 0 else (tape.low, tape.high)
    if found.reason is Exit.TARGET:
        there = tape.at == found.exited_at - STEP
        assert found.exit == target
        assert (best[there] * order.side > target * order.side).all()
        path = (tape.at >= found.entered_at) & (tape.at <= found.exited_at - STEP)
        assert (worst[path] * order.side > stop * order.side).all()
    else:
        assert found.exit == tape.open[tape.at == found.exited_at][0]
        assert found.exited_at in tape.at[tape.has_trades]
    if found.reason is Exit.TIME:
        assert found.exited_at == tape.at[(tape.at >= ENDS) & tape.has_trades][0]


def tape(*trades: tuple[float, float], broken: int | None = None) -> Tape:
    """Return a tape of (second, price), a trade of before first; ids are missing before one of them."""
    rows = [(-5.0, 100.0), *trades]
    breaks = np.cumsum([i - 1 == broken for i in range(len(rows))])
    at, price = (np.array([row[i] for row in rows]) for i in (0, 1))
    return Tape((at * SECOND).astype(np.int64), (price * UNIT).astype(np.int64), breaks)


def order(side: int = 1, width: float = 0.01) -> Order:
    return Order(side, 0, ENDS, width)


def test_an_order_takes_its_latency_and_the_next_trade_fills_it() -> None:
    made = tape((0, 99), (0.5, 98), (1, 100), (2, 103), (4000, 101))
    found = fill(order(), made)
    assert isinstance(found, Position)
    assert (found.entered_at, found.entry) == (SECOND, 100 * UNIT)
    found = fill(order(), made, Rules(latency=0))
    assert isinstance(found, Position)
    assert found.entry == 99 * UNIT


def test_a_target_that_is_only_touched_is_not_filled_and_one_that_is_traded_through_is_at_its_price() -> None:
    at = round(100 * UNIT * exp(0.01))
    times, prices = np.array([0, SECOND, 2 * SECOND, ENDS]), np.array([100 * UNIT, 100 * UNIT, at, 100 * UNIT])
    made = Tape(times, prices, np.zeros(4, dtype=np.intp))
    found = fill(order(), made)
    assert isinstance(found, Position)
    assert (found.reason, found.exit) == (Exit.TIME, 100 * UNIT)
    through = Tape(made.at, made.price + np.array([0, 0, 1, 0]), made.breaks)
    found = fill(order(), through)
    assert isinstance(found, Position)
    assert (found.reason, found.exit, found.exited_at) == (Exit.TARGET, at, 2 * SECOND)


@pytest.mark.parametrize(("side", "worse"), [(1, 98.0), (-1, 102.0)])
def test_a_stop_is_filled_by_the_trade_after_the_one_that_touched_it(side: int, worse: float) -> None:
    slipped = 100 + 2 * (worse - 100)
    made = tape((1, 100), (10, worse), (10, slipped), (15, 100), (4000, 100))
    found = fill(order(side), made)
    assert isinstance(found, Position)
    assert (found.reason, found.exit) == (Exit.STOP, slipped * UNIT)
    later = fill(order(side), made, Rules(stop_latency=SECOND))
    assert isinstance(later, Position)
    assert (later.reason, later.exit, later.exited_at) == (Exit.STOP, 100 * UNIT, 15 * SECOND)


def test_nothing_is_filled_across_trades_that_are_missing() -> None:
    rows = ((1, 100), (10, 100.1), (4000, 100))
    assert isinstance(fill(order(), tape(*rows)), Position)
    for broken in range(3):
        assert fill(order(), tape(*rows, broken=broken)) is Unfilled.NO_PRICES
    assert (
        fill(order(), Tape(*(one[1:] for one in (tape(*rows).at, tape(*rows).price, tape(*rows).breaks))))
        is Unfilled.NO_PRICES
    )


def test_a_market_that_trades_nothing_within_the_hour_is_quiet_and_a_late_score_is_late() -> None:
    assert fill(order(), tape((4000, 100))) is Unfilled.QUIET
    assert fill(Order(1, ENDS - SECOND, ENDS, 0.01), tape((4000, 100))) is Unfilled.LATE
    assert fill(order(), tape()) is Unfilled.NO_PRICES


def candles(*rows: tuple[int, float, float, float], traded: bool = True) -> CandleTape:
    """Return candles of (place, open, high, low)."""
    at = np.array([row[0] for row in rows], dtype=np.int64) * STEP
    opened, high, low = ((np.array([row[i] for row in rows]) * UNIT).astype(np.int64) for i in (1, 2, 3))
    return CandleTape(at, opened, high, low, np.full(len(rows), traded), STEP)


def test_of_a_candle_that_reaches_both_barriers_the_stop_counts() -> None:
    rest = [(place, 100.0, 100.2, 99.9) for place in range(3, 13)]
    made = candles((0, 100, 100, 100), (1, 100, 103, 97), (2, 99.5, 100, 99), *rest)
    found = fill_on_candles(order(), made)
    assert isinstance(found, Position)
    assert (found.reason, found.exit, found.entered_at) == (Exit.STOP, 99.5 * UNIT, STEP)


def test_a_candle_without_trades_has_no_open_to_enter_at() -> None:
    made = candles(*((place, 100.0 + place, 120, 99.99) for place in range(13)))
    quiet = CandleTape(made.at, made.open, made.high, made.low, np.arange(13) != 1, STEP)
    found = fill_on_candles(order(width=0.5), quiet)
    assert isinstance(found, Position)
    assert (found.entered_at, found.entry) == (2 * STEP, 102 * UNIT)
    assert (found.reason, found.exit) == (Exit.TIME, 112 * UNIT)
