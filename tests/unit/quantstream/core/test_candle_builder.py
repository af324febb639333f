"""Laws of the candle builder: order, batching, duplicates and restarts change nothing."""

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantstream.core.accounts import Account
from quantstream.core.candle import Candle
from quantstream.core.candle_builder import MAX_TOUCHED_WINDOWS, CandleBuilder
from quantstream.core.decimals import UNIT
from quantstream.core.errors import BadRecord
from quantstream.core.partial_sums import SymbolState, Window
from quantstream.core.time import MINUTE, SECOND, interval_length
from quantstream.core.trade import Trade
from quantstream.messages.payloads import decode, encode

T0 = 1_723_161_600 * SECOND  # on a 5m boundary
LATENESS = 2 * SECOND


def trade(number: int, at: int, price: int = 100 * UNIT, quantity: int = UNIT, maker: bool = False) -> Trade:
    return Trade("BTCUSDT", number, number, number, price, quantity, at, maker)


@st.composite
def trade_logs(draw: st.DrawFn) -> list[Trade]:
    steps = draw(st.lists(st.integers(0, 200 * SECOND), min_size=1, max_size=60))
    at, log = T0 + draw(st.integers(0, 5 * MINUTE)), []
    for number, step in enumerate(steps, start=1000):
        at += step
        price = draw(st.integers(1, 10**13))
        log.append(trade(number, at, price, draw(st.integers(0, 10**12)), draw(st.booleans())))
    return log


def run(log: list[Trade], end: int) -> list[Candle]:
    builder = CandleBuilder("BTCUSDT", ("1m", "5m"), LATENESS)
    candles = [candle for item in log for candle in builder.add(item)]
    return candles + builder.heartbeat(end)


def newest(candles: list[Candle]) -> dict[tuple[str, int], Candle]:
    return {(candle.interval, candle.opened_at): candle for candle in candles}


@given(trade_logs(), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_duplicates_and_reordering_within_the_lateness_give_the_same_bytes(
    log: list[Trade], rng: random.Random
) -> None:
    end = log[-1].traded_at + 20 * MINUTE
    shuffled = sorted(log, key=lambda item: item.traded_at + rng.randint(0, LATENESS))
    repeated = [item for item in shuffled for _ in range(rng.randint(1, 3))]
    assert sorted(map(encode, run(repeated, end))) == sorted(map(encode, run(log, end)))


@given(trade_logs(), st.data())
@settings(max_examples=150, deadline=None)
def test_a_builder_restored_at_any_trade_continues_identically(log: list[Trade], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(log)))
    first = CandleBuilder("BTCUSDT", ("1m", "5m"), LATENESS)
    candles = [candle for item in log[:cut] for candle in first.add(item)]
    state = msgspec.json.decode(msgspec.json.encode(first.state), type=SymbolState)
    second = CandleBuilder("BTCUSDT", ("1m", "5m"), LATENESS, state)
    candles += [candle for item in log[cut:] for candle in second.add(item)]
    end = log[-1].traded_at + 20 * MINUTE
    assert candles + second.heartbeat(end) == run(log, end)


PARENTS = (("1m", "5m"), ("5m", "15m"), ("15m", "1h"), ("1m", "1h"))


@given(trade_logs(), st.sampled_from(PARENTS), st.lists(st.integers(0, 59), max_size=5))
@settings(max_examples=150, deadline=None)
def test_short_candles_of_one_pass_add_up_to_its_long_ones(
    log: list[Trade], kinds: tuple[str, str], quiet: list[int]
) -> None:
    builder = CandleBuilder("BTCUSDT", ("1m", "5m", "15m", "1h"), LATENESS)
    candles = builder.heartbeat(T0 - 1) + [candle for item in log for candle in builder.add(item)]
    for minute in sorted(quiet):  # heartbeats may come at any time
        candles += builder.heartbeat(log[-1].traded_at + minute * MINUTE)
    candles += builder.heartbeat(log[-1].traded_at + 125 * MINUTE)
    newest_of = newest(candles)
    short, long = kinds
    parents = [candle for (interval, _), candle in newest_of.items() if interval == long]
    assert parents
    for parent in parents:
        span = interval_length(long)
        parts = [
            newest_of[short, at]
            for at in range(parent.opened_at, parent.opened_at + span, interval_length(short))
            if (short, at) in newest_of  # before the first trade of a log there are no candles
        ]
        assert merged(parts, parent) == parent


