"""The REST side: each endpoint of `/api/v3` as a function of the market and the exchange's time, and the door they share.

The door weighs each request, injects ordered faults, and turns refusals into the exchange's own errors.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from aiohttp import web

from quantstream.market import MICROSECOND
from streaming.exchange import tickers, wire
from streaming.exchange.candles import INTERVALS, klines, window_of, windows_back, windows_between
from streaming.exchange.clock import Clock
from streaming.exchange.exchange_info import exchange_info
from streaming.exchange.faults import Faults
from streaming.exchange.market import (
    Market,
    aggregates_between,
    aggregates_from,
    latest_aggregates,
    latest_trades,
    trades_from,
)
from streaming.exchange.refusals import INVALID_COMBINATION, INVALID_INTERVAL, Query, Refused
from streaming.exchange.weights import Allowance, banned, too_much, weight_of

MAX_DEPTH = 5000
FULL_ONLY = ("historicalTrades",)  # not on the market-data-only hosts: faqs/market_data_only.md
FUTURES = ("fapi", "dapi")


class Asked(NamedTuple):
    """One request: of what market, with what parameters, at what exchange time, in what unit of time."""

    market: Market
    query: Query
    now: int
    unit: int
    weight_limit: int


def _ping(asked: Asked) -> Any:
    asked.query.finish()
    return {}


def _time(asked: Asked) -> Any:
    asked.query.finish()
    return {"serverTime": asked.now // asked.unit}


def _exchange_info(asked: Asked) -> Any:
    symbols, _ = asked.query.symbols()
    for optional in ("permissions", "showPermissionSets", "symbolStatus"):
        asked.query.text(optional)
    asked.query.finish()
    listings = asked.market.listings
    return exchange_info([listings[symbol] for symbol in symbols], asked.now, asked.weight_limit)


def _no_futures(asked: Asked) -> Any:
    """Libraries that load all kinds of markets at once find no futures here."""
    return exchange_info([], asked.now, asked.weight_limit)


def _klines(asked: Asked) -> Any:
    query, market = asked.query, asked.market
    symbol, interval = query.symbol(), query.mandatory("interval")
    if interval not in INTERVALS:
        raise Refused(*INVALID_INTERVAL)
    start, end, limit = query.number("startTime"), query.number("endTime"), query.limit()
    if query.text("timeZone") not in (None, "0", "+0", "0:00", "+00:00", "00:00"):
        raise Refused(-1130, "Data sent for parameter 'timeZone' is not valid.")
    query.finish()
    before = min(asked.now, _after(end, asked.unit)) if end is not None else asked.now
    if start is None:
        windows = windows_back(interval, before, limit, market.begins_at)
    else:
        earliest = window_of(interval, market.begins_at)
        windows = windows_between(interval, max(start * asked.unit, earliest), before, limit)
    return wire.kline_rows(klines(market, symbol, interval, windows, asked.now), asked.unit)


def _aggregate_trades(asked: Asked) -> Any:
    query, market = asked.query, asked.market
    symbol, first = query.symbol(), query.number("fromId")
    start, end, limit = query.number("startTime"), query.number("endTime"), query.limit()
    query.finish()
    if first is not None and (start is not None or end is not None):
        raise Refused(*INVALID_COMBINATION)
    before = min(asked.now, _after(end, asked.unit)) if end is not None else asked.now
    if first is not None:
        spans = list(aggregates_from(market, symbol, first, limit, asked.now))
    elif start is not None:
        spans = list(aggregates_between(market, symbol, start * asked.unit, before, limit))
    else:
        spans = latest_aggregates(market, symbol, limit, before)
    return wire.aggregate_rows(spans, asked.unit)


def _historical_trades(asked: Asked) -> Any:
    query = asked.query
    symbol, first, limit = query.symbol(), query.number("fromId"), query.limit()
    query.finish()
    if first is None:
        return wire.trade_rows(latest_trades(asked.market, symbol, limit, asked.now), asked.unit)
    return wire.trade_rows(trades_from(asked.market, symbol, first, limit, asked.now), asked.unit)


def _trades(asked: Asked) -> Any:
    symbol, limit = asked.query.symbol(), asked.query.limit()
    asked.query.finish()
    return wire.trade_rows(latest_trades(asked.market, symbol, limit, asked.now), asked.unit)


def _depth(asked: Asked) -> Any:
    symbol, limit = asked.query.symbol(), asked.query.limit(100, MAX_DEPTH)
    asked.query.finish()
    return tickers.depth(asked.market, symbol, limit, asked.now)


def _average_price(asked: Asked) -> Any:
    symbol = asked.query.symbol()
    asked.query.finish()
    return tickers.average_price(asked.market, symbol, asked.now, asked.unit)


def _each(row: Callable[[Market, str, int], dict[str, Any]]) -> Callable[[Asked], Any]:
    def answer(asked: Asked) -> Any:
        symbols, is_one = asked.query.symbols()
        for optional in ("type", "symbolStatus"):
            asked.query.text(optional)
        asked.query.finish()
        rows = [row(asked.market, symbol, asked.now) for symbol in symbols]
        return rows[0] if is_one else rows

    return answer


ENDPOINTS: dict[str, Callable[[Asked], Any]] = {
    "ping": _ping,
    "time": _time,
    "exchangeInfo": _exchange_info,
    "klines": _klines,
    "uiKlines": _klines,
    "aggTrades": _aggregate_trades,
    "historicalTrades": _historical_trades,
    "trades": _trades,
    "depth": _depth,
    "avgPrice": _average_price,
    "ticker/24hr": _each(tickers.day_row),
    "ticker/price": _each(tickers.price_row),
    "ticker/bookTicker": _each(tickers.book_row),
}


def _after(end: int, unit: int) -> int:
    """Return the first µs after an inclusive end time."""
    return (end + 1) * unit


class Rest:
    """The door of all endpoints."""

    def __init__(
        self, market: Market, clock: Clock, faults: Faults, allowance: Allowance, data_only: bool = False
    ) -> None:
        """`data_only` as on the real exchange's market-data-only hosts: single trades are not given out by their ids."""
        self._offered = {name: answer for name, answer in ENDPOINTS.items() if not (data_only and name in FULL_ONLY)}
        self._market = market
        self._clock = clock
        self._faults = faults
        self._allowance = allowance

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to serve."""
        spot = [web.get(f"/api/v3/{name}", self._handler(name, answer)) for name, answer in self._offered.items()]
        futures = [
            web.get(f"/{market}/v1/exchangeInfo", self._handler("exchangeInfo", _no_futures)) for market in FUTURES
        ]
        return spot + futures

    def _handler(self, name: str, answer: Callable[[Asked], Any]) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            try:
                used = self._allowance.use(request.remote or "", weight_of(name, request.query))
                await self._fail_if_ordered(request, used)
                body = answer(self._asked(request))
            except Refused as refused:
                return _json(refused.body, refused.status, refused.headers)
            text = body if isinstance(body, str) else msgspec.json.encode(body).decode()
            return _json(text, 200, {"X-MBX-USED-WEIGHT": str(used), "X-MBX-USED-WEIGHT-1M": str(used)})

        return handle

    def _asked(self, request: web.Request) -> Asked:
        in_micros = request.headers.get("X-MBX-TIME-UNIT", "").upper() == "MICROSECOND"
        now = self._clock.now()
        query = Query(request.query, self._faults.listed(self._market.listings, now))
        unit = MICROSECOND if in_micros else wire.MILLISECONDS
        return Asked(self._market, query, now, unit, self._allowance.limit)

    async def _fail_if_ordered(self, request: web.Request, used: int) -> None:
        if fault := self._faults.strike("rest_429"):
            raise too_much(self._allowance.limit, max(1, round(fault.seconds)), used)
        if fault := self._faults.strike("rest_418"):
            raise banned(max(1, round(fault.seconds)))
        if self._faults.strike("rest_500"):
            raise Refused(-1000, "An unknown error occurred while processing the request.", 500)
        if fault := self._faults.strike("rest_timeout"):
            await asyncio.sleep(fault.seconds)
            if request.transport is not None:
                request.transport.abort()


def _json(text: str, status: int, headers: Any) -> web.Response:
    return web.Response(text=text, status=status, headers=headers, content_type="application/json")
