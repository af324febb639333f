"""Stand-ins for the exchange and the log that keep the protocols of `quantstream.binance.protocols`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from msgspec.structs import replace

from quantstream.binance.protocols import NotOffered, Row
from quantstream.binance.wire import aggregate_row, trade_event
from quantstream.core.errors import Unavailable
from quantstream.core.trade import Trade
from quantstream.messages.payloads import Event
from streaming.ingest.feed_line import Plan
from streaming.ingest.feed_lines import keep_lines
from streaming.ingest.overlaps import alike
from streaming.ingest.stage import Ingest


def aggregated(trades: Sequence[Trade]) -> list[Trade]:
    """Return the aggregates of single trades: neighbours of one price, side and time."""
    found: list[Trade] = []
    for trade in trades:
        last = found[-1] if found else None
        if last and alike(last, trade) and last.last_trade_id + 1 == trade.id:
            found[-1] = replace(last, last_trade_id=trade.id, quantity=last.quantity + trade.quantity)
        else:
            found.append(replace(trade, id=1_000_000 + len(found)))
    return found


@dataclass
class FakeHistory:
    """The exchange's REST side over a list of single trades; `singles` off is a market-data-only host."""

    trades: list[Trade]
    now: int = 0
    is_down: bool = False
    singles: bool = True
    calls: list[tuple[str, int]] = field(default_factory=list)

    async def time(self) -> int:
        return self.now or self.trades[-1].traded_at

    async def latest_trade(self, symbol: str) -> Trade | None:
        self._called("latest", 0)
        mine = [trade for trade in self.trades if trade.symbol == symbol] if self.singles else self._aggregates(symbol)
        return mine[-1] if mine else None

    async def newest_ids(self, symbols: Sequence[str]) -> dict[str, int]:
        self._called("newest", len(symbols))
        newest = {trade.symbol: trade.last_trade_id for trade in self.trades}
        return {symbol: newest[symbol] for symbol in symbols if symbol in newest}

    def seconds_a_look(self, symbols: int) -> float:
        return 0.0

    seconds_a_fill = seconds_a_look

    async def trades_from(self, symbol: str, trade_id: int) -> list[Row]:
        self._called("trades", trade_id)
        if not self.singles:
            raise NotOffered("no single trades here")
        rows = [trade for trade in self.trades if trade.symbol == symbol and trade.id >= trade_id]
        return [(trade, trade_event(trade)) for trade in rows[:1000]]

    async def aggregates_from(self, symbol: str, aggregate_id: int) -> list[Row]:
        self._called("aggregates", aggregate_id)
        return self._rows([row for row in self._aggregates(symbol) if row.id >= aggregate_id])

    async def aggregates_since(self, symbol: str, at: int) -> list[Row]:
        self._called("since", at)
        return self._rows([row for row in self._aggregates(symbol) if row.traded_at >= at])

    def _aggregates(self, symbol: str) -> list[Trade]:
        return aggregated([trade for trade in self.trades if trade.symbol == symbol])

    def _rows(self, found: list[Trade]) -> list[Row]:
        return [(trade, aggregate_row(trade)) for trade in found[:1000]]

    def _called(self, what: str, number: int) -> None:
        self.calls.append((what, number))
        if self.is_down:
            raise Unavailable("the exchange is away")


@dataclass
class FakeLog:
    """The trades topic in memory; `open` lets no more in when it is not set."""

    records: list[tuple[str, bytes, str, str]] = field(default_factory=list)
    dead_letters: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.open.set()

    @property
    def has_room(self) -> bool:
        return self.open.is_set()

    async def room(self) -> None:
        await self.open.wait()

    def send(self, symbol: str, raw: bytes, kind: str, received_at: int, origin: str) -> None:
        self.records.append((symbol, raw, kind, origin))

    def dead(self, source: str, reason: str, raw: bytes) -> None:
        self.dead_letters.append(reason)

    def event(self, event: Event) -> None:
        self.events.append(event)

    def told(self) -> list[str]:
        """Return the kinds of the events."""
        return [event.kind for event in self.events]


class FakeFeed:
    """A connection that yields what is put into it, `most` frames at a time, until `cut`."""

    def __init__(self, most: int = 1_000) -> None:
        self.most = most
        self.leaving = asyncio.Event()
        self.is_cut = self.is_closed = False
        self._frames: list[bytes] = []
        self._news = asyncio.Event()

    def put(self, *trades: Trade) -> None:
        for trade in trades:
            self.put_raw(frame(trade))

    def put_raw(self, raw: bytes) -> None:
        self._frames.append(raw)
        self._news.set()

    def cut(self) -> None:
        self.is_cut = True
        self._news.set()

    @property
    def waiting(self) -> int:
        return len(self._frames)

    async def read(self) -> list[bytes]:
        while not self._frames:
            if self.is_cut:
                raise Unavailable("cut")
            self._news.clear()
            await self._news.wait()
        return self.drain()

    def drain(self) -> list[bytes]:
        frames, self._frames = self._frames[: self.most], self._frames[self.most :]
        return frames

    async def barrier(self) -> None:
        await asyncio.sleep(0)
        if self.is_cut:
            raise Unavailable("cut")

    async def close(self) -> None:
        self.is_closed = True
        self.cut()


@asynccontextmanager
async def connected(ingest: Ingest, feeds: Sequence[FakeFeed], plan: Plan | None = None) -> AsyncIterator[None]:
    """Run ingest over one connection after another; when the last is used up, no other can be made."""
    stop, left = threading.Event(), list(feeds)

    async def connect() -> FakeFeed:
        if not left:
            raise Unavailable("no more connections")
        return left.pop(0)

    task = asyncio.create_task(keep_lines(ingest, lambda symbols: connect, stop, plan or Plan()))
    try:
        yield
    finally:
        stop.set()
        await task


def frame(trade: Trade) -> bytes:
    return b'{"stream":"%s@trade","data":%s}' % (trade.symbol.lower().encode(), trade_event(trade))
