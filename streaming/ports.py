"""What the stages need of the outside, as protocols: the real adapters and the tests' fakes both keep them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from quantstream.market import Trade
from quantstream.topics import Event


class MarketHistory(Protocol):
    """The exchange's REST side, as far as ingest asks it."""

    async def time(self) -> int:
        """Return the exchange's clock, µs."""
        ...

    async def first_trade_since(self, symbol: str, at: int) -> Trade | None:
        """Return (an aggregate that starts with) the first trade at or after `at` (µs)."""
        ...

    async def trades_from(self, symbol: str, trade_id: int) -> list[tuple[Trade, bytes]]:
        """Return up to 1,000 trades from `trade_id` on, in id order, each with the exchange's own bytes."""
        ...

    def kind(self) -> str:
        """Name the shape of those bytes: restTrade or restAggTrade."""
        ...


class TradeLog(Protocol):
    """The trades topic as ingest writes it."""

    def send(self, symbol: str, raw: bytes, kind: str, received_at: int, origin: str) -> None:
        """Append one record. Raises: Broken when the broker takes no more."""
        ...

    def dead(self, source: str, reason: str, raw: bytes) -> None:
        """Put a record that nobody can parse aside."""
        ...

    def event(self, event: Event) -> None:
        """Tell the operators something."""
        ...


class Feed(Protocol):
    """One live connection to the exchange's streams."""

    def frames(self) -> AsyncIterator[bytes]:
        """Yield raw frames until the connection ends. Raises: Unavailable when it breaks."""
        ...

    async def barrier(self) -> None:
        """Return when everything the exchange had sent before this call has been yielded. Raises: Unavailable."""
        ...