def merged(parts: list[Candle], parent: Candle) -> Candle:
    """Add candles up as the exchange's klines of different lengths add up: those without trades only repeat a price."""
    traded = [part for part in parts if part.trade_count] or parts[:1]
    return msgspec.structs.replace(
        parent,
        open=traded[0].open,
        high=max(part.high for part in traded),
        low=min(part.low for part in traded),
        close=traded[-1].close,
        volume=sum(part.volume for part in parts),
        quote_volume=sum(part.quote_volume for part in parts),
        trade_count=sum(part.trade_count for part in parts),
        taker_buy_volume=sum(part.taker_buy_volume for part in parts),
        taker_buy_quote_volume=sum(part.taker_buy_quote_volume for part in parts),
        first_trade_id=traded[0].first_trade_id,
        last_trade_id=traded[-1].last_trade_id,
        is_complete=all(part.is_complete for part in parts),
    )


@given(trade_logs(), st.data())
@settings(max_examples=150, deadline=None)
def test_heartbeats_only_say_when_candles_close_never_what_is_in_them(log: list[Trade], data: st.DataObject) -> None:
    end = log[-1].traded_at + 20 * MINUTE
    alive = data.draw(st.lists(st.integers(0, len(log) - 1), max_size=10))
    builder = CandleBuilder("BTCUSDT", ("1m", "5m"), LATENESS)
    candles: list[Candle] = []
    for index, item in enumerate(log):
        candles += builder.add(item)
        candles += builder.heartbeat(item.traded_at) if index in alive else []
        candles += builder.heartbeat(item.traded_at - SECOND) if index in alive else []  # one that came late
    candles += builder.heartbeat(end)
    assert sorted(map(encode, candles)) == sorted(map(encode, run(log, end)))


@given(trade_logs(), st.data())
@settings(max_examples=150, deadline=None)
def test_a_trade_that_comes_late_revises_its_candles_and_no_other(log: list[Trade], data: st.DataObject) -> None:
    """One trade is held back beyond the lateness: all candles end as if it had come in time, the others never changed."""
    if len(log) < 3:
        return
    held = data.draw(st.integers(1, len(log) - 2))
    end = log[-1].traded_at + 20 * MINUTE
    builder = CandleBuilder("BTCUSDT", ("5m",), LATENESS)
    candles = [candle for index, item in enumerate(log) if index != held for candle in builder.add(item)]
    candles += builder.heartbeat(end)
    revised = builder.add(log[held])
    assert builder.state.late_trades == 0
    assert all(candle.revision == 1 for candle in revised)
    assert all(candle.opened_at + 5 * MINUTE > log[held - 1].traded_at for candle in revised)
    whole = newest([candle for candle in run(log, end) if candle.interval == "5m"])
    found = newest(candles + revised)
    assert {key: msgspec.structs.replace(candle, revision=0) for key, candle in found.items()} == whole


@given(trade_logs(), st.data())
@settings(max_examples=150, deadline=None)
def test_trades_repaired_late_end_in_the_candles_of_a_whole_log(log: list[Trade], data: st.DataObject) -> None:
    lost = data.draw(st.sets(st.integers(1, len(log) - 1), max_size=5)) if len(log) > 1 else set()
    end = log[-1].traded_at + 20 * MINUTE
    kept = [item for index, item in enumerate(log) if index not in lost or index == len(log) - 1]
    builder = CandleBuilder("BTCUSDT", ("5m",), LATENESS)
    candles = [candle for item in kept for candle in builder.add(item)] + builder.heartbeat(end)
    for index in sorted(lost - {len(log) - 1}):
        candles += builder.add(log[index])
    plain = newest([candle for candle in run(log, end) if candle.interval == "5m"])
    found = newest(candles)
    assert builder.state.ids.missing == builder.state.ids.recovered
    for key, candle in plain.items():
        if builder.state.late_trades == 0:
            assert msgspec.structs.replace(found[key], revision=0) == msgspec.structs.replace(candle, revision=0)


