"""The exchange's clock and the market it belongs to, on disk, so that a restart resumes the same market and never goes back.

What is written is not the time but a lease: a time a little ahead, which the clock does not pass before the next one is written.
A killed exchange resumes at the end of its lease; what traded in between was an outage, and can be asked for over REST.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from quantstream.core.errors import Misconfigured
from quantstream.core.time import SECOND
from quantstream.files import write_whole
from streaming.exchange.clock import Clock

WRITE_EVERY = 0.5  # seconds of wall time
LEASE = 2.0  # seconds of wall time ahead: four writes may be late before the clock has to wait


class Saved(msgspec.Struct, frozen=True):
    """What the file holds: the market's identity (its kind and what decides it) and the time it may resume at, µs."""

    market: dict[str, str | int | float]
    at: int


def read_clock(path: Path) -> Saved | None:
    """Return what an earlier run left, or None for a missing or empty file.

    Raises: Misconfigured when the file is something else.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Misconfigured(f"the clock file {path} cannot be read ({error.strerror}); name another") from None
    if not raw.strip():
        return None
    try:
        return msgspec.json.decode(raw, type=Saved)
    except msgspec.MsgspecError as error:
        raise Misconfigured(f"{path} is not an exchange's clock file ({error}); remove it or name another") from None


def write_clock(path: Path, saved: Saved) -> None:
    """Replace the file in one step, so that a crash leaves the old one or the new one.

    Raises: Misconfigured when its folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, msgspec.json.encode(saved))
    except OSError as error:
        raise Misconfigured(f"the clock file {path} cannot be written ({error.strerror}); name another") from None


class Keeper:
    """Keeps a clock's file ahead of it."""

    def __init__(self, clock: Clock, path: Path, market: dict[str, str | int | float]) -> None:
        """Take the first lease.

        Raises: Misconfigured when the file cannot be written.
        """
        self._clock = clock
        self._path = path
        self._market = market
        self._extend()

    async def run(self) -> None:
        """Extend the lease for ever.

        Raises: Misconfigured when the file can no longer be written: the clock would stand still unnoticed.
        """
        while True:
            await asyncio.sleep(WRITE_EVERY)
            self._extend()

    def finish(self) -> None:
        """Write the time itself: a clean end needs no margin."""
        write_clock(self._path, Saved(self._market, self._clock.now()))

    def _extend(self) -> None:
        lease = self._clock.now() + int(LEASE * self._clock.speed * SECOND)
        write_clock(self._path, Saved(self._market, lease))
        self._clock.lease_until(lease)
