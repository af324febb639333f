"""The events of tickers and averages: rows of the REST side under the streams' short names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streaming.exchange.market.protocol import Market
from streaming.exchange.market.statistics import last_trade, rolling_day, rolling_window, statistics
from streaming.exchange.rest import tickers
from streaming.exchange.streams.stream_names import Kind, Stream

Row = Callable[[Market, str, int, int], dict[str, Any]]  # of a market's symbol, at a time (µs), in a unit of time
_BOOK = {"b": "bidPrice", "B": "bidQty", "a": "askPrice", "A": "askQty"}
_MINI = {"c": "lastPrice", "o": "openPrice", "h": "highPrice", "l": "lowPrice", "v": "volume", "q": "quoteVolume"}
_CHANGE = {"p": "priceChange", "P": "priceChangePercent", "w": "weightedAvgPrice"}
_SPAN = {"O": "openTime", "C": "closeTime", "F": "firstId", "L": "lastId", "n": "count"}
_WINDOW = _CHANGE | _MINI | _SPAN
_FUTURES = _CHANGE | {"c": "lastPrice", "Q": "lastQty"} | _MINI | _SPAN
_SPOT = _CHANGE | {"x": "prevClosePrice", "c": "lastPrice", "Q": "lastQty"} | _BOOK | _MINI | _SPAN


def row_of(stream: Stream, kind: Kind) -> Row:
    """Return how a stream's events are made; with the pair and the kind of contract on the futures."""
    row = _row_of(stream, kind)
    if kind == "spot":
        return row

    def with_pair(market: Market, symbol: str, now: int, unit: int) -> dict[str, Any]:
        return row(market, symbol, now, unit) | {"ps": symbol.partition("_")[0], "st": 1}

    return with_pair


def _row_of(stream: Stream, kind: Kind) -> Row:
    if stream.channel == "bookTicker":
        return _book_event if kind == "spot" else _futures_book_event
    if stream.channel == "avgPrice":
        return _average_event
    if stream.channel == "miniTicker":
        return _mini_event
    if stream.channel == "window":
        return _window_event(stream.detail)
    return _ticker_event if kind == "spot" else _futures_ticker_event


def _short(name: str, symbol: str, now: int, unit: int, row: dict[str, Any], keys: dict[str, str]) -> dict[str, Any]:
    return {"e": name, "E": now // unit, "s": symbol, **{short: row[long] for short, long in keys.items()}}


def _mini_event(market: Market, symbol: str, now: int, unit: int) -> dict[str, Any]:
    row = tickers.mini_row(symbol, statistics(market, symbol, rolling_day(now)), unit)
    return _short("24hrMiniTicker", symbol, now, unit, row, _MINI)


def _ticker_event(market: Market, symbol: str, now: int, unit: int) -> dict[str, Any]:
    return _short("24hrTicker", symbol, now, unit, tickers.day_row(market, symbol, now, unit), _SPOT)


def _futures_ticker_event(market: Market, symbol: str, now: int, unit: int) -> dict[str, Any]:
    return _short("24hrTicker", symbol, now, unit, tickers.futures_day_row(market, symbol, now, unit), _FUTURES)


def _window_event(size: str) -> Row:
    def event(market: Market, symbol: str, now: int, unit: int) -> dict[str, Any]:
        row = tickers.full_row(symbol, statistics(market, symbol, rolling_window(now, size)), unit)
        return _short(f"{size}Ticker", symbol, now, unit, row, _WINDOW)

    return event


def _book_event(market: Market, symbol: str, now: int, unit: int) -> dict[str, Any]:
    row, last = tickers.book_row(market, symbol, now), last_trade(market, symbol, now)
    return {"u": last.id, "s": symbol, **{short: row[long] for short, long in _BOOK.items()}}


def _futures_book_event(market: Market, symbol: str, now: int, unit: int) -> dict[str, Any]:
    at = last_trade(market, symbol, now).at // unit
    return {"e": "bookTicker", "E": now // unit, "T": at, **_book_event(market, symbol, now, unit)}


def _average_event(market: Market, symbol: str, now: int, unit: int) -> dict[str, Any]:
    row = tickers.average_price(market, symbol, now, unit)
    return {"e": "avgPrice", "E": now // unit, "s": symbol, "i": "5m", "w": row["price"], "T": row["closeTime"]}