def test_a_candle_holds_every_field_exactly() -> None:
    builder = CandleBuilder("BTCUSDT", ("5m",), LATENESS)
    builder.heartbeat(T0 - 1)
    builder.add(trade(10, T0, price=3 * UNIT, quantity=2))
    builder.add(trade(11, T0 + 1, price=5 * UNIT, quantity=7, maker=True))
    builder.add(trade(12, T0 + 2, price=UNIT + 1, quantity=1))
    assert builder.heartbeat(T0 + 5 * MINUTE + LATENESS) == [
        Candle(
            symbol="BTCUSDT",
            interval="5m",
            opened_at=T0,
            open=3 * UNIT,
            high=5 * UNIT,
            low=UNIT + 1,
            close=UNIT + 1,
            volume=10,
            quote_volume=6 * UNIT + 35 * UNIT + UNIT + 1,
            trade_count=3,
            taker_buy_volume=3,
            taker_buy_quote_volume=6 * UNIT + UNIT + 1,
            first_trade_id=10,
            last_trade_id=12,
            is_complete=True,
        )
    ]


def test_a_window_closes_on_the_watermark_not_before() -> None:
    builder = CandleBuilder("BTCUSDT", ("5m",), LATENESS)
    builder.add(trade(1, T0))
    assert builder.heartbeat(T0 + 5 * MINUTE + LATENESS - 1) == []
    assert [c.opened_at for c in builder.heartbeat(T0 + 5 * MINUTE + LATENESS)] == [T0]


def test_a_quiet_symbol_closes_flat_while_the_feed_is_alive() -> None:
    builder = CandleBuilder("BTCUSDT", ("5m",), LATENESS)
    builder.add(trade(1, T0, price=7 * UNIT))
    flat = builder.heartbeat(T0 + 10 * MINUTE + LATENESS)[1]
    assert (flat.open, flat.close, flat.volume, flat.trade_count) == (7 * UNIT, 7 * UNIT, 0, 0)
    assert (flat.first_trade_id, flat.is_complete) == (-1, True)


def test_the_first_window_is_incomplete_unless_the_feed_was_alive_before_it() -> None:
    builder = CandleBuilder("BTCUSDT", ("5m",), LATENESS)
    builder.add(trade(50, T0 + MINUTE))
    assert [c.is_complete for c in builder.heartbeat(T0 + 5 * MINUTE + LATENESS)] == [False]


def test_a_quiet_first_window_is_complete_when_the_feed_was_alive_before_it_and_since() -> None:
    builder = CandleBuilder("BTCUSDT", ("1m", "5m"), LATENESS)
    for second in (-1, 20, 70, 130):  # heartbeats go on while nobody trades
        assert builder.heartbeat(T0 + second * SECOND) == []
    builder.add(trade(50, T0 + 200 * SECOND))
    closed = builder.heartbeat(T0 + 5 * MINUTE + LATENESS)
    assert [(c.interval, c.opened_at, c.is_complete) for c in closed] == [
        ("1m", T0 + 3 * MINUTE, True),
        ("1m", T0 + 4 * MINUTE, True),
        ("5m", T0, True),
    ]


def test_a_window_that_was_open_before_the_feed_was_alive_is_incomplete() -> None:
    builder = CandleBuilder("BTCUSDT", ("5m",), LATENESS)
    builder.heartbeat(T0 + 20 * SECOND)
    builder.heartbeat(T0 + 70 * SECOND)
    builder.add(trade(50, T0 + 200 * SECOND))
    assert [c.is_complete for c in builder.heartbeat(T0 + 5 * MINUTE + LATENESS)] == [False]


def test_a_late_trade_makes_a_revision_not_a_second_candle() -> None:
    builder = CandleBuilder("BTCUSDT", ("5m",), LATENESS)
    builder.heartbeat(T0 - 1)
    builder.add(trade(1, T0))
    builder.add(trade(3, T0 + 6 * MINUTE))
    (first,) = builder.heartbeat(T0 + 7 * MINUTE)
    (second,) = builder.add(trade(2, T0 + MINUTE, price=200 * UNIT))
    assert (first.opened_at, first.revision, first.is_complete) == (T0, 0, False)
    assert (second.opened_at, second.revision, second.is_complete) == (T0, 1, True)
    assert (second.high, second.close, second.trade_count) == (200 * UNIT, 200 * UNIT, 2)


