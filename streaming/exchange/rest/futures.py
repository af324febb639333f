"""The endpoints of `/fapi/v1`: USD-M futures. Only market trades are given out, so that trade ids skip; aggregate ids do not.

Parameters and answers: developers.binance.com, derivatives, USDS-margined futures, REST API.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from quantstream.core.decimals import UNIT, units_text
from quantstream.core.time import HOUR
from streaming.exchange.error_answers import Refused
from streaming.exchange.formats import futures_wire
from streaming.exchange.formats.spot_wire import MILLISECONDS
from streaming.exchange.market import book
from streaming.exchange.market.listing import Listing
from streaming.exchange.market.market_klines import INTERVALS
from streaming.exchange.market.protocol import Market
from streaming.exchange.market.statistics import last_trade
from streaming.exchange.rest import tickers
from streaming.exchange.rest.endpoints import (
    Asked,
    Endpoint,
    aggregate_spans,
    historical_spans,
    kline_answer,
    ping,
    recent_spans,
    rows_of,
    time,
)

OFF_BOOK_A_MINUTE = 0.05  # insurance fund and auto-deleveraging: some seventy a day and symbol
PERPETUAL = 4_133_404_800_000  # the delivery date of what is never delivered: 2100-12-25
FUTURES_INTERVALS = {name: length for name, length in INTERVALS.items() if name != "1s"}
_WEIGHTS = {"aggTrades": 20, "trades": 5, "historicalTrades": 200}
_BY_KLINES = ((99, 1), (499, 2), (1000, 5))
_BY_DEPTH = ((50, 2), (100, 5), (500, 10))
_TICKERS = {"ticker/24hr": (1, 40), "ticker/price": (1, 2), "ticker/bookTicker": (2, 5)}


def weight_of(endpoint: str, query: Mapping[str, str]) -> int:
    """Return what a request costs."""
    limit = int(query["limit"]) if query.get("limit", "").isdecimal() else 500
    if endpoint in ("klines", "continuousKlines"):
        return next((weight for most, weight in _BY_KLINES if limit <= most), 10)
    if endpoint == "depth":
        return next((weight for most, weight in _BY_DEPTH if limit <= most), 20)
    if endpoint in _TICKERS:
        return _TICKERS[endpoint]["symbol" not in query]
    return _WEIGHTS.get(endpoint, 1)


def _exchange_info(asked: Asked) -> Any:
    asked.query.finish()
    listings = [asked.market.listings[symbol] for symbol in asked.query.listed]
    return futures_info(listings, asked.now, asked.weight_limit, asked.market.begins_at)


def futures_info(listings: Iterable[Listing], now: int, weight_limit: int, listed_at: int) -> dict[str, Any]:
    """Return the rules of the listed contracts; times in µs."""
    symbols = [_contract(listing, listed_at // 1000) for listing in listings]
    assets = dict.fromkeys(symbol["marginAsset"] for symbol in symbols)
    return {
        "timezone": "UTC",
        "serverTime": now // 1000,
        "futuresType": "U_MARGINED",
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": weight_limit},
            {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1200},
        ],
        "exchangeFilters": [],
        "assets": [{"asset": asset, "marginAvailable": True, "autoAssetExchange": "0"} for asset in assets],
        "symbols": symbols,
    }


def _contract(listing: Listing, listed_at: int) -> dict[str, Any]:
    pair, _, delivered = listing.symbol.partition("_")
    tick, lot = _plain(listing.tick), _plain(listing.lot)
    return {
        "symbol": listing.symbol,
        "pair": pair,
        "contractType": "CURRENT_QUARTER" if delivered else "PERPETUAL",
        "deliveryDate": _delivered_at(delivered) if delivered else PERPETUAL,
        "onboardDate": listed_at,
        "status": "TRADING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": listing.base,
        "quoteAsset": listing.quote,
        "marginAsset": listing.quote,
        "pricePrecision": _decimals(listing.tick),
        "quantityPrecision": _decimals(listing.lot),
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "maxMoveOrderLimit": 10_000,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": tick,
                "maxPrice": _plain(listing.tick * 10**8),
                "tickSize": tick,
            },
            {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": _plain(9_000_000 * UNIT), "stepSize": lot},
            {"filterType": "MARKET_LOT_SIZE", "minQty": lot, "maxQty": _plain(100 * UNIT), "stepSize": lot},
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": 10},
            {"filterType": "MIN_NOTIONAL", "notional": "5"},
            {
                "filterType": "PERCENT_PRICE",
                "multiplierUp": "1.0500",
                "multiplierDown": "0.9500",
                "multiplierDecimal": "4",
            },
        ],
        "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
    }


def _delivered_at(day: str) -> int:
    """Return when a contract like BTCUSDT_240628 is delivered, ms: eight in the morning of its day."""
    try:
        return int(datetime.strptime(f"{day} 08 +0000", "%y%m%d %H %z").timestamp() * 1000)
    except ValueError:
        return PERPETUAL


def _decimals(step: int) -> int:
    return max(0, 9 - len(str(step)))


def _plain(units: int) -> str:
    return units_text(units).rstrip("0").rstrip(".")


def _klines(asked: Asked) -> Any:
    return kline_answer(asked, FUTURES_INTERVALS, most=1500)


def _continuous_klines(asked: Asked) -> Any:
    """The klines of a pair's contracts one after the other; there is just the perpetual one here."""
    asked.query.choice("contractType", ("PERPETUAL",))
    asked.query.mandatory("contractType")
    return kline_answer(asked, FUTURES_INTERVALS, most=1500, name="pair")


