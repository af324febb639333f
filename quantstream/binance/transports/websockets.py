"""A socket of the `websockets` package: the one most used and best kept, in Python with its inner loop in C."""

from __future__ import annotations

import asyncio

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from quantstream.binance.feed import BinanceFeed
from quantstream.binance.transports.sentences import OPEN_TIMEOUT, no_address, no_answer
from quantstream.binance.wire import MAX_FRAME
from quantstream.core.errors import Unavailable

QUEUE = 4_096  # frames that the package keeps before it reads no further
GOODBYE = 0.5  # seconds to wait for the other side's


class WebSocket:
    """One connection, read by a task of its own that stands still while the feed is full."""

    def __init__(self, connection: ClientConnection, feed: BinanceFeed) -> None:
        self._connection, self._feed = connection, feed
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._reading = asyncio.create_task(self._read())

    async def send(self, text: str) -> None:
        """Send one message. Raises: Unavailable."""
        try:
            await self._connection.send(text)
        except ConnectionClosed as error:
            raise Unavailable(f"the exchange's stream was cut: {error}") from None

    def ping(self) -> asyncio.Future[None]:
        """Send a ping; what is returned is done when it was answered, or never will be."""
        return asyncio.ensure_future(self._ping())

    def pause(self) -> None:
        """Read no further."""
        self._may_read.clear()

    def resume(self) -> None:
        """Read on."""
        self._may_read.set()

    async def close(self) -> None:
        """End the connection without waiting for the other side."""
        self._reading.cancel()
        await self._connection.close()

    async def _ping(self) -> None:
        try:
            await (await self._connection.ping())
        except ConnectionClosed:
            return  # the reading tells why
        self._feed.received += 1

    async def _read(self) -> None:
        arrived, receive = self._feed.arrived, self._connection.recv
        try:
            while True:
                arrived(await receive(decode=False))
                if not self._may_read.is_set():
                    await self._may_read.wait()
        except ConnectionClosed as error:
            self._feed.ended(f"the exchange's stream was cut: {error}")


async def open_socket(url: str, feed: BinanceFeed) -> WebSocket:
    """Connect and begin to read.

    Raises: Unavailable when nobody answers there; Misconfigured when the address is none.
    """
    try:
        connection = await connect(
            url,
            open_timeout=OPEN_TIMEOUT,
            ping_interval=None,  # the feed pings, and knows a slow reader from a dead line
            close_timeout=GOODBYE,
            max_size=MAX_FRAME,
            max_queue=QUEUE,
            compression=None,
        )
    except InvalidURI:
        raise no_address(url) from None
    except (OSError, TimeoutError, InvalidHandshake) as error:
        raise no_answer(url, error) from None
    return WebSocket(connection, feed)
