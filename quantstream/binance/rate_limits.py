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
    """The one account of a host's request weight: what this process has asked for and what the exchange says was used.

    Every process of an address keeps one, and every answer brings them together: its header counts all that the address
    has used. A ban is a part of it: who asks during one is banned for longer.
    """

    def __init__(
        self,
        limit: int,
        wall: Callable[[], float] = time.time,
        shares: int = 1,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`limit` is the exchange's weight a minute, of which this process may ask for one of `shares` parts.

        `wall` is the clock whose minutes the exchange counts by, `monotonic` the one that bans go by, both in seconds.
        """
        self.allowed = int(limit * WEIGHT_SHARE)
        self.most = self.allowed // shares
        self._wall, self._monotonic = wall, monotonic
        self._minute = -1
        self._used = self._own = 0
        self._shut_until = 0.0

    @property
    def used(self) -> int:
        """Weight that the address has used in this minute, as far as is known."""
        return self._used if int(self._wall() // 60) == self._minute else 0

    def reserve(self, weight: int, spare: float = 0.0) -> float:
        """Count a request and return 0, or count nothing and return the seconds until the next minute.

        `spare` is the share of the weight that this request leaves to those that must not wait.
        """
        now = self._wall()
        if int(now // 60) != self._minute:
            self._minute, self._used, self._own = int(now // 60), 0, 0
        if any(used and used + weight > most * (1 - spare) for used, most in self._bounds()):
            return 60.0 - now % 60
        self._used += weight
        self._own += weight
        return 0.0

    def _bounds(self) -> tuple[tuple[int, int], tuple[int, int]]:
        return (self._used, self.allowed), (self._own, self.most)

    def told(self, used: int) -> None:
        """Take the exchange's own count, which knows of others at the same address."""
        if int(self._wall() // 60) == self._minute:
            self._used = max(self._used, used)

    def shut(self, seconds: float) -> None:
        """Note that the exchange refuses whatever is asked for so long."""
        self._shut_until = max(self._shut_until, self._monotonic() + seconds)

    @property
    def shut_for(self) -> float:
        """Seconds until the exchange may be asked again; 0 when it may now."""
        return max(0.0, self._shut_until - self._monotonic())
