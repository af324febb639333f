"""Values that cannot be wrong: trades, candles, decimals, windows of time."""

from __future__ import annotations

from decimal import Context, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from quantstream.core.candle import Candle
from quantstream.core.decimals import BEYOND, MAX_DIGITS, UNIT, to_units, units_decimal, units_text
from quantstream.core.errors import BadRecord, Misconfigured
from quantstream.core.time import DAY, EARLIEST, INTERVALS, LATEST, MINUTE, interval_length, window_start
from quantstream.core.trade import MAX_QUOTE, MAX_SINGLES, MAX_UNITS, Trade, is_symbol

T0 = 1_723_161_600_000_000
TRADE = Trade("BTCUSDT", 5, 5, 7, 3 * UNIT, UNIT, T0, True)
EXACT = Context(prec=80)
CANDLE = Candle("BTCUSDT", "5m", T0, 3, 5, 2, 4, 10, 30, 2, 6, 20, 1, 2, True)


@given(st.integers(-(10**40), 10**40), st.sampled_from([8, 16]))
def test_decimals_are_exact_there_and_back(units: int, decimals: int) -> None:
    text = units_text(units, decimals)
    assert units_decimal(units, decimals) == Decimal(text) == Decimal(units).scaleb(-decimals, context=EXACT)
    if 0 <= units < BEYOND:
        assert to_units(text, decimals) == units


@pytest.mark.parametrize(
    ("text", "units"), [("0.5", UNIT // 2), ("7", 7 * UNIT), ("1.100000000000", 110_000_000), (".5", UNIT // 2)]
)
def test_a_printed_decimal_is_so_many_units(text: str, units: int) -> None:
    assert to_units(text) == units


@pytest.mark.parametrize("text", ["", ".", "-1", "1e5", "1,5", "١", "1" * (MAX_DIGITS + 1), " 1", "+1", "1.5.5"])
def test_what_is_no_plain_decimal_is_refused(text: str) -> None:
    with pytest.raises(BadRecord, match="not a plain non-negative decimal"):
        to_units(text)


def test_more_decimals_than_there_is_room_for_are_refused() -> None:
    with pytest.raises(BadRecord, match="has more than 8 decimals"):
        to_units("0.000000001")
    with pytest.raises(BadRecord, match="has more than 8 decimals"):
        to_units("0.00000000X")


@given(st.integers(EARLIEST, LATEST), st.sampled_from(sorted(INTERVALS)))
def test_a_window_begins_on_its_boundary_and_holds_its_time(at: int, interval: str) -> None:
    length = interval_length(interval)
    start = window_start(at, length)
    assert start % length == 0
    assert start <= at < start + length


def test_every_interval_divides_a_day_for_the_exchange_cuts_weeks_and_months_elsewhere() -> None:
    """Its weeks open on Mondays, the epoch was a Thursday: candles of a longer interval would equal none of its klines."""
    assert {name for name, length in INTERVALS.items() if DAY % length or window_start(DAY, length) != DAY} == set()


def test_an_interval_that_is_not_offered_is_said_with_those_that_are() -> None:
    with pytest.raises(Misconfigured, match="interval '7m' is not known; use one of 1m, 3m, 5m"):
        interval_length("7m")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"first_trade_id": 8}, "run backwards"),
        ({"first_trade_id": -1}, "run backwards"),
        ({"last_trade_id": 2**62}, "run backwards"),
        ({"id": -1}, "run backwards"),
        ({"id": 2**62}, "run backwards"),
        ({"price": 0}, "no price above zero"),
        ({"price": MAX_UNITS + 1, "quantity": 0}, "no price above zero"),
        ({"quantity": -1}, "absurd quantity"),
        ({"quantity": MAX_UNITS + 1}, "absurd quantity"),
        ({"price": 100, "quantity": MAX_QUOTE // 100 + 1}, "worth more"),
        ({"last_trade_id": 5 + MAX_SINGLES}, "stands for more trades"),
        ({"traded_at": EARLIEST - 1}, "dated outside"),
        ({"traded_at": LATEST}, "dated outside"),
    ],
)
def test_a_trade_that_cannot_be_is_refused(changes: dict[str, int], reason: str) -> None:
    with pytest.raises(BadRecord, match=reason):
        replace(TRADE, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"last_trade_id": 2**62 - 1, "first_trade_id": 2**62 - 1, "id": 2**62 - 1},
        {"first_trade_id": 0, "id": 0},
        {"price": 1, "quantity": MAX_UNITS},
        {"price": 100, "quantity": MAX_QUOTE // 100},
        {"price": MAX_UNITS, "quantity": 0},
        {"quantity": 0},
        {"last_trade_id": 5 + MAX_SINGLES - 1},
        {"traded_at": EARLIEST},
        {"traded_at": LATEST - 1},
    ],
)
def test_a_trade_at_the_very_bound_may_be(changes: dict[str, int]) -> None:
    assert replace(TRADE, **changes).symbol == "BTCUSDT"


def test_a_trades_numbers_are_those_of_its_singles_or_its_own_id() -> None:
    assert (TRADE.trade_count, TRADE.first_number, TRADE.last_number) == (3, 5, 7)
    future = replace(TRADE, id=40, by_id=True)
    assert (future.trade_count, future.first_number, future.last_number) == (3, 40, 40)


@pytest.mark.parametrize("name", ["BTCUSDT", "BTCUSDT_240628", "BTCUSD_PERP", "币安人生USDT", "1INCH", "A.B-C"])
def test_symbols_as_the_exchange_writes_them(name: str) -> None:
    assert is_symbol(name)


@pytest.mark.parametrize("name", ["", "btcusdt", "BTC USDT", "BTC/USDT", "___", "A" * 51, "A\n"])
def test_other_names_are_no_symbols(name: str) -> None:
    assert not is_symbol(name)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"low": 0}, "between low and high"),
        ({"open": 6}, "between low and high"),
        ({"open": 1}, "between low and high"),
        ({"close": 6}, "between low and high"),
        ({"close": 1}, "between low and high"),
        ({"taker_buy_volume": 11}, "between 0 and the volume"),
        ({"taker_buy_volume": -1}, "between 0 and the volume"),
        ({"taker_buy_quote_volume": 31}, "between 0 and the volume"),
        ({"taker_buy_quote_volume": -1}, "between 0 and the volume"),
        ({"opened_at": T0 + MINUTE}, "does not open on a 5m boundary"),
        ({"high": BEYOND}, "beyond all reason"),
        ({"volume": BEYOND}, "beyond all reason"),
        ({"quote_volume": BEYOND}, "beyond all reason"),
        ({"opened_at": -5 * MINUTE}, "beyond all reason"),
        ({"opened_at": LATEST}, "beyond all reason"),
        ({"trade_count": -1}, "beyond all reason"),
        ({"trade_count": 2**62}, "beyond all reason"),
    ],
)
def test_a_candle_that_cannot_be_is_refused(changes: dict[str, int], reason: str) -> None:
    with pytest.raises(BadRecord, match=reason):
        replace(CANDLE, **changes)


def test_a_candle_that_is_refused_is_named() -> None:
    with pytest.raises(BadRecord, match=f"candle of BTCUSDT at {T0}: numbers beyond"):
        replace(CANDLE, trade_count=-1)


def test_a_candle_ends_where_the_next_begins() -> None:
    assert CANDLE.closed_at == T0 + 5 * MINUTE
