"""Keeps to "at most so many in so long": what the exchange allows a connection and an address.

Source of the limits: github.com/binance/binance-spot-api-docs, web-socket-streams.md ("5 incoming messages per second",
"300 connections per attempt every 5 minutes per IP") and rest-api.md (request weight a minute).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

ATTEMPTS, ATTEMPTS_WINDOW = 280, 300.0  # of 300: a person may try something from the same address
MESSAGES, MESSAGES_WINDOW = 4, 1.0  # of 5: the answers to the exchange's own pings count as well
WEIGHT_SHARE = 0.9  # of the allowed weight: others at the same address need some


class Pace:
    """At most `count` turns within any `window` seconds; later ones wait."""

    def __init__(self, count: int, window: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.window = window
        self._clock = clock
        self._turns: deque[float] = deque(maxlen=count)

    def reserve(self) -> float:
        """Take the next turn and return in how many seconds it is."""
        now = self._clock()
        is_full = len(self._turns) == self._turns.maxlen
        at = max(now, self._turns[0] + self.window) if is_full else now
        self._turns.append(at)
        return at - now

    async def turn(self) -> None:
        """Return when it is one's turn."""
        if (wait := self.reserve()) > 0:
            await asyncio.sleep(wait)


class Weight:
    """The request weight used at one host in this minute, as the exchange counts it, with what is under way."""

    def __init__(self, limit: int, wall: Callable[[], float] = time.time) -> None:
        """`limit` is the exchange's weight a minute; `wall` the clock, in seconds."""
        self.most = int(limit * WEIGHT_SHARE)
        self._wall = wall
        self._minute = -1
        self._used = 0

    @property
    def used(self) -> int:
        """Weight used in this minute."""
        return self._used if int(self._wall() // 60) == self._minute else 0

    def reserve(self, weight: int, spare: float = 0.0) -> float:
        """Count a request and return 0, or count nothing and return the seconds until the next minute.

        `spare` is the share of the weight that this request leaves to those that must not wait.
        """
        now = self._wall()
        if int(now // 60) != self._minute:
            self._minute, self._used = int(now // 60), 0
        if self._used and self._used + weight > self.most * (1 - spare):
            return 60.0 - now % 60
        self._used += weight
        return 0.0

    def told(self, used: int) -> None:
        """Take the exchange's own count, which knows of others at the same address."""
        if int(self._wall() // 60) == self._minute:
            self._used = max(self._used, used)

    async def spend(self, weight: int, spare: float = 0.0) -> None:
        """Return when a request of this weight may be sent."""
        while (wait := self.reserve(weight, spare)) > 0:  # noqa: ASYNC110 (others may have taken the next minute's)
            await asyncio.sleep(wait)
