"""A builder that takes partial sums gives the candles, and comes to the state, of one that takes trade by trade."""

from __future__ import annotations

import random
from itertools import pairwise

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from quantstream.core.candle import Candle
from quantstream.core.candle_builder import CandleBuilder
from quantstream.core.decimals import UNIT
from quantstream.core.partial_sums import Window
from quantstream.core.time import MINUTE, SECOND, window_start
from quantstream.core.trade import Trade
from tests.unit.quantstream.core.test_candle_builder import LATENESS, T0, trade

INTERVALS = ("1m", "5m")
GRID = MINUTE  # no window's edge lies between
Log = list[Trade | int]  # trades, and the times of heartbeats


@st.composite
def uneven_logs(draw: st.DrawFn) -> Log:
    """Runs of trades, with duplicates, gaps, late trades and heartbeats between them."""
    at, number, log = T0 + draw(st.integers(0, 5 * MINUTE)), draw(st.sampled_from([0, 1, 1000])), list[Trade | int]()
    for step in draw(st.lists(st.integers(0, 40 * SECOND) | st.integers(0, 6 * MINUTE), min_size=1, max_size=40)):
        at += step
        log.append(trade(number, at, draw(st.integers(1, 10**4)), draw(st.integers(0, 10**4)), draw(st.booleans())))
        number += 1
    for drawn in draw(st.lists(st.integers(0, len(log) - 1), max_size=6)):
        place = drawn % len(log)
        moved = log[place]
        odd = draw(st.sampled_from(["twice", "late", "gone", "alive"]))
        if odd == "gone" and 0 < place < len(log) - 1:
            del log[place]
        elif odd == "alive" and isinstance(moved, Trade):
            log.insert(place + 1, moved.traded_at + draw(st.integers(-SECOND, 20 * MINUTE)))
        elif odd == "late":
            log.insert(draw(st.integers(place, len(log) - 1)), log.pop(place))
        elif odd == "twice":
            log.insert(draw(st.integers(place, len(log))), moved)
    return log


def one_by_one(builder: CandleBuilder, log: Log) -> list[Candle]:
    return [
        candle for item in log for candle in (builder.add(item) if isinstance(item, Trade) else builder.heartbeat(item))
    ]


def by_sums(builder: CandleBuilder, log: Log) -> list[Candle]:
    """Add what lies within the builder's bounds as sums, as many at once as there are, and all else by itself."""
    candles, place, has_begun = list[Candle](), 0, False
    while place < len(log):
        item = log[place]
        if isinstance(item, int):
            candles += builder.heartbeat(item)
        elif not has_begun and builder.begin(item.first_number, item.traded_at):
            has_begun = True
            continue
        else:
            bounds = builder.bounds()
            if bounds.known_from <= item.id < bounds.next_id:
                builder.state.ids.duplicates += 1
            elif item.id != bounds.next_id or not bounds.due_at or item.traded_at < bounds.from_at:
                candles += builder.add(item)
            elif item.traded_at >= bounds.due_at:
                candles += builder.reach(item.traded_at)
                assert builder.bounds().from_at <= item.traded_at < builder.bounds().due_at
                continue
            else:
                place += taken(builder, log[place:])
                continue
        place += 1
    return candles


def taken(builder: CandleBuilder, log: Log) -> int:
    """Give a builder the sums of the trades that its bounds allow, and return how many they were."""
    bounds, fits = builder.bounds(), list[Trade]()
    for item in log:
        if not isinstance(item, Trade) or item.id != bounds.next_id + len(fits):
            break
        is_open = bounds.from_at <= item.traded_at < bounds.due_at
        if not is_open or (fits and item.traded_at // GRID != fits[0].traded_at // GRID):
            break
        fits.append(item)
    part = Window(window_start(fits[0].traded_at, GRID))
    for item in fits:
        part.add(item)
    latest_at = max(item.traded_at for item in fits)
    builder.add_sums(part, len(fits), fits[-1].id, fits[-1].traded_at, latest_at)
    return len(fits)


@given(uneven_logs(), st.sampled_from([0, LATENESS, 2 * MINUTE]), st.booleans())
@settings(max_examples=150, deadline=None)
def test_sums_give_the_candles_and_the_state_of_trade_by_trade(log: Log, lateness: int, was_alive: bool) -> None:
    plain, summing = (CandleBuilder("BTCUSDT", INTERVALS, lateness) for _ in range(2))
    log = [*([T0 - 1] if was_alive else []), *log, T0 + 400 * MINUTE]
    assert by_sums(summing, log) == one_by_one(plain, log)
    assert msgspec.to_builtins(summing.state) == msgspec.to_builtins(plain.state)
    assert summing.open_candles() == plain.open_candles()


def test_sums_merge_in_any_order_to_those_of_all_their_trades() -> None:
    rng = random.Random(5)
    trades = [
        trade(number, T0 + number, rng.randint(1, 10**4), rng.randint(0, 10**4), rng.random() < 0.5)
        for number in range(40)
    ]
    expected = Window(T0)
    for item in trades:
        expected.add(item)
    for _ in range(20):
        cuts = [0, *sorted(rng.sample(range(1, 40), 5)), 40]
        parts = []
        for begin, end in pairwise(cuts):
            parts.append(Window(T0 + begin))
            for item in rng.sample(trades[begin:end], end - begin):
                parts[-1].add(item)
        rng.shuffle(parts)
        merged = parts[0].copied_to(T0)
        for part in parts[1:]:
            merged.merge(part)
        empty = Window(T0)
        empty.merge(merged)
        assert merged == empty == expected


def test_a_log_begins_with_sums_once_and_not_before_what_is_known() -> None:
    builder = CandleBuilder("BTCUSDT", ("1m",), LATENESS)
    builder.heartbeat(T0 + MINUTE)
    assert not builder.begin(7, T0 + MINUTE - 1), "before the last sign of life"
    assert not builder.begin(0, T0 + MINUTE), "a log from the very first trade on is the builder's own"
    assert builder.begin(7, T0 + MINUTE)
    assert (builder.state.ids.last_id, builder.bounds()) == (6, (7, 7, T0 + MINUTE, T0 + 2 * MINUTE + LATENESS))
    assert not builder.begin(8, T0 + MINUTE)


def test_no_sums_are_taken_before_the_first_trade_nor_while_a_window_is_due() -> None:
    builder = CandleBuilder("BTCUSDT", ("1m",), 0)
    assert builder.bounds().due_at == 0
    builder.heartbeat(T0 - 1)
    builder.add(trade(1, T0))
    assert builder.bounds() == (2, 1, T0, T0 + MINUTE)
    builder.add(trade(3, T0 + MINUTE))  # what is missing may just be out of order: the window waits
    assert builder.bounds().due_at == 0


def test_open_candles_are_those_not_closed_yet_oldest_first_and_incomplete() -> None:
    builder = CandleBuilder("BTCUSDT", ("1m", "5m"), 2 * MINUTE)
    builder.heartbeat(T0 - 1)
    builder.add(trade(1, T0))
    builder.add(trade(2, T0 + 3 * MINUTE, price=7 * UNIT))
    builder.add(trade(4, T0 + 4 * MINUTE))
    found = [
        (candle.interval, (candle.opened_at - T0) // MINUTE, candle.trade_count) for candle in builder.open_candles()
    ]
    assert found == [("1m", 3, 1), ("1m", 4, 1), ("5m", 0, 3)]
    assert {candle.is_complete for candle in builder.open_candles()} == {False}
