"""What ingest needs of the exchange, as protocols: the real adapters and the tests' fakes both keep them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from quantstream.core.errors import Misconfigured, Unavailable
from quantstream.core.trade import Trade

Row = tuple[Trade, bytes]  # a trade and the exchange's own bytes of it


class NotOffered(Unavailable):
    """The exchange's host does not offer this at all: asking again does not help, asking otherwise may."""


class UnknownSymbol(Misconfigured):
    """The exchange refuses a symbol: it was misspelt, or is delisted. Others are not concerned."""


class MarketHistory(Protocol):
    """The exchange's REST side, as far as ingest asks it. All raise Unavailable when it does not answer.

    All that ask for one symbol raise UnknownSymbol when the exchange refuses it.
    """

    async def time(self) -> int:
        """Return the exchange's clock, µs."""
        ...

    async def newest_ids(self, symbols: Sequence[str]) -> dict[str, int]:
        """Return the id of the newest single trade of each symbol, -1 when it did not trade for a day.

        One answer for many, soon and cheap, or none: it waits for nothing. Symbols that it cannot tell of are left out.
        """
        ...

    def seconds_a_look(self, symbols: int) -> float:
        """Return how many seconds apart `newest_ids` of so many symbols may be asked for, for good."""
        ...

    def seconds_a_fill(self, symbols: int) -> float:
        """Return how many seconds apart the newest trades of so many symbols may be asked for, for good."""
        ...

    async def latest_trade(self, symbol: str) -> Trade | None:
        """Return the newest aggregate, None when nothing ever traded."""
        ...

    async def trades_from(self, symbol: str, trade_id: int) -> list[Row]:
        """Return up to 1,000 single trades from a trade's id on, in order. Raises: NotOffered."""
        ...

    async def aggregates_from(self, symbol: str, aggregate_id: int) -> list[Row]:
        """Return up to 1,000 aggregates from an aggregate's id on, in order."""
        ...

    async def aggregates_since(self, symbol: str, at: int) -> list[Row]:
        """Return up to 1,000 aggregates from the first one at or after `at` (µs) on, in order."""
        ...


class Feed(Protocol):
    """One live connection to the exchange's streams. `leaving` is set when the exchange announces that it will close."""

    leaving: asyncio.Event

    @property
    def waiting(self) -> int:
        """How many raw frames wait to be read."""
        ...

    async def read(self) -> list[bytes]:
        """Return the raw frames that came, one to some thousands. Raises: Unavailable when the connection has ended."""
        ...

    def drain(self) -> list[bytes]:
        """Return the raw frames that wait, some thousands at most, without waiting."""
        ...

    async def barrier(self) -> None:
        """Return when everything the exchange had sent before this call has come. Raises: Unavailable."""
        ...

    async def close(self) -> None:
        """End the connection."""
        ...


class Socket(Protocol):
    """One open WebSocket, whatever library keeps it; what it receives it hands to the feed it was opened for."""

    async def send(self, text: str) -> None:
        """Send one message. Raises: Unavailable."""
        ...

    def ping(self) -> asyncio.Future[None]:
        """Send a ping; what is returned is done when it was answered, or never will be."""
        ...

    def pause(self) -> None:
        """Read no further: the exchange's bytes wait in the kernel, then at the exchange."""
        ...

    def resume(self) -> None:
        """Read on."""
        ...

    async def close(self) -> None:
        """End the connection without waiting long for the other side."""
        ...
