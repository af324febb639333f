"""The exchange's clock: as last read, which is certain, and as it must stand now, which is estimated."""

from __future__ import annotations

import time
from collections.abc import Callable


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