def _aggregates(asked: Asked) -> Any:
    start, end = asked.query.since("startTime"), asked.query.until("endTime")
    if start is not None and end is not None:
        if start >= end:
            raise Refused(-1023, "Start time is greater than end time.")
        if end - start > HOUR + MILLISECONDS:  # the end is inclusive: an hour between the two is taken
            raise Refused(-1127, "More than 1 hours between startTime and endTime.")
    return futures_wire.aggregate_rows(aggregate_spans(asked), asked.unit)


def _historical_trades(asked: Asked) -> Any:
    """Market data that the futures give out to keys only; any will do here."""
    if not asked.headers.get("X-MBX-APIKEY"):
        raise Refused(-2014, "API-key format invalid.", 401)
    return futures_wire.trade_rows(historical_spans(asked), asked.unit)


def _depth(asked: Asked) -> Any:
    symbol, limit = asked.query.symbol(), asked.query.limit(500, 1000)
    asked.query.finish()
    last, bids, asks = book.snapshot(asked.market, symbol, limit, asked.now)
    now = asked.now // 1000
    return {"lastUpdateId": last.id, "E": now, "T": last.at // 1000, "bids": bids, "asks": asks}


def _price_row(market: Market, symbol: str, now: int) -> dict[str, Any]:
    return tickers.price_row(market, symbol, now) | {"time": last_trade(market, symbol, now).at // 1000}


def _book_row(market: Market, symbol: str, now: int) -> dict[str, Any]:
    last = last_trade(market, symbol, now)
    return tickers.book_row(market, symbol, now) | {"time": last.at // 1000, "lastUpdateId": last.id}


def _ticker(row: Callable[[Market, str, int], dict[str, Any]]) -> Endpoint:
    def answer(asked: Asked) -> Any:
        one = asked.query.symbol() if "symbol" in asked.query.given else None
        asked.query.finish()
        symbols = [one] if one is not None else list(asked.query.listed)
        return rows_of(symbols, one is not None, lambda symbol: row(asked.market, symbol, asked.now))

    return answer


FUTURES: Mapping[str, Endpoint] = {
    "ping": ping,
    "time": time,
    "exchangeInfo": _exchange_info,
    "klines": _klines,
    "continuousKlines": _continuous_klines,
    "aggTrades": _aggregates,
    "historicalTrades": _historical_trades,
    "trades": lambda asked: futures_wire.trade_rows(recent_spans(asked), asked.unit),
    "depth": _depth,
    "ticker/24hr": _ticker(tickers.futures_day_row),
    "ticker/price": _ticker(_price_row),
    "ticker/bookTicker": _ticker(_book_row),
}