def test_flat_candles_after_a_revised_close_are_revised_too() -> None:
    builder = CandleBuilder("BTCUSDT", ("5m",), LATENESS)
    builder.add(trade(1, T0))
    builder.add(trade(3, T0 + 11 * MINUTE))
    builder.heartbeat(T0 + 12 * MINUTE)
    revised = builder.add(trade(2, T0 + MINUTE, price=9 * UNIT))
    assert [(c.opened_at, c.close, c.revision) for c in revised] == [
        (T0, 9 * UNIT, 1),
        (T0 + 5 * MINUTE, 9 * UNIT, 1),
    ]


def test_a_trade_out_of_order_within_the_lateness_is_waited_for() -> None:
    builder = CandleBuilder("BTCUSDT", ("5m",), LATENESS)
    builder.heartbeat(T0 - 1)
    builder.add(trade(1, T0))
    assert builder.add(trade(3, T0 + 5 * MINUTE + LATENESS)) == []
    (candle,) = builder.add(trade(2, T0 + 5 * MINUTE + LATENESS))
    assert (candle.is_complete, candle.revision, candle.trade_count) == (True, 0, 1)


def test_a_candle_survives_its_own_json() -> None:
    (candle,) = run([trade(1, T0, price=123_456_789_012, quantity=987_654_321)], T0 + 5 * MINUTE + LATENESS)[-1:]
    assert decode(encode(candle), Candle) == candle
    assert b'"open":"1234.56789012"' in encode(candle)
    large = msgspec.structs.replace(candle, quote_volume=10**35 + 1, taker_buy_quote_volume=10**34 + 7)
    assert decode(encode(large), Candle) == large


@pytest.mark.parametrize(
    "change", [{"low": 101 * UNIT}, {"high": 0}, {"taker_buy_volume": 2 * UNIT}, {"opened_at": T0 + 1}]
)
def test_a_wrong_candle_cannot_be_made(change: dict[str, int]) -> None:
    (candle,) = run([trade(1, T0)], T0 + 5 * MINUTE + LATENESS)[-1:]
    with pytest.raises(BadRecord):
        msgspec.structs.replace(candle, **change)


def test_the_state_stays_bounded_through_a_hundred_gaps_and_days_of_silence() -> None:
    builder = CandleBuilder("BTCUSDT", ("5m",), LATENESS)
    for number in range(100):
        builder.add(trade(10 * number + 1, T0 + number * 60 * MINUTE))
    assert len(builder.state.ids.open_gaps) == 64
    assert len(builder.state.windows["5m"]) <= 300
    assert len(msgspec.json.encode(builder.state)) < 40_000


def test_windows_closed_as_flat_are_corrected_when_their_trades_come_after_all() -> None:
    first = Trade("BTCUSDT", 1, 1, 1, 100 * UNIT, UNIT, T0 + SECOND, False)
    late = [
        Trade("BTCUSDT", n, n, n, (100 + n) * UNIT, UNIT, T0 + (5 * n + 1) * MINUTE, n % 2 == 0) for n in range(2, 7)
    ]
    late += [Trade("BTCUSDT", 7, 7, 7, 90 * UNIT, UNIT, T0 + 33 * MINUTE, False)]
    now = Trade("BTCUSDT", 8, 8, 8, 95 * UNIT, UNIT, T0 + 51 * MINUTE, False)
    builder = CandleBuilder("BTCUSDT", ("5m",), 0)
    output = [*builder.heartbeat(T0 - 1), *builder.add(first)]
    for minute in range(1, 51):
        output += builder.heartbeat(T0 + minute * MINUTE)
    assert [(candle.trade_count, candle.is_complete) for candle in output] == [(1, True)] + [(0, True)] * 9
    corrections = [candle for trade in late for candle in builder.add(trade)]
    assert corrections == [], "told once, when all have come"
    corrections = builder.add(now)
    newest = {candle.opened_at: candle for candle in output + corrections}
    right = CandleBuilder("BTCUSDT", ("5m",), 0)
    right.heartbeat(T0 - 1)
    expected = [candle for trade in [first, *late, now] for candle in right.add(trade)]
    plain = {at: msgspec.structs.replace(candle, revision=0) for at, candle in newest.items()}
    assert plain == {candle.opened_at: candle for candle in expected}
    assert {candle.revision for candle in corrections} == {1}
    assert builder.state.late_trades == 0
    assert builder.state.late == {}


