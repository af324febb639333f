"""One WebSocket connection to the exchange's combined streams, read in batches, whatever library frames its messages.

What the exchange says and how ingest waits for it is here; the socket is an adapter (`quantstream/binance/transports/`): the
`websockets` package unless settings ask for picows, which frames in C.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import quote

from quantstream.binance.protocols import Socket
from quantstream.binance.rate_limits import MESSAGES, MESSAGES_WINDOW, Pace
from quantstream.binance.time_unit import MICROS, PARAMETER, STILL_MS
from quantstream.core.errors import Misconfigured, Unavailable
from quantstream.core.time import MICROSECONDS_FROM

log = logging.getLogger(__name__)
SILENCE = 20.0  # seconds without a byte, though a ping was sent: the line is dead
MAX_WAITING = (
    20_000  # frames that wait, about 5 MB: then the socket is read no further, though one reading of it may bring more
)
MAX_URL = 4_000  # characters: servers refuse request lines of more than 8,190
ADDRESS_SAFE = "@!"  # of a stream's name; other letters than ASCII are percent-encoded
BATCH = 200  # streams in one SUBSCRIBE
MARKET_EVENT = b'{"stream":'
_EVENT_TIME = re.compile(rb'"E": ?([0-9]{1,18})')


class BinanceFeed:
    """Frames in the order the exchange sent them. `leaving` is set when the exchange announces that it will close."""

    def __init__(self, silence: float = SILENCE, expects_micros: bool = False) -> None:
        """`silence` in seconds: how long a line may be mute, although pinged, before it counts as dead.

        When it `expects_micros` and its first event is in ms, that is said.
        """
        self.leaving = asyncio.Event()
        self.received = 0  # messages of any kind, pongs included
        self._silence, self._expects_micros = silence, expects_micros
        self._pace = Pace(MESSAGES, MESSAGES_WINDOW)
        self._frames: list[bytes] = []
        self._news = asyncio.Event()
        self._replies: dict[int, asyncio.Future[str]] = {}
        self._next = 0
        self._is_paused = False
        self._ended = ""
        self.socket: Socket | None = None

    def arrived(self, payload: bytes) -> None:
        """Put a market event aside until it is read; see to everything else at once."""
        self.received += 1
        if payload.startswith(MARKET_EVENT):
            self._frames.append(payload)
            if len(self._frames) == 1:
                self._news.set()
            elif len(self._frames) > MAX_WAITING and not self._is_paused and self.socket is not None:
                self._is_paused = True
                self.socket.pause()
        else:
            self._other(payload)

    def ended(self, reason: str) -> None:
        """Wake everyone who waits for this connection."""
        self._ended = self._ended or reason
        self._news.set()
        for reply in self._replies.values():
            if not reply.done():
                reply.set_result("")

    @property
    def waiting(self) -> int:
        """How many market events wait to be read."""
        return len(self._frames)

    async def read(self) -> list[bytes]:
        """Return the market events that came since the last call, at least one and no more than `MAX_WAITING`.

        Raises: Unavailable when the connection has ended and all that came was read.
        """
        while not self._frames:
            if self._ended:
                raise Unavailable(self._ended)
            self._news.clear()
            await self._news.wait()
        return self.drain()

    def drain(self) -> list[bytes]:
        """Return the market events that wait, no more than `MAX_WAITING`, without waiting for any."""
        frames, self._frames = self._frames[:MAX_WAITING], self._frames[MAX_WAITING:]
        if self._expects_micros and frames:
            self._expects_micros = False
            _tell_of_ms(frames[0])
        if self._is_paused and not self._frames and self.socket is not None and not self._ended:
            self._is_paused = False
            self.socket.resume()
        return frames

    async def barrier(self) -> None:
        """Return once the exchange answered a ping: all that it had sent before waits to be read, or was read.

        While anything at all arrives the line lives, and so does one that is not read because we are slow.
        Raises: Unavailable.
        """
        await self._pace.turn()
        pong = self._open().ping()
        while not pong.done():
            before = self.received
            await asyncio.wait([pong], timeout=self._silence)
            if not pong.done() and self.received == before and not self._is_paused:
                raise Unavailable(f"the exchange's stream is dead: it answered no ping for {self._silence:g} s")
        if self._ended:
            raise Unavailable(self._ended)

    async def subscribe(self, streams: Sequence[str]) -> None:
        """Listen to more streams, in as many messages and at such a pace as the exchange takes them.

        Raises: Unavailable when it does not answer; Misconfigured when it refuses.
        """
        for start in range(0, len(streams), BATCH):
            await self._pace.turn()
            await self._ask("SUBSCRIBE", streams[start : start + BATCH])

    async def close(self) -> None:
        """Say goodbye, and do not wait long for the answer."""
        if self.socket is not None and not self._ended:
            self._ended = "the stream was closed by us"
            await self.socket.close()

    def _open(self) -> Socket:
        if self._ended or self.socket is None:
            raise Unavailable(self._ended or "the exchange's stream is not open")
        return self.socket

    async def _ask(self, method: str, params: Sequence[str]) -> None:
        socket = self._open()
        self._next += 1
        number = self._next
        reply: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._replies[number] = reply
        request = {"method": method, "params": list(params), "id": number}
        await socket.send(json.dumps(request))
        try:
            refusal = await asyncio.wait_for(reply, self._silence)
        except TimeoutError:
            raise Unavailable(f"the exchange did not answer {method} within {self._silence:g} s") from None
        finally:
            self._replies.pop(number, None)
        if self._ended:
            raise Unavailable(self._ended)
        if refusal:
            raise Misconfigured(f"the exchange refused {method} of {params[0]} and others: {refusal}")

    def _other(self, payload: bytes) -> None:
        """See to what is no market event: replies, and the announcement of the end. The rest is put before the reader."""
        if payload.startswith(b'{"e":"serverShutdown"'):
            self.leaving.set()
            return
        number, refusal = _reply(payload)
        waiting = self._replies.get(number)
        if waiting is not None and not waiting.done():
            waiting.set_result(refusal)
        else:
            self._frames.append(payload)
            self._news.set()


def _reply(payload: bytes) -> tuple[int, str]:
    """Return the request that a frame answers and, when it was refused, the reason; -1 for what is no reply."""
    try:
        reply = json.loads(payload)
        number = reply.get("id")
        is_reply = isinstance(number, int) and ("result" in reply or "error" in reply)
    except (ValueError, AttributeError, RecursionError):
        return -1, ""
    return (number, str(reply.get("error", ""))) if is_reply else (-1, "")


def _tell_of_ms(frame: bytes) -> None:
    found = _EVENT_TIME.search(frame)
    if found is not None and int(found[1]) < MICROSECONDS_FROM:
        log.warning(STILL_MS, extra={"stream": frame[:60].decode(errors="replace")})


async def connect(
    base: str,
    streams: Sequence[str],
    open_socket: Callable[[str, BinanceFeed], Awaitable[Socket]],
    silence: float = SILENCE,
    in_micros: bool = False,
) -> BinanceFeed:
    """Connect to the combined `streams` (`btcusdt@trade`, …): as many as fit by address, the others by request.

    `in_micros`: times are asked for in µs (`time_unit.prints_micros` says where they can be had), else they come in ms.
    Raises: Unavailable when the exchange does not answer; Misconfigured when the address is none, or streams are refused.
    """
    names = [quote(name, safe=ADDRESS_SAFE) for name in streams]
    by_url = url_part(names)
    feed = BinanceFeed(silence, in_micros)
    unit = f"&{PARAMETER}={MICROS}" if in_micros else ""
    feed.socket = await open_socket(f"{base}/stream?streams={'/'.join(names[:by_url])}{unit}", feed)
    try:
        await feed.subscribe(streams[by_url:])
    except BaseException:
        await feed.close()
        raise
    return feed


def url_part(streams: Sequence[str]) -> int:
    """Return how many of the streams an address has room for."""
    length = 0
    for count, name in enumerate(streams):
        length += len(name) + 1
        if length > MAX_URL:
            return count
    return len(streams)
