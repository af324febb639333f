"""The exchange's bytes, as its documentation prints them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantstream.binance.wire import heartbeat_event, parse_record, parse_trade, split_frame, trade_event
from quantstream.core.decimals import UNIT, to_units
from quantstream.core.errors import BadRecord
from quantstream.core.trade import Trade

TRADE = b'{"e":"trade","E":1,"s":"BNBBTC","t":12345,"p":"0.001","q":"100","T":1672515782136,"m":true,"M":true}'
AGGREGATE = (
    b'{"e":"aggTrade","E":1,"s":"BNBBTC","a":12345,"p":"0.001","q":"100",'
    b'"f":100,"l":105,"T":1672515782136,"m":true,"M":true}'
)
AT = 1_672_515_782_136_000


def test_a_trade_event() -> None:
    assert parse_trade(TRADE) == Trade("BNBBTC", 12345, 12345, 12345, UNIT // 1000, 100 * UNIT, AT, True)


def test_an_aggregate_counts_its_single_trades() -> None:
    trade = parse_trade(AGGREGATE)
    assert (trade.id, trade.first_trade_id, trade.last_trade_id, trade.trade_count) == (12345, 100, 105, 6)


def test_rest_rows_take_their_symbol_from_the_request() -> None:
    row = b'{"id":28457,"price":"4.00000100","qty":"12.00000000","time":1499865549590,"isBuyerMaker":false}'
    assert parse_trade(row, "BNBBTC") == Trade(
        "BNBBTC", 28457, 28457, 28457, 400_000_100, 12 * UNIT, 1_499_865_549_590_000, False
    )


def test_times_in_microseconds_are_told_from_milliseconds() -> None:
    assert parse_trade(TRADE.replace(b"1672515782136", b"1672515782136123")).traded_at == AT + 123


def test_a_frame_gives_the_events_own_bytes() -> None:
    assert split_frame(b'{"stream":"bnbbtc@trade","data":' + TRADE + b"}") == ("bnbbtc@trade", TRADE)


def test_events_we_print_are_read_back_whole() -> None:
    for raw in (TRADE, AGGREGATE):
        assert parse_trade(trade_event(parse_trade(raw))) == parse_trade(raw)


def test_a_heartbeat_is_its_time() -> None:
    assert parse_record(heartbeat_event("BNBBTC", AT), "BNBBTC") == AT


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        b"nonsense",
        b'"text"',
        TRADE.replace(b'"0.001"', b'"-1"'),
        TRADE.replace(b'"0.001"', b'"0.0000000001"'),
        TRADE.replace(b'"0.001"', b'"1e400"'),
        TRADE.replace(b'"0.001"', b"0.001"),
        TRADE.replace(b'"0.001"', b'"' + b"9" * 4000 + b'"'),
        TRADE.replace(b"1672515782136", b"99"),
        TRADE.replace(b"12345", b"-5"),
        TRADE.replace(b'"BNBBTC"', b'""'),
        AGGREGATE.replace(b'"f":100', b'"f":200'),
        b'{"e":"kline"}',
        b"[" * 100_000,
        b'{"s":"' + b"\xff" * 10 + b'"}',
    ],
)
def test_what_is_no_trade_is_a_bad_record(raw: bytes) -> None:
    with pytest.raises(BadRecord):
        parse_trade(raw)


@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_no_bytes_raise_anything_else(raw: bytes) -> None:
    for read in (parse_trade, split_frame):
        try:
            read(raw)
        except BadRecord:
            pass


@given(st.text(alphabet="0123456789.-+ e", max_size=20) | st.decimals(0, 10**12, places=8).map(lambda d: f"{d:f}"))
def test_numbers_of_trades_are_read_as_everywhere_else(text: str) -> None:
    raw = b'{"e":"trade","s":"X","t":1,"p":"1.00000000","q":"%s","T":1723161600000,"m":true}' % text.encode()
    try:
        expected = to_units(text)
    except BadRecord:
        with pytest.raises(BadRecord):
            parse_trade(raw)
    else:
        assert parse_trade(raw).quantity == expected
