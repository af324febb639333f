"""Any JSON in a recording, a stream's request or a record is a trade, left out or refused: never an exception of Python's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quantstream.binance.wire import heartbeat_position, parse_record, split_frame, split_rows
from quantstream.core.candle_json import parse_candle
from quantstream.core.errors import BadRecord
from streaming.exchange.streams.stream_requests import METHODS, Subscriptions
from streaming.recordings.found import LeftOut, Refused, Row
from streaming.recordings.json_rows import document, row
from tests.unit.json_values import values

NAMES = st.sampled_from(
    [
        *("stream", "data", "e", "X", "s", "t", "a", "f", "l", "p", "q", "T", "m", "M", "id", "price", "qty", "time"),
        *("amount", "side", "info", "symbol", "timestamp", "datetime", "result", "error", "bids", "isBuyerMaker"),
    ]
)
TRADE = {"e": "trade", "E": 1, "s": "BTCUSDT", "t": 5, "p": "1.5", "q": "2", "T": 1723161255342, "m": True, "M": True}
UNIFIED = {
    "id": "1",
    "side": "sell",
    "price": 1.5,
    "amount": 1e-05,
    "timestamp": 1723161255342,
    "info": {"f": 1, "l": 2},
}
REST = {"a": 1, "p": "1.5", "q": "2", "f": 7, "l": 9, "T": 1723161255342, "m": True}
ANSWERS = (Row, LeftOut, Refused)


def _named() -> str:
    return "BTCUSDT"


@given(values(NAMES))
@example([[]])
@example({"stream": "btcusdt@trade", "data": [5]})
@example({"e": "trade", "X": [1], "t": {}})
def test_any_json_in_a_recording_is_found_to_be_something(value: Any) -> None:
    assert isinstance(row(value, 1, _named), ANSWERS)
    raw = json.dumps(value).encode()
    assert all(isinstance(found, ANSWERS) for found in document(raw, 1, _named))


@given(st.sampled_from([TRADE, UNIFIED, REST, {**TRADE, "X": "NA"}]), st.data())
def test_any_json_in_the_place_of_one_field_of_a_trade_is_found_to_be_something(
    trade: dict[str, Any], data: st.DataObject
) -> None:
    odd = {**trade, data.draw(st.sampled_from(sorted(trade))): data.draw(values())}
    assert isinstance(row(odd, 1, _named), ANSWERS)
    for shape in (odd, {"stream": "btcusdt@trade", "data": odd}, [odd]):
        assert all(isinstance(found, ANSWERS) for found in document(json.dumps(shape).encode(), 1, _named))


@given(values(st.sampled_from(["symbol", "open", "high", "low", "close", "volume", "interval", "e", "E", "holes"])))
def test_any_json_as_a_record_is_read_or_a_bad_record(value: Any) -> None:
    raw = json.dumps(value).encode()
    for read in (
        parse_candle,
        heartbeat_position,
        split_rows,
        split_frame,
        lambda record: parse_record(record, "BTCUSDT"),
    ):
        try:
            read(raw)
        except BadRecord as error:
            assert str(error)  # noqa: PT017  (either is right)


@given(values(st.sampled_from(["id", "method", "params"])), st.sampled_from(METHODS), values())
def test_any_json_as_a_streams_request_is_answered(value: Any, method: str, params: Any) -> None:
    for request in (value, {"id": 1, "method": method, "params": params}, {"id": 1, "method": params}):
        output = json.loads(Subscriptions(["btcusdt@trade"], True).answer(json.dumps(request)))
        assert {"result", "error"} & set(output)


@pytest.mark.parametrize("length", [20, 4000])
def test_a_number_of_many_digits_is_refused(length: int) -> None:
    raw = json.dumps({**REST, "a": 10**length}).encode()
    (found,) = document(raw, 3, _named)
    assert isinstance(found, Refused)
