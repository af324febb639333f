"""Stand-ins for the exchange and the log that keep the protocols of `streaming.ports`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from quantstream.errors import Unavailable
from quantstream.market import Trade
from quantstream.topics import Event
from streaming.binance import trade_event


@dataclass
class FakeHistory:
    """The exchange's REST side over a list of trades."""

    trades: list[Trade]
    now: int = 0
    is_down: bool = False
    calls: list[int] = field(default_factory=list)

    def kind(self) -> str:
        return "restTrade"

    async def time(self) -> int:
        return self.now or self.trades[-1].traded_at

    async def first_trade_since(self, symbol: str, at: int) -> Trade | None:
        return next((trade for trade in self.trades if trade.symbol == symbol and trade.traded_at >= at), None)

    async def trades_from(self, symbol: str, trade_id: int) -> list[tuple[Trade, bytes]]:
        self.calls.append(trade_id)
        if self.is_down:
            raise Unavailable("the exchange is away")
        rows = [trade for trade in self.trades if trade.symbol == symbol and trade.id >= trade_id]
        return [(trade, trade_event(trade)) for trade in rows[:1000]]


@dataclass
class FakeLog:
    """The trades topic in memory."""

    records: list[tuple[str, bytes, str, str]] = field(default_factory=list)
    dead_letters: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def send(self, symbol: str, raw: bytes, kind: str, received_at: int, origin: str) -> None:
        self.records.append((symbol, raw, kind, origin))

    def dead(self, source: str, reason: str, raw: bytes) -> None:
        self.dead_letters.append(reason)

    def event(self, event: Event) -> None:
        self.events.append(event)


class FakeFeed:
    """A connection that yields what is put into it, until `cut`."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()

    def put(self, *trades: Trade) -> None:
        for trade in trades:
            self.queue.put_nowait(frame(trade))

    def cut(self) -> None:
        self.queue.put_nowait(None)

    async def frames(self) -> AsyncIterator[bytes]:
        while (item := await self.queue.get()) is not None:
            yield item
        raise Unavailable("cut")

    async def barrier(self) -> None:
        await asyncio.sleep(0)


def frame(trade: Trade) -> bytes:
    return b'{"stream":"%s@trade","data":%s}' % (trade.symbol.lower().encode(), trade_event(trade))
