"""WebSocket libraries behind one port: each opens a socket that hands its messages to a feed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

from quantstream.binance.feed import BinanceFeed
from quantstream.binance.protocols import Socket

Library = Literal["websockets", "picows"]
OpenSocket = Callable[[str, BinanceFeed], Awaitable[Socket]]


def opener(library: Library) -> OpenSocket:
    """Return what opens a socket with the library; only that library is imported."""
    if library == "picows":
        from quantstream.binance.transports import picows

        return picows.open_socket
    from quantstream.binance.transports import websockets

    return websockets.open_socket
