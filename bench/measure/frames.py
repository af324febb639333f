"""A WebSocket server that sends ready-made combined-stream frames as fast as its client takes them; a process of its own."""

from __future__ import annotations

import asyncio
import os
import struct
from multiprocessing.connection import Connection as Pipe

import uvloop
from picows import WSListener, WSTransport, ws_create_server

from bench.measure.source import events

CHUNK = 500  # frames in one write: about 80 KB
AHEAD = 1 << 20  # bytes that may wait in the socket's buffer before more are made
SYMBOLS = 8


def framed(raw: bytes) -> bytes:
    """Return a text message as the server's WebSocket frame (RFC 6455, 5.2): not masked."""
    length = len(raw)
    head = struct.pack("!BB", 0x81, length) if length < 126 else struct.pack("!BBH", 0x81, 126, length)
    return head + raw


def chunks(trades: int) -> list[bytes]:
    """Return the frames of so many trades of `SYMBOLS` symbols, joined to what is written at once."""
    frames = [
        framed(b'{"stream":"%s@trade","data":%s}' % (symbol.lower().encode(), raw))
        for symbol, raw in events(trades, SYMBOLS)
    ]
    return [b"".join(frames[start : start + CHUNK]) for start in range(0, trades, CHUNK)]


class _Sender(WSListener):
    """Sends everything to one client; pings are answered by the library."""

    def __init__(self, ready: list[bytes]) -> None:
        self._ready = ready
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._task: asyncio.Task[None] | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._task = asyncio.get_running_loop().create_task(self._send(transport))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    async def _send(self, transport: WSTransport) -> None:
        transport.underlying_transport.set_write_buffer_limits(AHEAD)
        for chunk in self._ready:
            await self._may_write.wait()
            transport.underlying_transport.write(chunk)
            await asyncio.sleep(0)


def serve(trades: int, cores: set[int], port_to: Pipe) -> None:
    """Serve until the process is ended; tell the port once the frames are made. `cores` are those it may use."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    ready = chunks(trades)

    async def run() -> None:
        server = await ws_create_server(lambda _: _Sender(ready), "127.0.0.1", 0, use_aiofastnet=False)
        port_to.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(run())
