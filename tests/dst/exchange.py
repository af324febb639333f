"""The exchange as ingest meets it, and an event loop on virtual time: connections that break, REST that is away at times."""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from quantstream.binance.protocols import Row
from quantstream.binance.wire import trade_event
from quantstream.core.errors import Unavailable
from quantstream.core.trade import Trade
from tests.dst.market import Market
from tests.dst.simulation import MS, SECOND, Process, Simulation

PAGE = 1000


class _Selector:
    """What the loop waits with: the process stands still until the next timer, or until it is woken."""

    def __init__(self, process: Process) -> None:
        self.process = process

    def select(self, timeout: float | None) -> list[Any]:
        """Wait so long (seconds); nothing ever comes but by timers and by the process itself."""
        if timeout is None or timeout > 0:
            self.process.wait(max(1, int((3600 if timeout is None else timeout) * SECOND)), can_be_woken=True)
        return []

    def close(self) -> None:
        """Nothing to close."""


class Loop(asyncio.BaseEventLoop):
    """An asyncio loop whose time is the world's, inside one process of it."""

    def __init__(self, process: Process) -> None:
        super().__init__()
        self.process = process
        self._selector = _Selector(process)
        self._clock_resolution = 1e-6
        self.set_exception_handler(lambda loop, context: None)

    def time(self) -> float:
        """Return the world's seconds."""
        return self.process.sim.now / SECOND

    def _process_events(self, events: Sequence[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        self.process.wake()


def run(process: Process, work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end on a loop of its own."""
    loop = Loop(process)
    try:
        loop.run_until_complete(work)
    finally:
        if not process.is_dead:
            loop.close()


class Exchange:
    """Streams and REST of one market, for every ingest of a world."""

    def __init__(self, sim: Simulation, market: Market, breaks: bool) -> None:
        """`breaks`: connections end by themselves now and then, REST does not answer at times."""
        self.sim, self.market, self.breaks = sim, market, breaks
        self.times = {symbol: [trade.traded_at for trade in trades] for symbol, trades in market.trades.items()}
        self.away_until = 0

    @property
    def now(self) -> int:
        """Its clock, µs."""
        return self.market.time(self.sim.now)

    def printed(self, symbol: str) -> list[Trade]:
        """Return the trades so far."""
        return self.market.trades[symbol][: bisect_left(self.times[symbol], self.now)]

    async def answers(self) -> None:
        """Take the time of a REST answer.

        Raises: Unavailable.
        """
        await asyncio.sleep(self.sim.latency() / SECOND)
        if self.sim.now < self.away_until or (self.breaks and self.sim.rng.random() < 0.05):
            raise Unavailable("the exchange did not answer")

    async def time(self) -> int:
        await self.answers()
        return self.now

    async def newest_ids(self, symbols: Sequence[str]) -> dict[str, int]:
        await self.answers()
        return {symbol: trades[-1].id if (trades := self.printed(symbol)) else -1 for symbol in symbols}

    def seconds_a_look(self, symbols: int) -> float:
        return 0.5

    def seconds_a_fill(self, symbols: int) -> float:
        return 0.5

    async def latest_trade(self, symbol: str) -> Trade | None:
        await self.answers()
        trades = self.printed(symbol)
        return trades[-1] if trades else None

    async def trades_from(self, symbol: str, trade_id: int) -> list[Row]:
        await self.answers()
        return [(trade, trade_event(trade)) for trade in self.printed(symbol) if trade.id >= trade_id][:PAGE]

    async def aggregates_from(self, symbol: str, aggregate_id: int) -> list[Row]:
        """Each trade is an aggregate of its own here."""
        return await self.trades_from(symbol, aggregate_id)

    async def aggregates_since(self, symbol: str, at: int) -> list[Row]:
        await self.answers()
        return [(trade, trade_event(trade)) for trade in self.printed(symbol) if trade.traded_at >= at][:PAGE]

    def connecting(self, symbols: Sequence[str]) -> Callable[[], Awaitable[Stream]]:
        """Return what opens a connection to the streams of some symbols."""

        async def connect() -> Stream:
            await self.answers()
            return Stream(self, symbols)

        return connect


class Stream:
    """One connection: trades from its beginning on, in order, until it breaks."""

    def __init__(self, exchange: Exchange, symbols: Sequence[str]) -> None:
        self.exchange, self.sim = exchange, exchange.sim
        self.leaving = asyncio.Event()
        self.place = {symbol: bisect_left(exchange.times[symbol], exchange.now) for symbol in symbols}
        rng = self.sim.rng
        life = rng.randrange(2 * SECOND, 40 * SECOND) if exchange.breaks and rng.random() < 0.6 else 1 << 50
        self.ends_at = self.sim.now + life
        self.is_closed = False

    @property
    def waiting(self) -> int:
        return sum(len(self._due(symbol)) for symbol in self.place) if self.is_up else 0

    @property
    def is_up(self) -> bool:
        """Whether it has not broken yet."""
        return not self.is_closed and self.sim.now < self.ends_at

    def _due(self, symbol: str) -> list[Trade]:
        exchange = self.exchange
        return exchange.market.trades[symbol][self.place[symbol] : bisect_left(exchange.times[symbol], exchange.now)]

    async def read(self) -> list[bytes]:
        while self.is_up:
            if frames := self.drain():
                return frames
            await asyncio.sleep(self._pause() / SECOND)
        raise Unavailable("the stream has ended")

    def _pause(self) -> int:
        """Return the time until the next trade, and a little more."""
        exchange = self.exchange
        following = [
            exchange.times[symbol][place] for symbol, place in self.place.items() if place < len(exchange.times[symbol])
        ]
        wait = (min(following) - exchange.now) // exchange.market.speed if following else 5 * SECOND
        return int(max(MS, min(wait, 5 * SECOND))) + self.sim.rng.randrange(200 * MS)

    def drain(self) -> list[bytes]:
        if not self.is_up:
            return []
        found: list[tuple[int, str, Trade]] = []
        for symbol in self.place:
            found += [(trade.traded_at, symbol, trade) for trade in self._due(symbol)]
            self.place[symbol] += len(self._due(symbol))
        found.sort(key=lambda item: item[:2])
        return [b'{"stream":"%s@trade","data":%s}' % (s.lower().encode(), trade_event(t)) for _, s, t in found]

    async def barrier(self) -> None:
        await asyncio.sleep(self.sim.latency() / SECOND)
        if not self.is_up:
            raise Unavailable("the stream has ended")

    async def close(self) -> None:
        self.is_closed = True


def seeded(rng: random.Random) -> random.Random:
    """Return chance of its own for a process, drawn from the world's."""
    return random.Random(rng.getrandbits(64))
