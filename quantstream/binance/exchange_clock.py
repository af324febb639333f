"""The exchange's clock: as last read, which is certain, and as it must stand now, which is estimated."""

from __future__ import annotations

import time
from collections.abc import Callable

from quantstream.core.time import LATEST, SECOND

STALE = 30.0  # seconds after a reading in which it says nothing of the present any more
SLACK = 60  # seconds of ours by which a reading may have been late: a busy machine, a slow line


class MarketClock:
    """Times in µs by the exchange. A simulated one runs faster than ours, so its speed is measured."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.at = 0  # as last read; 0: never
        self._monotonic = monotonic
        self._read_at = 0.0
        self._first: tuple[int, float] | None = None

    def read(self, at: int) -> None:
        """Note a reading that was just made."""
        self._read_at = self._monotonic()
        self._first = self._first or (at, self._read_at)
        self.at = max(at, self.at)

    @property
    def speed(self) -> float:
        """Exchange seconds in one of ours."""
        if self._first is None or self._read_at - self._first[1] < 1:
            return 1.0
        return (self.at - self._first[0]) / 1e6 / (self._read_at - self._first[1])

    def now(self) -> int:
        """Return the estimate for this moment; 0 before the first reading."""
        return self.at and self.at + int((self._monotonic() - self._read_at) * self.speed * 1e6)

    def horizon(self, ahead: int, wall: int) -> int:
        """Return the time after which nothing can have happened yet, µs: `ahead` of this clock, and of the `wall`'s.

        Never too early: a clock that was not read for a second at least, or not lately, gives none (2100).
        """
        read_for = 0.0 if self._first is None else self._read_at - self._first[1]
        if read_for < 1 or self._monotonic() - self._read_at > STALE:
            return LATEST
        return max(self.now() + int(SLACK * self.speed * SECOND), wall) + ahead
