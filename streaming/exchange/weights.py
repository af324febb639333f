"""Request weights: what each endpoint costs, and how much of a minute's allowance an address has used.

Figures: github.com/binance/binance-spot-api-docs, rest-api.md.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

from streaming.exchange.refusals import Refused

LIMIT_A_MINUTE = 6000
FIXED = {
    "ping": 1,
    "time": 1,
    "exchangeInfo": 20,
    "trades": 25,
    "historicalTrades": 25,
    "aggTrades": 4,
    "klines": 2,
    "uiKlines": 2,
    "avgPrice": 2,
}
_BY_DEPTH = ((100, 5), (500, 25), (1000, 50))
_BY_SYMBOLS = ((20, 2), (100, 40))


def weight_of(endpoint: str, query: Mapping[str, str]) -> int:
    """Return what a request costs."""
    if endpoint in FIXED:
        return FIXED[endpoint]
    if endpoint == "depth":
        limit = int(query["limit"]) if query.get("limit", "").isdecimal() else 100
        return next((weight for most, weight in _BY_DEPTH if limit <= most), 250)
    if endpoint in ("ticker/price", "ticker/bookTicker"):
        return 2 if "symbol" in query else 4
    if endpoint == "ticker/24hr":
        count = 1 if "symbol" in query else query["symbols"].count(",") + 1 if "symbols" in query else 1000
        return next((weight for most, weight in _BY_SYMBOLS if count <= most), 80)
    return 1


class Allowance:
    """The weight used by each address in the current minute of the wall clock."""

    def __init__(self, limit: int = LIMIT_A_MINUTE, wall: Callable[[], float] = time.time) -> None:
        self.limit = limit
        self._wall = wall
        self._minute = -1
        self._used: dict[str, int] = {}

    def use(self, address: str, weight: int) -> int:
        """Count a request and return the weight used so far in this minute.

        Raises: Refused with 429 and `Retry-After` beyond the limit.
        """
        now = self._wall()
        if int(now // 60) != self._minute:
            self._minute = int(now // 60)
            self._used.clear()
        used = self._used[address] = self._used.get(address, 0) + weight
        if used > self.limit:
            raise too_much(self.limit, math.ceil(60 - now % 60), used)
        return used


def too_much(limit: int, retry_after: int, used: int) -> Refused:
    """Return the refusal of an address that asked for too much."""
    message = (
        f"Too much request weight used; current limit is {limit} request weight per 1 MINUTE. "
        "Please use WebSocket Streams for live updates to avoid polling the API."
    )
    headers = {"Retry-After": str(retry_after), "X-MBX-USED-WEIGHT-1M": str(used), "X-MBX-USED-WEIGHT": str(used)}
    return Refused(-1003, message, 429, headers)
