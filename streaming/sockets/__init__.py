"""WebSocket libraries behind one port: each opens a socket that hands its messages to a feed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

from streaming.feed import BinanceFeed
from streaming.ports import Socket

Library = Literal["websockets", "picows"]
OpenSocket = Callable[[str, BinanceFeed], Awaitable[Socket]]


def opener(library: Library) -> OpenSocket:
    """Return what opens a socket with the library; only that library is imported."""
    if library == "picows":
        from streaming.sockets import with_picows

        return with_picows.open_socket
    from streaming.sockets import with_websockets

    return with_websockets.open_socket
