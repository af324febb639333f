"""The exchange's ticker rows, spot's and futures', full and mini: each a wording of the same exact statistics."""

from __future__ import annotations

from typing import Any

from quantstream.core.decimals import units_text
from streaming.exchange.error_answers import NotTraded
from streaming.exchange.market import book
from streaming.exchange.market.protocol import Market
from streaming.exchange.market.statistics import (
    AVERAGE_MINUTES,
    Statistics,
    average_window,
    last_trade,
    previous_close,
    rolling_day,
    statistics,
)


def price_row(market: Market, symbol: str, now: int) -> dict[str, Any]:
    """Return a row of `/ticker/price`."""
    return {"symbol": symbol, "price": units_text(last_trade(market, symbol, now).price)}


def book_row(market: Market, symbol: str, now: int) -> dict[str, Any]:
    """Return a row of `/ticker/bookTicker`."""
    _, [bid], [ask] = book.snapshot(market, symbol, 1, now)
    return {"symbol": symbol, "bidPrice": bid[0], "bidQty": bid[1], "askPrice": ask[0], "askQty": ask[1]}


def mini_row(symbol: str, found: Statistics, unit: int) -> dict[str, Any]:
    """Return the row of `type=MINI`; `unit` is 1000 for times in ms, 1 for µs."""
    return {
        "symbol": symbol,
        "openPrice": units_text(found.open),
        "highPrice": units_text(found.high),
        "lowPrice": units_text(found.low),
        "lastPrice": units_text(found.last.price),
        "volume": units_text(found.volume),
        "quoteVolume": units_text(found.quote_volume),
        "openTime": found.window.opened_at // unit,
        "closeTime": found.window.closed_at // unit - 1,
        "firstId": found.first_id,
        "lastId": found.last_id,
        "count": found.count,
    }


def full_row(symbol: str, found: Statistics, unit: int) -> dict[str, Any]:
    """Return the row of `/ticker` and `/ticker/tradingDay`."""
    changes = {
        "symbol": symbol,
        "priceChange": units_text(found.change),
        "priceChangePercent": found.change_percent,
        "weightedAvgPrice": units_text(found.average),
    }
    return changes | mini_row(symbol, found, unit)


def day_row(market: Market, symbol: str, now: int, unit: int = 1000) -> dict[str, Any]:
    """Return a row of `/ticker/24hr`."""
    try:
        found = statistics(market, symbol, rolling_day(now))
    except NotTraded:
        return _no_trades(symbol, rolling_day(now).opened_at // unit, rolling_day(now).closed_at // unit - 1)
    best = book_row(market, symbol, found.window.until)
    return full_row(symbol, found, unit) | best | _last_ones(market, symbol, found)


def futures_day_row(market: Market, symbol: str, now: int, unit: int = 1000) -> dict[str, Any]:
    """Return a row of the futures' `/ticker/24hr`: without the book and without the price before."""
    found = statistics(market, symbol, rolling_day(now))
    return full_row(symbol, found, unit) | {"lastQty": units_text(found.last.quantity)}


def _no_trades(symbol: str, opened_at: int, closed_at: int) -> dict[str, Any]:
    """Return the row of a symbol that has never traded."""
    names = (
        "priceChange",
        "priceChangePercent",
        "weightedAvgPrice",
        "prevClosePrice",
        "lastPrice",
        "lastQty",
        "bidPrice",
    )
    more = ("bidQty", "askPrice", "askQty", "openPrice", "highPrice", "lowPrice", "volume", "quoteVolume")
    zeros = dict.fromkeys(names + more, units_text(0))
    ids = {"firstId": -1, "lastId": -1, "count": 0}
    return {"symbol": symbol, **zeros, "openTime": opened_at, "closeTime": closed_at, **ids}


def average_price(market: Market, symbol: str, now: int, unit: int = 1000) -> dict[str, Any]:
    """Return the answer of `/avgPrice`: weighted by volume over five minutes."""
    found = statistics(market, symbol, average_window(now))
    return {"mins": AVERAGE_MINUTES, "price": units_text(found.average), "closeTime": found.last.at // unit}


def _last_ones(market: Market, symbol: str, found: Statistics) -> dict[str, Any]:
    return {
        "prevClosePrice": units_text(previous_close(market, symbol, found)),
        "lastQty": units_text(found.last.quantity),
    }
