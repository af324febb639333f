"""The exchange's klines, whatever stands in their place: a candle, or a refusal in one sentence."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantstream.binance.klines import exchange_time, fetch_klines, parse_kline
from quantstream.core.candle import Candle
from quantstream.core.errors import BadRecord, DataRejected, Misconfigured
from quantstream.core.time import EARLIEST, LATEST, MINUTE
from tests.unit.json_values import values

ROW = [1723161300000, "1.5", "2", "1", "1.75", "100", 1723161599999, "150", 308, "50", "75", "0"]


class Answers:
    """A REST client that always gives the same answer."""

    address = "http://exchange"

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def get(self, path: str, query: Any = None) -> Any:
        """Return it."""
        return self._answer


def test_a_row_is_the_candle_that_the_exchange_shows() -> None:
    candle = parse_kline("BTCUSDT", ROW)
    unit = 10**8
    prices = (3 * unit // 2, 2 * unit, unit, 7 * unit // 4)
    sums = (100 * unit, 150 * unit**2, 308, 50 * unit, 75 * unit**2)
    assert candle == Candle("BTCUSDT", "5m", 1723161300000 * 1000, *prices, *sums, -1, -1, True, 0, "klines")


@pytest.mark.parametrize("odd", [{"open": "1"}, {}, None, 5, "12345678901", [], ROW[:10], [[*ROW]], {1: 2}, True])
def test_what_is_no_list_of_a_klines_fields_is_a_bad_record(odd: Any) -> None:
    with pytest.raises(BadRecord, match="not a kline"):
        parse_kline("BTCUSDT", odd)


@given(values())
def test_any_json_in_a_klines_place_is_a_candle_or_a_bad_record(odd: Any) -> None:
    try:
        assert parse_kline("BTCUSDT", odd).source == "klines"
    except BadRecord as error:
        assert str(error)  # noqa: PT017  (either is right)


@given(st.integers(0, len(ROW) - 2), values())
def test_any_json_in_the_place_of_one_field_is_a_candle_or_a_bad_record(place: int, odd: Any) -> None:
    row = [*ROW[:place], odd, *ROW[place + 1 :]]
    try:
        assert parse_kline("BTCUSDT", row).source == "klines"
    except BadRecord as error:
        assert str(error)  # noqa: PT017  (either is right)


@given(values())
def test_any_json_as_the_whole_answer_gives_candles_or_says_that_it_is_none(odd: Any) -> None:
    refused: list[BadRecord] = []
    try:
        found = list(fetch_klines(Answers(odd), "BTCUSDT", "5m", 0, 5 * MINUTE, refused.append))  # type: ignore[arg-type]
    except DataRejected:
        assert not isinstance(odd, list)
    else:
        assert len(found) + len(refused) == len(odd)


@given(values(st.just("serverTime")))
def test_any_json_in_the_place_of_the_time_is_a_time_or_somebody_elses_answer(odd: Any) -> None:
    try:
        assert EARLIEST <= exchange_time(Answers(odd)) < LATEST  # type: ignore[arg-type]
    except Misconfigured as error:
        assert "is not the exchange" in str(error)  # noqa: PT017  (either is right)
