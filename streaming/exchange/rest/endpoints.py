"""The endpoints of `/api/v3`: each a function of the market, a request's parameters and the exchange's time.

Parameters and answers: github.com/binance/binance-spot-api-docs, rest-api.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from streaming.exchange.error_answers import (
    INVALID_COMBINATION,
    INVALID_INTERVAL,
    OTHER_STATUS,
    NotTraded,
    Query,
    Refused,
)
from streaming.exchange.formats import spot_wire
from streaming.exchange.market import book
from streaming.exchange.market.market_klines import INTERVALS, klines, window_of, windows_back, windows_between
from streaming.exchange.market.protocol import (
    Market,
    Span,
    aggregates_between,
    aggregates_from,
    latest_aggregates,
    latest_trades,
    trades_from,
)
from streaming.exchange.market.statistics import rolling_day, rolling_window, statistics, trading_day
from streaming.exchange.rest import tickers
from streaming.exchange.rest.exchange_info import exchange_info

MAX_DEPTH = 5000
MOST_SYMBOLS = 100  # of `/ticker` and `/ticker/tradingDay`
TRADING = "TRADING"  # the status of every listed symbol


class Asked(NamedTuple):
    """One request: of what market, with what parameters, at what exchange time, in what unit of time."""

    market: Market
    query: Query
    now: int
    unit: int
    weight_limit: int
    headers: Mapping[str, str] = {}


Endpoint = Callable[[Asked], Any]


def ping(asked: Asked) -> Any:
    """Answer `/ping`."""
    asked.query.finish()
    return {}


def time(asked: Asked) -> Any:
    """Answer `/time`."""
    asked.query.finish()
    return {"serverTime": asked.now // asked.unit}


def spot_exchange_info(asked: Asked) -> Any:
    """Answer `/exchangeInfo`."""
    query, listings = asked.query, asked.market.listings
    symbols, _ = query.symbols()
    is_named = bool({"symbol", "symbols"} & query.given)
    permissions, status = _permissions(query), query.status()
    shows_sets = query.choice("showPermissionSets", ("true", "false")) != "false"
    query.finish()
    if is_named and (permissions is not None or status is not None):
        raise Refused(*INVALID_COMBINATION)
    if status not in (None, TRADING) or (permissions is not None and "SPOT" not in permissions):
        symbols = []
    info = exchange_info([listings[symbol] for symbol in symbols], asked.now, asked.weight_limit, asked.unit)
    if not shows_sets:
        for symbol in info["symbols"]:
            symbol["permissionSets"] = []
    return info


def _permissions(query: Query) -> list[str] | None:
    text = query.text("permissions")
    if text is None or not text.startswith("["):
        return None if text is None else [text]
    try:
        return msgspec.json.decode(text, type=list[str])
    except msgspec.MsgspecError:
        raise Refused(-1130, "Data sent for parameter 'permissions' is not valid.") from None


def spot_klines(asked: Asked) -> Any:
    """Answer `/klines` and `/uiKlines`."""
    return kline_answer(asked, INTERVALS, most=1000, offset=asked.query.time_zone())


def kline_answer(asked: Asked, intervals: Mapping[str, int], most: int, offset: int = 0, name: str = "symbol") -> Any:
    """Answer a question for klines of one of some intervals, in a time zone; `name` is the parameter that names the symbol."""
    query, market = asked.query, asked.market
    symbol, interval = query.symbol(name), query.mandatory("interval")
    if interval not in intervals:
        raise Refused(*INVALID_INTERVAL)
    start, end, limit = query.since("startTime"), query.until("endTime"), query.limit(500, most)
    query.finish()
    before = asked.now if end is None else min(asked.now, end)
    if start is None:
        windows = windows_back(interval, before, limit, market.begins_at, offset)
    else:
        earliest = window_of(interval, market.begins_at, offset)
        windows = windows_between(interval, max(start, earliest), before, limit, offset)
    return spot_wire.kline_rows(klines(market, symbol, interval, windows, asked.now, offset), asked.unit)


def aggregate_spans(asked: Asked) -> list[Span]:
    """Return the aggregates that a request asks for.

    Raises: Refused.
    """
    query, market = asked.query, asked.market
    symbol, first = query.symbol(), query.number("fromId")
    start, end, limit = query.since("startTime"), query.until("endTime"), query.limit()
    query.finish()
    if first is not None and (start is not None or end is not None):
        raise Refused(*INVALID_COMBINATION)
    before = asked.now if end is None else min(asked.now, end)
    if first is not None:
        return list(aggregates_from(market, symbol, first, limit, asked.now))
    if start is not None:
        return list(aggregates_between(market, symbol, start, before, limit))
    return latest_aggregates(market, symbol, limit, before)


def historical_spans(asked: Asked) -> list[Span]:
    """Return the trades that `/historicalTrades` asks for.

    Raises: Refused.
    """
    query = asked.query
    symbol, first, limit = query.symbol(), query.number("fromId"), query.limit()
    query.finish()
    if first is None:
        return latest_trades(asked.market, symbol, limit, asked.now)
    return list(trades_from(asked.market, symbol, first, limit, asked.now))


def recent_spans(asked: Asked) -> list[Span]:
    """Return the trades that `/trades` asks for.

    Raises: Refused.
    """
    symbol, limit = asked.query.symbol(), asked.query.limit()
    asked.query.finish()
    return latest_trades(asked.market, symbol, limit, asked.now)


def _depth(asked: Asked) -> Any:
    query = asked.query
    symbol, limit, status = query.symbol(), query.limit(100, MAX_DEPTH), query.status()
    query.finish()
    if status not in (None, TRADING):
        raise Refused(*OTHER_STATUS)
    last, bids, asks = book.snapshot(asked.market, symbol, limit, asked.now)
    return {"lastUpdateId": last.id, "bids": bids, "asks": asks}


def _average_price(asked: Asked) -> Any:
    symbol = asked.query.symbol()
    asked.query.finish()
    return tickers.average_price(asked.market, symbol, asked.now, asked.unit)


def _of_status(symbols: list[str], is_one: bool, status: str | None) -> list[str]:
    """Return the symbols of a trading status.

    Raises: Refused when the one that was named has another.
    """
    if status in (None, TRADING):
        return symbols
    if is_one:
        raise Refused(*OTHER_STATUS)
    return []


def rows_of(symbols: list[str], is_one: bool, row: Callable[[str], dict[str, Any]]) -> Any:
    """Return one row, or those of the symbols that have traded.

    Raises: NotTraded when the one has not.
    """
    if is_one:
        return row(symbols[0])
    found = []
    for symbol in symbols:
        try:
            found.append(row(symbol))
        except NotTraded:
            continue
    return found


def _day_ticker(asked: Asked) -> Any:
    query, market, now, unit = asked.query, asked.market, asked.now, asked.unit
    symbols, is_one = query.symbols()
    is_mini, status = query.is_mini(), query.status()
    query.finish()

    def row(symbol: str) -> dict[str, Any]:
        if is_mini:
            return tickers.mini_row(symbol, statistics(market, symbol, rolling_day(now)), unit)
        return tickers.day_row(market, symbol, now, unit)

    return rows_of(_of_status(symbols, is_one, status), is_one, row)


def _simple_ticker(row: Callable[[Market, str, int], dict[str, Any]]) -> Endpoint:
    def answer(asked: Asked) -> Any:
        symbols, is_one = asked.query.symbols()
        status = asked.query.status()
        asked.query.finish()
        chosen = _of_status(symbols, is_one, status)
        return rows_of(chosen, is_one, lambda symbol: row(asked.market, symbol, asked.now))

    return answer


def _window_ticker(asked: Asked) -> Any:
    size = asked.query.text("windowSize")
    return _span_ticker(asked, lambda: rolling_window(asked.now, size or "1d"))


def _trading_day_ticker(asked: Asked) -> Any:
    offset = asked.query.time_zone()
    return _span_ticker(asked, lambda: trading_day(asked.now, offset))


def _span_ticker(asked: Asked, window: Callable[[], Any]) -> Any:
    query, market = asked.query, asked.market
    symbols, is_one = query.some_symbols(MOST_SYMBOLS)
    is_mini, status = query.is_mini(), query.status()
    query.finish()
    chosen, shape = window(), tickers.mini_row if is_mini else tickers.full_row
    named = _of_status(symbols, is_one, status)
    return rows_of(named, is_one, lambda symbol: shape(symbol, statistics(market, symbol, chosen), asked.unit))


SPOT: Mapping[str, Endpoint] = {
    "ping": ping,
    "time": time,
    "exchangeInfo": spot_exchange_info,
    "klines": spot_klines,
    "uiKlines": spot_klines,
    "aggTrades": lambda asked: spot_wire.aggregate_rows(aggregate_spans(asked), asked.unit),
    "historicalTrades": lambda asked: spot_wire.trade_rows(historical_spans(asked), asked.unit),
    "trades": lambda asked: spot_wire.trade_rows(recent_spans(asked), asked.unit),
    "depth": _depth,
    "avgPrice": _average_price,
    "ticker": _window_ticker,
    "ticker/24hr": _day_ticker,
    "ticker/price": _simple_ticker(tickers.price_row),
    "ticker/bookTicker": _simple_ticker(tickers.book_row),
    "ticker/tradingDay": _trading_day_ticker,
}
