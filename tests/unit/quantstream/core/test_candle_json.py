"""A candle's bytes: every field in order, numbers with all their decimals, and back."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantstream.core.candle import Candle
from quantstream.core.candle_json import QUOTE_FIELDS, UNIT_FIELDS, parse_candle, print_candle
from quantstream.core.decimals import BEYOND, QUOTE_DECIMALS, units_text
from quantstream.core.errors import BadRecord
from quantstream.core.time import INTERVALS, MINUTE

amounts = st.integers(0, BEYOND - 1)


@st.composite
def candles(draw: st.DrawFn) -> Candle:
    low, first, last, high = sorted(draw(st.lists(st.integers(1, BEYOND - 1), min_size=4, max_size=4)))
    volume, quote = draw(amounts), draw(amounts)
    return Candle(
        symbol=draw(st.one_of(st.just("BTCUSDT"), st.text(max_size=8))),
        interval=draw(st.sampled_from(sorted(INTERVALS))),
        opened_at=draw(st.integers(0, 1000)) * 1440 * MINUTE,
        open=first,
        high=high,
        low=low,
        close=last,
        volume=volume,
        quote_volume=quote,
        trade_count=draw(st.integers(0, 2**62 - 1)),
        taker_buy_volume=draw(st.integers(0, volume)),
        taker_buy_quote_volume=draw(st.integers(0, quote)),
        first_trade_id=draw(st.integers(-1, 2**62)),
        last_trade_id=draw(st.integers(-1, 2**62)),
        is_complete=draw(st.booleans()),
        revision=draw(st.integers(0, 9)),
        source=draw(st.sampled_from(["trades", "klines"])),
    )


@given(candles())
def test_a_candle_is_printed_field_by_field_and_read_back(candle: Candle) -> None:
    fields = msgspec.structs.asdict(candle)
    fields |= {name: units_text(fields[name]) for name in UNIT_FIELDS}
    fields |= {name: units_text(fields[name], QUOTE_DECIMALS) for name in QUOTE_FIELDS}
    printed = print_candle(candle)
    assert printed == json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    assert parse_candle(printed) == parse_candle(msgspec.Raw(printed)) == candle


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b"\xff", b"[" * 5_000, b'{"open":1}', b'{"open":"1"}'])
def test_what_is_no_candle_says_so(raw: bytes) -> None:
    with pytest.raises(BadRecord, match="not a candle"):
        parse_candle(raw)
