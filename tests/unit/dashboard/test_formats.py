"""Numbers and times as the page prints them."""

from __future__ import annotations

import math

import pytest

from dashboard import formats


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [(64123.456, 2, "64,123.46"), (0.62101, 4, "0.6210"), (None, 2, "–"), (math.nan, 2, "–")],
)
def test_a_price_has_its_symbol_s_decimals(value: float | None, decimals: int, text: str) -> None:
    assert formats.price(value, decimals) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.25, "0.25"),
        (12, "12"),
        (950.4, "950"),
        (12_345, "12.35K"),
        (4.56e6, "4.56M"),
        (1.2e9, "1.20B"),
        (None, "–"),
    ],
)
def test_big_numbers_are_short(value: float | None, text: str) -> None:
    assert formats.compact(value) == text


@pytest.mark.parametrize(
    ("fraction", "text"), [(0.0125, "+1.25%"), (-0.0125, "−1.25%"), (0.0, "+0.00%"), (math.nan, "–")]
)
def test_a_change_carries_its_sign(fraction: float, text: str) -> None:
    assert formats.percent(fraction) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.085, "85 ms"), (4.21, "4.2 s"), (200, "3m 20s"), (7500, "2h 05m"), (273_600, "3d 4h"), (None, "–")],
)
def test_a_duration_has_two_units_at_most(seconds: float | None, text: str) -> None:
    assert formats.span(seconds) == text


def test_times_are_utc_and_nothing_before_the_first_record() -> None:
    assert formats.stamp(1_768_521_845_000_000) == "2026-01-16 00:04:05"
    assert formats.clock(1_768_521_845_000_000) == "00:04:05"
    assert formats.stamp(0) == "–"


@pytest.mark.parametrize(
    ("score", "word"), [(0, "calm"), (32.9, "calm"), (33, "elevated"), (66, "high"), (100, "high")]
)
def test_a_risk_score_has_a_word(score: float, word: str) -> None:
    assert formats.risk_word(score) == word


@pytest.mark.parametrize(("prices", "decimals"), [([64000.0], 2), ([0.6210, 0.6213], 4), ([0.00001234], 8), ([], 2)])
def test_decimals_are_those_the_exchange_uses(prices: list[float], decimals: int) -> None:
    assert formats.decimals_of(prices) == decimals


@pytest.mark.parametrize(("value", "text"), [(0.0125, "0.0125"), (1250.0, "1,250"), (0.00000001, "0.00000001")])
def test_a_quantity_has_no_trailing_zeros(value: float, text: str) -> None:
    assert formats.quantity(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.49, "0.5"), (81.43, "81.4"), (12_345.6, "12,346"), (None, "–")])
def test_a_rate_has_one_decimal_while_it_is_small(value: float | None, text: str) -> None:
    assert formats.rate(value) == text
