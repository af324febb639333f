"""Request weights: what each endpoint costs, and how much of a minute's allowance an address has used.

Figures: github.com/binance/binance-spot-api-docs, rest-api.md.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping

from streaming.exchange.error_answers import Refused

LIMIT_A_MINUTE = 6000
REFUSALS = 10  # answers of 429 in a minute, after which an address is banned
BAN = 120.0  # seconds; the real one bans from two minutes to three days
ATTEMPTS, ATTEMPTS_WINDOW = 300, 300.0  # connection attempts by address, in seconds
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
    if endpoint in ("ticker", "ticker/tradingDay"):
        return min(200, 4 * (query["symbols"].count(",") + 1 if "symbols" in query else 1))
    if endpoint in ("ticker/price", "ticker/bookTicker"):
        return 2 if "symbol" in query else 4
    if endpoint == "ticker/24hr":
        count = 1 if "symbol" in query else query["symbols"].count(",") + 1 if "symbols" in query else 1000
        return next((weight for most, weight in _BY_SYMBOLS if count <= most), 80)
    return 1


class Allowance:
    """The weight used by each address in the current minute of the wall clock; who does not stop when told is banned."""

    def __init__(self, limit: int = LIMIT_A_MINUTE, wall: Callable[[], float] = time.time) -> None:
        self.limit = limit
        self._wall = wall
        self._minute = -1
        self._used: dict[str, int] = {}
        self._refused: dict[str, int] = {}
        self._banned_until: dict[str, float] = {}

    def use(self, address: str, weight: int) -> int:
        """Count a request and return the weight used so far in this minute.

        Raises: Refused with `Retry-After`: 429 beyond the limit, 418 for an address that went on after that.
        """
        now = self._wall()
        if (left := self._banned_until.get(address, 0.0) - now) > 0:
            raise banned(math.ceil(left), self._used.get(address, 0))
        if int(now // 60) != self._minute:
            self._minute = int(now // 60)
            self._used.clear()
            self._refused.clear()
        used = self._used[address] = self._used.get(address, 0) + weight
        if used <= self.limit:
            return used
        refused = self._refused[address] = self._refused.get(address, 0) + 1
        if refused > REFUSALS:
            self._banned_until[address] = now + BAN
            raise banned(math.ceil(BAN), used)
        raise too_much(self.limit, math.ceil(60 - now % 60), used)


class Attempts:
    """How often each address tried to connect lately."""

    def __init__(
        self, limit: int = ATTEMPTS, window: float = ATTEMPTS_WINDOW, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`window` in seconds."""
        self._limit, self._window, self._clock = limit, window, clock
        self._tried: dict[str, deque[float]] = {}

    def count(self, address: str) -> None:
        """Count an attempt.

        Raises: Refused with 429 beyond the limit.
        """
        now = self._clock()
        tried = self._tried.setdefault(address, deque())
        while tried and tried[0] <= now - self._window:
            tried.popleft()
        tried.append(now)
        if len(tried) > self._limit:
            raise Refused(-1003, "Too many connection attempts.", 429, {"Retry-After": str(math.ceil(self._window))})


def used_weight(used: int) -> dict[str, str]:
    """Return the headers that tell an address, in every answer, what it has used in this minute."""
    return {"X-MBX-USED-WEIGHT": str(used), "X-MBX-USED-WEIGHT-1M": str(used)}


def banned(retry_after: int, used: int) -> Refused:
    """Return the refusal of an address that went on asking after it was told to stop."""
    message = (
        "Way too much request weight used; IP banned. Please use WebSocket Streams for live updates to avoid bans."
    )
    return Refused(-1003, message, 418, {"Retry-After": str(retry_after), **used_weight(used)})


def too_much(limit: int, retry_after: int, used: int) -> Refused:
    """Return the refusal of an address that asked for too much."""
    message = (
        f"Too much request weight used; current limit is {limit} request weight per 1 MINUTE. "
        "Please use WebSocket Streams for live updates to avoid polling the API."
    )
    return Refused(-1003, message, 429, {"Retry-After": str(retry_after), **used_weight(used)})
