"""The exchange's own clock: it may run faster than the wall, may wait for its first listener, and never goes back."""

from __future__ import annotations

import time
from collections.abc import Callable

from quantstream.core.time import SECOND


class Clock:
    """Exchange time in µs: `starts_at` plus the elapsed wall time × `speed`, up to `ends_at` and never past the lease.

    Until `start` is called it stands still. A lease (see `clockfile`) is how far the clock may go before that was written down.
    """

    def __init__(
        self,
        starts_at: int,
        speed: float = 1.0,
        ends_at: int | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.speed = speed
        self._starts_at = starts_at
        self._ends_at = ends_at
        self._monotonic = monotonic
        self._started: float | None = None
        self._lease: int | None = None

    @property
    def is_running(self) -> bool:
        """Whether it was started."""
        return self._started is not None

    def start(self) -> None:
        """Let the time begin to pass; once started it goes on."""
        if self._started is None:
            self._started = self._monotonic()

    def now(self) -> int:
        """Return the exchange's time in µs."""
        if self._started is None:
            return self._starts_at
        at = self._starts_at + int((self._monotonic() - self._started) * self.speed * SECOND)
        limits = [limit for limit in (self._ends_at, self._lease) if limit is not None]
        return min([at, *limits])

    def lease_until(self, at: int) -> None:
        """Allow the clock to go up to `at`."""
        self._lease = at if self._lease is None else max(at, self._lease)
