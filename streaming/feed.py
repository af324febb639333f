"""The exchange's live side: one WebSocket connection to combined streams, and the REST side that repairs it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from quantstream.errors import BadRecord, Misconfigured, Unavailable
from quantstream.market import Trade
from streaming.binance import MAX_FRAME, parse_trade, split_rows

log = logging.getLogger(__name__)
OPEN_TIMEOUT = 10.0  # seconds
SILENCE = 20.0  # seconds between our pings, and for their answer: a dead line is noticed within 40
REST_TIMEOUT = aiohttp.ClientTimeout(total=15)
REST_TRIES = 5
ROWS = 1000  # the exchange's limit for one answer


class BinanceFeed:
    """Frames of combined streams, in the order the exchange sent them."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._barriers: list[asyncio.Future[None]] = []

    async def frames(self) -> AsyncIterator[bytes]:
        """Yield raw frames until the connection ends.

        Raises: Unavailable when it breaks.
        """
        try:
            async for frame in self._connection:
                yield frame if isinstance(frame, bytes) else frame.encode()
        except ConnectionClosed as error:
            raise Unavailable(f"the exchange's stream was cut: {error}") from None
        raise Unavailable("the exchange closed the stream")

    async def barrier(self) -> None:
        """Return once the exchange answered a ping: all it sent before has arrived (and waits at most in our queue).

        Raises: Unavailable.
        """
        try:
            pong = await self._connection.ping()
            await asyncio.wait_for(pong, SILENCE)
        except (ConnectionClosed, TimeoutError) as error:
            raise Unavailable(f"the exchange's stream does not answer: {error}") from None


@asynccontextmanager
async def open_feed(base: str, streams: Sequence[str]) -> AsyncIterator[BinanceFeed]:
    """Connect to the combined `streams` (`btcusdt@trade`, …).

    Raises: Unavailable when the exchange does not answer; Misconfigured when the address is none.
    """
    url = f"{base}/stream?streams={'/'.join(streams)}"
    try:
        connection = await connect(
            url,
            open_timeout=OPEN_TIMEOUT,
            ping_interval=SILENCE,
            ping_timeout=SILENCE,
            max_size=MAX_FRAME,
            max_queue=4096,
            compression=None,
        )
    except InvalidURI as error:
        raise Misconfigured(
            f"{base!r} is not a WebSocket address; set QUANTSTREAM_ENDPOINTS__WS to ws:// or wss://"
        ) from error
    except (OSError, TimeoutError, InvalidHandshake) as error:
        raise Unavailable(f"the exchange does not answer at {base}: {error}") from None
    try:
        yield BinanceFeed(connection)
    finally:
        await connection.close()


class BinanceRest:
    """Keyless REST: the clock, and trades by id for repairs. Obeys 429 and `Retry-After`."""

    def __init__(
        self, session: aiohttp.ClientSession, base: str, history_base: str, stream: str, api: str = "/api/v3"
    ) -> None:
        """`stream` (trade or aggTrade) decides by which ids holes are filled; `api` is the path before each method."""
        self._session, self._base, self._history_base = session, base + api, history_base + api
        self._stream = stream
        self.used_weight = 0  # of the exchange's budget in this minute

    def kind(self) -> str:
        """Name the shape of the rows."""
        return "restTrade" if self._stream == "trade" else "restAggTrade"

    async def time(self) -> int:
        """Return the exchange's clock, µs.

        Raises: Unavailable.
        """
        answer = await self._get(self._base, "/time")
        try:
            return int(json.loads(answer)["serverTime"]) * 1000
        except (ValueError, KeyError, TypeError) as error:
            raise Unavailable(f"the exchange at {self._base} gives no time: {error!r}") from None

    async def first_trade_since(self, symbol: str, at: int) -> Trade | None:
        """Return the aggregate that begins with the first trade at or after `at` (µs), None when there is none.

        Raises: Unavailable, Misconfigured for an unknown symbol.
        """
        raw = await self._get(self._base, "/aggTrades", symbol=symbol, startTime=at // 1000, limit=1)
        rows = self._rows(raw, symbol)
        return rows[0][0] if rows else None

    async def trades_from(self, symbol: str, trade_id: int) -> list[tuple[Trade, bytes]]:
        """Return up to 1,000 trades from an id on (of the stream's own numbering), each with its own bytes.

        Raises: Unavailable, Misconfigured for an unknown symbol.
        """
        if self._stream == "trade":
            base, path = self._history_base, "/historicalTrades"
        else:
            base, path = self._base, "/aggTrades"
        return self._rows(await self._get(base, path, symbol=symbol, fromId=trade_id, limit=ROWS), symbol)

    def _rows(self, raw: bytes, symbol: str) -> list[tuple[Trade, bytes]]:
        try:
            return [(parse_trade(row, symbol), row) for row in split_rows(raw)]
        except BadRecord as error:
            raise Unavailable(f"the exchange's answer for {symbol} makes no sense: {error}") from None

    async def _get(self, base: str, path: str, **params: Any) -> bytes:
        pause = 0.5
        for attempt in range(REST_TRIES):
            try:
                async with self._session.get(base + path, params=params, timeout=REST_TIMEOUT) as answer:
                    body = await answer.read()
                    self.used_weight = int(answer.headers.get("X-MBX-USED-WEIGHT-1M", self.used_weight))
                    if answer.status == 200:
                        return body
                    if answer.status == 400:
                        raise Misconfigured(_refusal(base, params, body))
                    pause = max(pause, float(answer.headers.get("Retry-After", 0)))
                    reason = f"HTTP {answer.status}"
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                reason = str(error) or type(error).__name__
            if attempt < REST_TRIES - 1:
                await asyncio.sleep(min(pause, 60.0))
                pause *= 2
        raise Unavailable(f"the exchange at {base} did not answer {path}: {reason}")


def _refusal(base: str, params: dict[str, Any], body: bytes) -> str:
    symbol = params.get("symbol", "")
    if b"-1121" in body:
        return f"the exchange at {base} knows no symbol {symbol}; see its /api/v3/exchangeInfo for those it has"
    return f"the exchange at {base} refused a request for {symbol}: {body[:200].decode(errors='replace')}"
