"""One client's WebSocket: what it listens to, what waits to be sent to it in order, and the rules it must keep.

Answers to requests and to the client's pings wait in the same line as market events, so that a pong says: everything before it
was sent. The exchange's own pings do not wait.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass

from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from streaming.exchange.streams.stream_names import Route
from streaming.exchange.streams.stream_requests import Subscriptions

STALL_STEP = 0.01  # seconds
BATCH = 500  # frames sent before other tasks get a turn


@dataclass(frozen=True, slots=True)
class Rules:
    """The real exchange's rules for a connection, times in seconds of the wall's clock; tests shorten them."""

    ping_every: float = 20.0
    pong_within: float = 60.0
    lifetime: float = 24 * 3600.0
    shutdown_notice: float = 600.0
    messages_per_second: int = 5
    attempts: int = 300
    attempts_within: float = 300.0
    backlog: int = 200_000  # frames that may wait for a slow client before it is cut


class Event:
    """A market event to be sent to many: encoded once for each form that someone listens in."""

    __slots__ = ("_combined", "_raw", "stream")

    def __init__(self, stream: str, raw: dict[int, str]) -> None:
        """`raw` holds the event's JSON by unit of time."""
        self.stream = stream
        self._raw = raw
        self._combined: dict[int, str] = {}

    def text(self, unit: int, combined: bool) -> str:
        """Return the frame for a connection that wants this unit of time, wrapped or not."""
        if not combined:
            return self._raw[unit]
        if unit not in self._combined:
            self._combined[unit] = f'{{"stream":"{self.stream}","data":{self._raw[unit]}}}'
        return self._combined[unit]

    def broken(self) -> Event:
        """Return this event as a frame that was cut in half."""
        return _Broken(self.stream, self._raw)


class _Broken(Event):
    __slots__ = ()

    def text(self, unit: int, combined: bool) -> str:
        whole = super().text(unit, combined)
        return whole[: len(whole) // 2]


class Connection:
    """One client. `unit` is its unit of time, `route` the one of the futures' addresses that it came to."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        subscriptions: Subscriptions,
        unit: int,
        rules: Rules,
        route: Route | None = None,
    ) -> None:
        self.route = route
        self.subscriptions = subscriptions
        self.unit = unit
        self._socket = socket
        self._rules = rules
        self._waiting: deque[str | bytes] = deque()  # text frames, and payloads of pongs
        self._wake = asyncio.Event()
        self._arrivals: deque[float] = deque(maxlen=rules.messages_per_second + 1)
        self._pinged: dict[bytes, float] = {}
        self._stalled_until = 0.0
        self._pings_in_stall = True
        self._transport: asyncio.BaseTransport | None = None

    def attach(self, transport: asyncio.BaseTransport | None) -> None:
        """Take the transport that `abort` cuts."""
        self._transport = transport

    def send(self, frame: str) -> None:
        """Put a text frame in the line."""
        self._waiting.append(frame)
        self._wake.set()
        if len(self._waiting) > self._rules.backlog:
            self.abort()

    def send_event(self, event: Event) -> None:
        """Put an event in the line, in this connection's form."""
        self.send(event.text(self.unit, self.subscriptions.combined))

    def abort(self) -> None:
        """Cut the connection as a broken line would, without a close frame."""
        self._waiting.clear()
        if isinstance(self._transport, asyncio.Transport):
            self._transport.abort()

    def stall(self, seconds: float, pings: bool) -> None:
        """Send nothing for a while; pings only if said."""
        self._stalled_until = time.monotonic() + seconds
        self._pings_in_stall = pings

    async def close(self, code: int, reason: str) -> None:
        """Say goodbye."""
        await self._socket.close(code=code, message=reason.encode())

    async def write(self) -> None:
        """Send what waits, in order, for as long as the connection lives."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._until_no_stall()
                for _ in range(min(BATCH, len(self._waiting))):
                    await self._send_one(self._waiting.popleft())
                await asyncio.sleep(0)

    async def _until_no_stall(self) -> None:
        while time.monotonic() < self._stalled_until:  # noqa: ASYNC110 (the stall may be prolonged meanwhile)
            await asyncio.sleep(STALL_STEP)

    async def _send_one(self, frame: str | bytes) -> None:
        if isinstance(frame, str):
            await self._socket.send_str(frame)
        else:
            await self._socket.pong(frame)

    async def ping(self) -> None:
        """Ping regularly; cut a client that leaves a ping unanswered too long. Unsolicited pongs do not count."""
        while True:
            await asyncio.sleep(self._rules.ping_every)
            now = time.monotonic()
            if self._pinged and now - min(self._pinged.values()) >= self._rules.pong_within:
                await self.close(WSCloseCode.POLICY_VIOLATION, "Pong timeout")
                return
            if now < self._stalled_until and not self._pings_in_stall:
                continue
            payload = str(int(time.time() * 1000)).encode()
            self._pinged[payload] = now
            await self._socket.ping(payload)

    def receive(self, message: WSMessage) -> str | None:
        """Take one incoming message in; return a request's text, if it is one.

        Raises: TooManyMessages beyond the allowed rate.
        """
        now = time.monotonic()
        self._arrivals.append(now)
        if len(self._arrivals) > self._rules.messages_per_second and now - self._arrivals[0] < 1:
            raise TooManyMessages
        if message.type is WSMsgType.PING:
            self._waiting.append(bytes(message.data))
            self._wake.set()
        elif message.type is WSMsgType.PONG and bytes(message.data) in self._pinged:
            answered = self._pinged[bytes(message.data)]
            self._pinged = {payload: at for payload, at in self._pinged.items() if at > answered}
        elif message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
            return message.data if isinstance(message.data, str) else message.data.decode("utf-8", "replace")
        return None


class TooManyMessages(Exception):
    """A client sent more messages a second than the exchange allows."""
