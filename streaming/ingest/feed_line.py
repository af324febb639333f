"""One line of ingest: some symbols and the connection that brings them, which is replaced before it ends.

A replacement is made before the old one is broken: it delivers into its queue while the old one is read to the point where
both have the same, then takes over. Nothing is lost, what both bring is told by its ids.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from prometheus_client import Counter, Gauge

from quantstream.binance import feed as feeds
from quantstream.binance.endpoint_weights import SPOT_API
from quantstream.binance.protocols import Feed
from quantstream.binance.rate_limits import ATTEMPTS, ATTEMPTS_WINDOW, Pace
from quantstream.binance.transports import Library
from quantstream.core.errors import Unavailable
from quantstream.messages.payloads import EventKind
from quantstream.observability.metrics import Metrics
from streaming.ingest.stage import Ingest

log = logging.getLogger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds between attempts that fail
FIRST_REPLACE_PAUSE, LONGEST_REPLACE_PAUSE = 30.0, 600.0  # seconds between replacements for mute streams
LASTING = 30.0  # seconds after which a connection counts as a good one and the back-off starts over
HEARTBEAT_EVERY = 1.0  # seconds
STREAMS_A_LINE = 1_000  # of the 1,024 that a connection may have
JITTER = 0.05  # part of a connection's age by which it may be replaced earlier: lines do not all do so at once


@dataclass(frozen=True)
class Plan:
    """How long a connection is kept (seconds; the exchange ends it after 24 h), and what it and the process are allowed."""

    lifetime: float = 23 * 3600.0
    silence: float = feeds.SILENCE
    api: str = SPOT_API  # which market the streams are of
    socket: Library = "websockets"
    streams: int = STREAMS_A_LINE
    attempts: Pace = field(default_factory=lambda: Pace(ATTEMPTS, ATTEMPTS_WINDOW))
    rng: random.Random = field(default_factory=random.Random)


@dataclass(frozen=True)
class LineMetrics:
    """What is counted of all lines."""

    connections: Gauge
    attempts: Counter
    rotations: Counter
    breaks: Counter
    round_trip: Gauge

    @classmethod
    def declared(cls, metrics: Metrics, shard: str = "1/1") -> LineMetrics:
        """Declare them; once a process. `shard` is the part of the symbols that it follows."""
        return cls(
            metrics.gauge("connections", "connections to the exchange that are up", "shard").labels(shard),
            metrics.counter("connection_attempts_total", "connections tried; 300 in 5 minutes are allowed"),
            metrics.counter("rotations_total", "connections replaced before the exchange ended them"),
            metrics.counter("feed_breaks_total", "connections that broke or could not be made"),
            metrics.gauge("feed_round_trip_seconds", "ping to pong on the exchange's stream", "line"),
        )


class Line:
    """Some of the symbols, and the connection that brings them."""

    def __init__(
        self,
        number: int,
        symbols: Sequence[str],
        ingest: Ingest,
        connect: Callable[[], Awaitable[Feed]],
        plan: Plan,
        counts: LineMetrics,
    ) -> None:
        """`connect` opens a connection to the streams of the symbols."""
        self.number, self.symbols, self.ingest, self.connect, self.plan = number, symbols, ingest, connect, plan
        self.counts = counts
        self.is_up = False
        self._is_told = False
        self._feed: Feed | None = None  # the one that is read
        self._replaced_at, self._replace_pause = 0.0, 0.0  # for bringing nothing

    async def run(self) -> None:
        """Be connected for ever.

        Raises: Misconfigured when the exchange refuses what is asked; Broken when the broker does not take trades.
        """
        loop, pause = asyncio.get_running_loop(), FIRST_PAUSE
        while True:
            started = loop.time()
            try:
                await self._serve(await self._opened())
            except Unavailable as error:
                self._down(str(error))
                pause = FIRST_PAUSE if loop.time() - started > LASTING else min(pause * 2, LONGEST_PAUSE)
                await asyncio.sleep(pause * self.plan.rng.uniform(0.5, 1.0))

    async def _opened(self) -> Feed:
        await self.plan.attempts.turn()
        self.counts.attempts.inc()
        return await self.connect()

    async def _serve(self, feed: Feed) -> None:
        """Read a connection and those that replace it, until one breaks."""
        self._up()
        self.ingest.connected(self.symbols)
        while True:
            feed = await self._until_replaced(feed)

    async def _until_replaced(self, feed: Feed) -> Feed:
        """Read one connection until another is ready to take over; return that one."""
        self._feed = feed
        working = [asyncio.create_task(work) for work in (self._read(feed), self._beat(feed))]
        replacing = asyncio.create_task(self._replacement(feed))
        try:
            await asyncio.wait([*working, replacing], return_when=asyncio.FIRST_COMPLETED)
            for task in working:
                if task.done():
                    await task  # raises what ended it
            new = await replacing
            await self._empty(feed)
            self.counts.rotations.inc()
            log.info("connection replaced", extra={"line": self.number})
        except BaseException:
            await _dismissed(replacing)
            raise
        else:
            return new
        finally:
            self._feed = None
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)
            await feed.close()

    async def _read(self, feed: Feed) -> None:
        while True:
            await self.ingest.room()
            self.ingest.take(await feed.read(), feed)

    async def _empty(self, feed: Feed) -> None:
        """Take in all that waits now."""
        left = feed.waiting
        while left > 0 and (frames := feed.drain()):
            left -= len(frames)
            self.ingest.take(frames, feed)
            await self.ingest.room()

    async def _beat(self, feed: Feed) -> None:
        """Every second say of each whole symbol: all before this exchange time is in the log.

        The time is the one read a round earlier, before a ping that the exchange has answered since: whatever it printed
        by then has arrived, and is taken in here before anything is said.
        """
        earlier = 0
        while True:
            at, started = self.ingest.clock.at, time.monotonic()
            await feed.barrier()
            self.counts.round_trip.labels(str(self.number)).set(time.monotonic() - started)
            if self._has_drained(feed):
                self.ingest.heartbeats(self.symbols, earlier)
                earlier = at
            await asyncio.sleep(HEARTBEAT_EVERY)

    def _has_drained(self, feed: Feed) -> bool:
        """Handle the frames that wait now, if the broker has room, and tell whether none is left."""
        if not self.ingest.log.has_room:
            return False
        self.ingest.take(feed.drain(), feed)
        return not feed.waiting

    async def settled(self) -> bool:
        """Tell whether all frames that the exchange had sent on this line before this call were handled.

        Raises: Unavailable.
        """
        feed = self._feed
        if feed is None:
            return False
        await feed.barrier()
        return feed is self._feed and self._has_drained(feed)

    def replace(self) -> None:
        """Have the connection replaced, because some of its streams bring nothing; attempts that do not help become rarer."""
        now = time.monotonic()
        if now - self._replaced_at > 2 * LONGEST_REPLACE_PAUSE:
            self._replace_pause = 0.0
        if self._feed is not None and now - self._replaced_at >= self._replace_pause:
            self._replaced_at = now
            self._replace_pause = min(max(2 * self._replace_pause, FIRST_REPLACE_PAUSE), LONGEST_REPLACE_PAUSE)
            self._feed.leaving.set()

    async def _replacement(self, feed: Feed) -> Feed:
        """Return a new connection once the old one is old or leaves, and has brought all that the new one did not see."""
        age = self.plan.lifetime * self.plan.rng.uniform(1 - JITTER, 1.0)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(feed.leaving.wait(), age)
        pause = FIRST_PAUSE
        while True:
            try:
                new = await self._opened()
                break
            except Unavailable as error:
                log.warning("no replacement yet", extra={"line": self.number, "reason": str(error)})
                pause = min(pause * 2, LONGEST_PAUSE)
                await asyncio.sleep(pause * self.plan.rng.uniform(0.5, 1.0))
        try:
            await feed.barrier()
        except BaseException:
            await new.close()
            raise
        return new

    def _up(self) -> None:
        self.is_up = True
        self.counts.connections.inc()
        if self._is_told:
            self.ingest.forwarder.event(
                EventKind.FEED_RECOVERED, "the exchange's stream is back", detail=self._detail()
            )
            self._is_told = False

    def _down(self, reason: str) -> None:
        self.counts.breaks.inc()
        log.warning("not connected", extra={"line": self.number, "reason": reason})
        if self.is_up:
            self.counts.connections.dec()
        self.is_up = False
        self.ingest.health.not_ready(reason)
        self.ingest.disconnected(self.symbols)
        if not self._is_told:
            self.ingest.forwarder.event(EventKind.FEED_STALLED, reason, detail=self._detail())
            self._is_told = True

    def _detail(self) -> dict[str, str | int | float]:
        return {"line": self.number, "symbols": len(self.symbols)}


async def _dismissed(replacing: asyncio.Task[Feed]) -> None:
    """Stop looking for a replacement; close it if it was just found."""
    replacing.cancel()
    found = (await asyncio.gather(replacing, return_exceptions=True))[0]
    if not isinstance(found, BaseException):
        await found.close()
