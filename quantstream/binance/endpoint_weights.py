"""What each request weighs, and how much weight the exchange allows an address in a minute.

Sources: github.com/binance/binance-spot-api-docs, rest-api.md; developers.binance.com, derivatives, USDⓈ-M futures, market data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec

SPOT_API = "/api/v3"
ROWS = 1000  # rows of one answer, of trades and klines alike: weights below are those of a full one
TICKER = "/ticker/24hr"  # tells the newest trade's id of many symbols at once
TICKER_SYMBOLS, TICKER_WEIGHT, TICKER_OF_ALL = 20, 2, 80  # spot: symbols in one request, its weight, and that of all
MOST_TICKERS = 10  # requests, before that of all is quicker
FUTURES_TICKER_OF_ALL = 40  # futures: 1 for one symbol
UNITED_STATES = 1200  # a minute at hosts of binance.us


def is_american(host: str | None) -> bool:
    """Tell whether a host is one of binance.us, an exchange of its own with rules of its own."""
    return f".{host}".endswith(".binance.us")


@dataclass(frozen=True)
class Market:
    """The figures of spot or of USD-M futures: the weight of each path, and the weight allowed a minute."""

    weights: Mapping[str, int]
    limit: int

    def limit_at(self, base: str) -> int:
        """Return the weight that the host of a base address allows a minute."""
        return min(self.limit, UNITED_STATES) if is_american(urlsplit(base).hostname) else self.limit


SPOT = Market({"/time": 1, "/aggTrades": 4, "/historicalTrades": 25, "/klines": 2, "/exchangeInfo": 20}, 6000)
FUTURES = Market({"/time": 1, "/aggTrades": 20, "/historicalTrades": 200, "/klines": 5, "/exchangeInfo": 1}, 2400)


def market_of(base: str) -> Market:
    """Return the figures for a base address with its path, such as `https://api.binance.com/api/v3`."""
    return SPOT if base.endswith(SPOT_API) else FUTURES


def ticker_queries(base: str, symbols: Sequence[str]) -> list[tuple[dict[str, str], int]]:
    """Return the requests that tell who traded last of some symbols, with their weights."""
    if market_of(base) is FUTURES:
        each = [({"symbol": symbol}, 1) for symbol in symbols]
        return each if len(each) < FUTURES_TICKER_OF_ALL else [({}, FUTURES_TICKER_OF_ALL)]
    if len(symbols) > MOST_TICKERS * TICKER_SYMBOLS:
        return [({"type": "MINI"}, TICKER_OF_ALL)]
    parts = [symbols[start : start + TICKER_SYMBOLS] for start in range(0, len(symbols), TICKER_SYMBOLS)]
    names = [msgspec.json.encode(list(part)).decode() for part in parts]
    return [({"symbols": text, "type": "MINI"}, TICKER_WEIGHT) for text in names]
