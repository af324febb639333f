"""Rolling day statistics, last prices and a plausible order book of a symbol, all of them from its trades."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from quantstream.market import MINUTE, units_text
from streaming.exchange.candles import DAY, minutes_between
from streaming.exchange.market import Market, latest_trades
from streaming.exchange.refusals import Refused


class Last(NamedTuple):
    """The newest trade of a symbol, 10⁻⁸ and µs."""

    id: int
    price: int
    quantity: int
    at: int


def last_trade(market: Market, symbol: str, now: int) -> Last:
    """Return the newest trade before `now`.

    Raises: Refused when nothing has traded yet.
    """
    for tape, row, _ in latest_trades(market, symbol, 1, now):
        return Last(int(tape.ids[row]), int(tape.price[row]), int(tape.quantity[row]), int(tape.at[row]))
    raise Refused(-1000, f"{symbol} has not traded yet.", 400)


def quotes(market: Market, symbol: str, now: int) -> tuple[int, int]:
    """Return the best bid and ask around the last price: a tick apart, as in a liquid book."""
    tick = market.listings[symbol].tick
    price = last_trade(market, symbol, now).price
    return max(price - tick, tick), max(price, 2 * tick)


def book_quantity(market: Market, symbol: str, price: int, level: int) -> int:
    """Return the quantity at a price level of the invented book: steady for a price, larger further away."""
    lot = market.listings[symbol].lot
    worth = (200 + price % 977 * (1 + level)) * 10**16  # 10⁻¹⁶ of the quote asset
    return max(1, worth // price // lot) * lot


def price_row(market: Market, symbol: str, now: int) -> dict[str, Any]:
    """Return a row of `/ticker/price`."""
    return {"symbol": symbol, "price": units_text(last_trade(market, symbol, now).price)}


def book_row(market: Market, symbol: str, now: int) -> dict[str, Any]:
    """Return a row of `/ticker/bookTicker`."""
    bid, ask = quotes(market, symbol, now)
    return {
        "symbol": symbol,
        "bidPrice": units_text(bid),
        "bidQty": units_text(book_quantity(market, symbol, bid, 0)),
        "askPrice": units_text(ask),
        "askQty": units_text(book_quantity(market, symbol, ask, 0)),
    }


def depth(market: Market, symbol: str, limit: int, now: int) -> dict[str, Any]:
    """Return the answer of `/depth`: an invented book a tick a level around the last price."""
    tick = market.listings[symbol].tick
    bid, ask = quotes(market, symbol, now)
    bids = [price for level in range(limit) if (price := bid - level * tick) > 0]
    asks = [ask + level * tick for level in range(limit)]
    return {
        "lastUpdateId": last_trade(market, symbol, now).id * 10,
        "bids": [[units_text(p), units_text(book_quantity(market, symbol, p, i))] for i, p in enumerate(bids)],
        "asks": [[units_text(p), units_text(book_quantity(market, symbol, p, i))] for i, p in enumerate(asks)],
    }


def day_row(market: Market, symbol: str, now: int, unit: int = 1000) -> dict[str, Any]:
    """Return a row of `/ticker/24hr`: the last day up to `now`, from whole minutes on."""
    start = now - DAY - (now - DAY) % MINUTE
    minutes = minutes_between(market, symbol, start, now)
    try:
        last = last_trade(market, symbol, now)
    except Refused:
        return _no_trades(symbol, start // unit, now // unit)
    volume, quote = int(minutes.volume.sum()), int(minutes.quote_volume.sum())
    prices = (
        [int(minutes.open[0]), int(minutes.high.max()), int(minutes.low.min())] if len(minutes) else [last.price] * 3
    )
    opening, high, low = prices
    change = last.price - opening
    bid_and_ask = {key: value for key, value in book_row(market, symbol, now).items() if key != "symbol"}
    return {
        "symbol": symbol,
        "priceChange": units_text(change),
        "priceChangePercent": f"{100 * change / opening:.3f}",
        "weightedAvgPrice": units_text(quote * 10**8 // volume if volume else last.price),
        "prevClosePrice": units_text(opening),
        "lastPrice": units_text(last.price),
        "lastQty": units_text(last.quantity),
        **bid_and_ask,
        "openPrice": units_text(opening),
        "highPrice": units_text(high),
        "lowPrice": units_text(low),
        "volume": units_text(volume),
        "quoteVolume": units_text(quote),
        "openTime": start // unit,
        "closeTime": now // unit,
        "firstId": int(minutes.first_id[0]) if len(minutes) else -1,
        "lastId": int(minutes.last_id[-1]) if len(minutes) else -1,
        "count": int(np.sum(minutes.trade_count)),
    }


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
    minutes = minutes_between(market, symbol, now - now % MINUTE - 4 * MINUTE, now)
    last = last_trade(market, symbol, now)
    volume = int(minutes.volume.sum())
    price = int(minutes.quote_volume.sum()) * 10**8 // volume if volume else last.price
    return {"mins": 5, "price": units_text(price), "closeTime": last.at // unit}