def test_a_correction_of_flat_windows_is_told_by_the_next_heartbeat_too() -> None:
    builder = CandleBuilder("BTCUSDT", ("5m",), 0)
    builder.heartbeat(T0 - 1)
    builder.add(Trade("BTCUSDT", 1, 1, 1, 100 * UNIT, UNIT, T0 + SECOND, False))
    builder.heartbeat(T0 + 30 * MINUTE)
    assert builder.add(Trade("BTCUSDT", 2, 2, 2, 200 * UNIT, UNIT, T0 + 7 * MINUTE, False)) == []
    corrected = builder.heartbeat(T0 + 30 * MINUTE + 1)
    assert [(c.opened_at - T0) // MINUTE for c in corrected] == [5, 10, 15, 20, 25]
    assert {(c.close, c.revision, c.is_complete) for c in corrected} == {(200 * UNIT, 1, True)}


def test_before_anything_closed_an_earlier_trade_begins_an_earlier_window_unless_that_is_due() -> None:
    for latest_at, expected in ((T0 + 5 * MINUTE + LATENESS - 1, 0), (T0 + 5 * MINUTE + LATENESS, 1)):
        builder = CandleBuilder("BTCUSDT", ("5m",), LATENESS)
        builder.add(trade(10, latest_at))
        assert builder.add(trade(9, T0 + MINUTE)) == []
        assert builder.state.late_trades == expected
        assert (T0 in builder.state.windows["5m"]) is not expected


def test_what_closed_stays_the_beginning_though_more_lateness_is_allowed_after_a_restart() -> None:
    first = CandleBuilder("BTCUSDT", ("5m",), 0)
    first.add(trade(10, T0 + MINUTE))
    assert [candle.opened_at for candle in first.heartbeat(T0 + 5 * MINUTE)] == [T0]
    second = CandleBuilder("BTCUSDT", ("5m",), 20 * MINUTE, first.state)
    assert second.add(trade(9, T0 - SECOND)) == []
    assert (second.state.late_trades, second.state.lost, list(second.state.windows["5m"])) == (1, 1, [T0])


def test_a_trade_of_a_window_that_was_dropped_with_trades_in_it_is_late() -> None:
    builder = CandleBuilder("BTCUSDT", ("5m",), 0)
    builder.heartbeat(T0 - 1)
    builder.add(trade(1, T0))
    builder.heartbeat(T0 + 60 * MINUTE)
    assert builder.add(trade(2, T0 + 2 * MINUTE)) + builder.heartbeat(T0 + 60 * MINUTE + 1) == []
    assert (builder.state.late_trades, T0 in builder.state.windows["5m"]) == (1, False)


def test_a_gap_fill_dated_into_a_dropped_window_is_late_and_makes_none() -> None:
    builder = CandleBuilder("BTCUSDT", ("5m",), 0)
    builder.heartbeat(T0 - 1)
    for number, at in ((1, T0), (3, T0 + SECOND), (4, T0 + 60 * MINUTE)):
        builder.add(trade(number, at))
    assert builder.add(trade(2, T0 + 20 * MINUTE)) == []
    assert (builder.state.late_trades, T0 + 20 * MINUTE in builder.state.windows["5m"]) == (1, False)


@pytest.mark.parametrize(("silent", "late"), [(MAX_TOUCHED_WINDOWS, 0), (MAX_TOUCHED_WINDOWS + 1, 1)])
def test_flat_windows_are_opened_again_for_a_day_and_no_longer(silent: int, late: int) -> None:
    builder = CandleBuilder("BTCUSDT", ("5m",), 0)
    builder.heartbeat(T0 - 1)
    builder.add(trade(1, T0))
    builder.heartbeat(T0 + (1 + silent) * 5 * MINUTE)
    builder.add(trade(2, T0 + 6 * MINUTE))
    assert builder.state.late_trades == late


def test_a_late_trade_at_the_price_before_it_revises_its_own_windows_and_leaves_the_flat_ones_as_they_were() -> None:
    builder = CandleBuilder("BTCUSDT", ("1m", "5m"), 0)
    builder.heartbeat(T0 - 1)
    builder.add(trade(1, T0))
    builder.heartbeat(T0 + 30 * MINUTE)
    builder.add(trade(2, T0 + 7 * MINUTE))
    again = builder.state.windows["5m"][T0 + 10 * MINUTE]
    assert again == Window(T0 + 10 * MINUTE, 100 * UNIT, 100 * UNIT, 100 * UNIT, 100 * UNIT, revision=0)
    corrected = builder.heartbeat(T0 + 30 * MINUTE + 1)
    assert [(c.interval, (c.opened_at - T0) // MINUTE, c.trade_count) for c in corrected] == [
        ("1m", 7, 1),
        ("5m", 5, 1),
    ]


def test_a_window_whose_gap_was_forgotten_stays_incomplete_though_all_else_is_filled() -> None:
    builder = CandleBuilder("BTCUSDT", ("5m",), LATENESS, max_gaps=1)
    builder.heartbeat(T0 - 1)
    for number in (0, 2, 4):  # 1 is given up when 3 is missing, too
        builder.add(trade(number, T0 + number * SECOND))
    builder.add(trade(3, T0 + 3 * SECOND))
    builder.add(trade(5, T0 + 6 * MINUTE))
    closed = builder.heartbeat(T0 + 10 * MINUTE + LATENESS)
    assert builder.state.ids.open_gaps == []
    assert builder.state.windows["5m"][T0].is_damaged
    assert not builder.state.windows["5m"][T0 + 5 * MINUTE].is_damaged
    assert closed[-1].is_complete


def test_a_gap_of_several_trades_makes_one_revision_when_the_last_has_come() -> None:
    builder = CandleBuilder("BTCUSDT", ("5m",), LATENESS)
    builder.heartbeat(T0 - 1)
    builder.add(trade(1, T0))
    builder.add(trade(4, T0 + 4 * SECOND))
    assert [c.is_complete for c in builder.heartbeat(T0 + 7 * MINUTE)] == [False]
    assert builder.add(trade(2, T0 + 2 * SECOND)) == []
    (revised,) = builder.add(trade(3, T0 + 3 * SECOND))
    assert (revised.revision, revised.trade_count, revised.is_complete) == (1, 4, True)


def test_a_gap_over_two_windows_completes_both_when_it_is_filled_in_one() -> None:
    builder = CandleBuilder("BTCUSDT", ("5m",), LATENESS)
    builder.heartbeat(T0 - 1)
    builder.add(trade(1, T0 + 4 * MINUTE))
    builder.add(trade(3, T0 + 6 * MINUTE))
    assert [c.is_complete for c in builder.heartbeat(T0 + 11 * MINUTE)] == [False, False]
    revised = builder.add(trade(2, T0 + 4 * MINUTE + SECOND))
    assert [(c.opened_at - T0, c.revision, c.is_complete) for c in revised] == [(0, 1, True), (5 * MINUTE, 1, True)]


def test_a_trade_from_before_the_log_revises_its_window_at_once() -> None:
    builder = CandleBuilder("BTCUSDT", ("5m",), LATENESS)
    builder.add(trade(50, T0 + MINUTE))
    builder.add(trade(51, T0 + 6 * MINUTE))
    builder.heartbeat(T0 + 11 * MINUTE)
    revised = builder.add(trade(49, T0 + 30 * SECOND))
    assert [(c.opened_at, c.revision, c.trade_count, c.is_complete) for c in revised] == [(T0, 1, 2, False)]


def test_heartbeats_are_passed_in_the_account_and_trades_stored_duplicate_or_refused() -> None:
    builder = CandleBuilder("BTCUSDT", ("1m", "5m"), 0)
    builder.heartbeat(T0 - 1)
    for number, at in ((1, T0), (1, T0), (2, T0 + SECOND)):
        builder.add(trade(number, at))
    for minute in (60, 60, 61):
        builder.heartbeat(T0 + minute * MINUTE)
    builder.add(trade(3, T0 + 2 * SECOND))  # no window has room for it
    assert builder.state.settle() == Account(stored=2, duplicate=1, refused=1, passed=4)
