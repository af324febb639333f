"""A socket of picows, which frames messages in C: for feeds so busy that framing them is what costs most."""

from __future__ import annotations

import asyncio
from typing import cast

from picows import WSError, WSFrame, WSInvalidURL, WSListener, WSMsgType, WSTransport, ws_connect

from quantstream.binance.feed import BinanceFeed
from quantstream.binance.transports.sentences import OPEN_TIMEOUT, no_address, no_answer
from quantstream.binance.wire import MAX_FRAME

DATA = (WSMsgType.TEXT, WSMsgType.BINARY)


class PicowsSocket(WSListener):
    """One connection; its messages come as calls from the event loop's reading."""

    def __init__(self, feed: BinanceFeed) -> None:
        self._feed = feed
        self._parts: list[bytes] = []
        self._pongs: dict[bytes, asyncio.Future[None]] = {}
        self._next = 0
        self._why = "the exchange's stream was cut"
        self._transport: WSTransport | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Take the transport."""
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Hand a whole message on; see to everything else at once."""
        kind = frame.msg_type
        if kind in DATA and frame.fin:
            self._feed.arrived(frame.get_payload_as_bytes())
        else:
            self._control(transport, frame, kind)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Wake everyone who waits for this connection."""
        self._feed.ended(self._why)
        for pong in self._pongs.values():
            if not pong.done():
                pong.set_result(None)

    async def send(self, text: str) -> None:
        """Send one message."""
        if self._transport is not None:
            self._transport.send(WSMsgType.TEXT, text.encode())

    def ping(self) -> asyncio.Future[None]:
        """Send a ping; what is returned is done when it was answered, or never will be."""
        pong: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._next += 1
        payload = str(self._next).encode()
        self._pongs[payload] = pong
        if self._transport is not None:
            self._transport.send_ping(payload)
        return pong

    def pause(self) -> None:
        """Read no further."""
        if self._transport is not None:
            self._transport.underlying_transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._transport is not None:
            self._transport.underlying_transport.resume_reading()

    async def close(self) -> None:
        """Say goodbye without waiting for the answer."""
        if self._transport is not None:
            self._transport.send_close()
            self._transport.disconnect()

    def _control(self, transport: WSTransport, frame: WSFrame, kind: WSMsgType) -> None:
        if kind is WSMsgType.PONG:
            self._feed.received += 1
            pong = self._pongs.pop(frame.get_payload_as_bytes(), None)
            if pong is not None and not pong.done():
                pong.set_result(None)
        elif kind is WSMsgType.CLOSE:
            self._why = f"the exchange closed the stream: {frame.get_close_code()} {frame.get_close_reason()}"
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        elif kind in DATA or kind is WSMsgType.CONTINUATION:
            self._join(frame)

    def _join(self, frame: WSFrame) -> None:
        """Put a message together that came in parts; the exchange sends none, a proxy between may."""
        self._parts.append(frame.get_payload_as_bytes())
        if sum(map(len, self._parts)) > MAX_FRAME:
            raise ValueError("a message in parts grows beyond any that the exchange sends")
        if frame.fin:
            whole, self._parts = b"".join(self._parts), []
            self._feed.arrived(whole)


async def open_socket(url: str, feed: BinanceFeed) -> PicowsSocket:
    """Connect and begin to read.

    Raises: Unavailable when nobody answers there; Misconfigured when the address is none.
    """
    try:
        _, listener = await ws_connect(
            lambda: PicowsSocket(feed),
            url,
            websocket_handshake_timeout=OPEN_TIMEOUT,
            max_frame_size=MAX_FRAME,
            logger_name="feed",
        )
    except (ValueError, WSInvalidURL):
        raise no_address(url) from None
    except (OSError, TimeoutError, WSError) as error:
        raise no_answer(url, error) from None
    return cast(PicowsSocket, listener)
