"""Positions together: what moves together is added up, what moves against it is not, and what has no figure is said."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from ml.value_at_risk.book_risk import BookRisk, PositionRisk, book_risk, losses, position_risk
from ml.value_at_risk.loss_tail import LEVELS, risks
from ml.value_at_risk.observations import HORIZONS
from ml.value_at_risk.positions import Position
from ml.value_at_risk.quote_currency import quote_of
from ml.value_at_risk.symbol_risk import Shocks, SymbolRisk
from quantstream.core.errors import DataRejected
from quantstream.core.time import HOUR

RNG = np.random.default_rng(3)
WINDOWS = 4_000
COMMON, OWN = RNG.standard_t(4, WINDOWS), RNG.standard_t(4, WINDOWS)


def symbol(name: str, values: np.ndarray, close: float = 100.0, first: int = 0) -> SymbolRisk:
    shocks = Shocks(np.arange(first, first + len(values), dtype=np.int64) * HOUR, values)
    names = [one.name for one in HORIZONS]
    return SymbolRisk(name, 0, close, dict.fromkeys(names, 0.01), dict.fromkeys(names, shocks))


def book(held: dict[str, str], found: dict[str, SymbolRisk], quotes: dict[str, str] | None = None) -> BookRisk:
    told = [
        position_risk(Position(name, Decimal(coins)), (quotes or {}).get(name, "USDT"), found[name])
        for name, coins in held.items()
    ]
    return book_risk(0, told, found)


def test_a_book_of_one_position_risks_what_the_position_does() -> None:
    found = book({"BTCUSDT": "-2"}, {"BTCUSDT": symbol("BTCUSDT", COMMON)})
    assert found.risks == found.positions[0].risks
    assert found.diversification("1d", 0.99) == 0
    assert found.shares == {"1h": [1.0], "1d": [1.0]}


def test_what_moves_together_adds_up_and_what_is_held_against_it_takes_away() -> None:
    twins = {"BTCUSDT": symbol("BTCUSDT", COMMON), "BTCUSDC": symbol("BTCUSDC", COMMON)}
    both, hedged = book({"BTCUSDT": "1", "BTCUSDC": "1"}, twins), book({"BTCUSDT": "1", "BTCUSDC": "-1"}, twins)
    assert both.diversification("1h", 0.95) == pytest.approx(0, abs=1e-9)
    assert hedged.diversification("1h", 0.95) == 1
    assert hedged.risks["1d"][0.99].expected_shortfall == 0


def test_independent_positions_risk_about_the_root_of_two() -> None:
    found = book(
        {"BTCUSDT": "1", "XRPUSDT": "1"}, {"BTCUSDT": symbol("BTCUSDT", COMMON), "XRPUSDT": symbol("XRPUSDT", OWN)}
    )
    assert found.diversification("1h", 0.95) == pytest.approx(1 - 1 / np.sqrt(2), abs=0.06)
    assert sum(found.shares["1h"]) == pytest.approx(1)
    assert min(found.shares["1h"]) > 0.3


def test_losses_are_in_money_and_a_fall_is_bounded_by_what_is_held() -> None:
    one = symbol("BTCUSDT", np.array([-300.0, 0.0, 300.0]), close=50.0)
    assert losses(Position("BTCUSDT", Decimal("2")), one, "1h").tolist() == pytest.approx(
        [100 * (1 - np.exp(-3)), 0, -1908.6], rel=1e-4
    )
    short = losses(Position("BTCUSDT", Decimal("-2")), one, "1h")
    assert short[2] > 1900  # a rise has no bound


def test_windows_are_those_of_the_same_times() -> None:
    later = {"BTCUSDT": symbol("BTCUSDT", COMMON), "SOLUSDT": symbol("SOLUSDT", COMMON[1000:], first=1000)}
    found = book({"BTCUSDT": "1", "SOLUSDT": "-1"}, later)
    assert found.risks["1h"][0.99].value_at_risk == 0
    alone = risks(losses(Position("BTCUSDT", Decimal("1")), later["BTCUSDT"], "1h"))
    assert found.positions[0].risks["1h"] == alone  # of its own whole past, whatever else is held


def test_symbols_without_a_common_past_have_no_figure_together() -> None:
    apart = {"BTCUSDT": symbol("BTCUSDT", COMMON), "NEWUSDT": symbol("NEWUSDT", OWN, first=WINDOWS - 30)}
    found = book({"BTCUSDT": "1", "NEWUSDT": "1"}, apart)
    assert (found.risks, len(found.troubles)) == ({}, 1)
    assert "days in common, 21 are needed" in found.troubles[0]
    assert all(one.risks for one in found.positions)


def test_currencies_are_not_added_up() -> None:
    two = {"BTCUSDT": symbol("BTCUSDT", COMMON), "ETHBTC": symbol("ETHBTC", OWN)}
    found = book({"BTCUSDT": "1", "ETHBTC": "1"}, two, {"ETHBTC": "BTC"})
    assert found.risks == {}
    assert found.troubles == [
        "no figure for the book: its positions are worth BTC and USDT, which are not added up here"
    ]


def test_a_position_without_a_figure_leaves_the_book_without_one() -> None:
    one = {"BTCUSDT": symbol("BTCUSDT", COMMON)}
    told = [position_risk(Position("BTCUSDT", Decimal("1")), "USDT", one["BTCUSDT"])]
    told.append(
        PositionRisk(Position("FOOUSDT", Decimal("1")), "USDT", trouble="FOOUSDT: the lake has no candles of it")
    )
    found = book_risk(0, told, one)
    assert found.risks == {}
    assert found.troubles[-1] == "no figure for the book: it would leave out what has none"


def test_nothing_held_risks_nothing() -> None:
    found = book({"BTCUSDT": "0"}, {"BTCUSDT": symbol("BTCUSDT", COMMON)})
    assert {found.risks["1d"][level].value_at_risk for level in LEVELS} == {0.0}


@pytest.mark.parametrize(
    ("name", "quote"),
    [
        ("BTCUSDT", "USDT"),
        ("ETHBTC", "BTC"),
        ("BTCFDUSD", "FDUSD"),
        ("BTCUSDT_240628", "USDT"),
        ("XEUR", "EUR"),
        ("AKRW", "KRW"),
    ],
)
def test_the_quote_currency_is_what_the_list_says_or_the_name_ends_in(name: str, quote: str) -> None:
    assert quote_of(name, {"AKRW": "KRW"}) == quote


@pytest.mark.parametrize(
    ("name", "why"), [("BTCUSD_PERP", "margined in coins"), ("ABCXYZ", "is not known"), ("USDT", "not known")]
)
def test_a_currency_that_cannot_be_told_is_said(name: str, why: str) -> None:
    with pytest.raises(DataRejected, match=why):
        quote_of(name, {})
