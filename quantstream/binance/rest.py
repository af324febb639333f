"""The exchange's REST side as ingest asks it: the clock, and the trades that a stream did not bring."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import aiohttp
import msgspec

from quantstream.binance.protocols import NotOffered, Row, UnknownSymbol
from quantstream.binance.rate_limits import Weight
from quantstream.binance.wire import parse_trade, split_rows, to_micros
from quantstream.core.errors import BadRecord, Misconfigured, Unavailable
from quantstream.core.time import EARLIEST, LATEST
from quantstream.core.trade import Trade

log = logging.getLogger(__name__)
TIMEOUT = aiohttp.ClientTimeout(total=15)
TRIES = 5
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0  # seconds between tries, unless the exchange says how long
ROWS = 1000  # the exchange's limit for one answer
SPOT = "/api/v3"
WEIGHTS = {
    "/time": 1,
    "/aggTrades": 4,
    "/historicalTrades": 25,
}  # github.com/binance/binance-spot-api-docs, rest-api.md
FUTURES_WEIGHTS = {
    "/time": 1,
    "/aggTrades": 20,
    "/historicalTrades": 20,
}  # developers.binance.com, derivatives, USDⓈ-M, market data
TICKER = "/ticker/24hr"  # tells the newest trade's id of many symbols at once
TICKER_SYMBOLS, TICKER_WEIGHT, TICKER_OF_ALL = (
    20,
    2,
    80,
)  # spot: so many symbols in one request, its weight, and that of all
MOST_TICKERS = 10  # requests, before that of all is quicker
FUTURES_TICKER_OF_ALL = 40  # futures: 1 for one symbol
SPARE = 0.1  # of the weight: kept from repairs for the clock and for the question who traded
FILLS_SHARE = 0.5  # that filling in for mute streams may take
LOOKS_SHARE = 0.1  # of the weight that the question who traded may take: backfills and repairs need the rest
SOON = aiohttp.ClientTimeout(total=5)
MOST_BYTES = 4 << 20  # of an answer; a thousand trades are 200 kB
WEIGHT_LIMIT = 6000  # a minute and address, spot
FUTURES_WEIGHT_LIMIT = 2400
UNKNOWN = (-1121, -1122, -4108)  # no such symbol; not the status wanted; settled or delisted
REFUSED_FOR_NOW = (418, 429)  # banned; asked too much
NOT_OFFERED = (401, 403, 404, 451)  # the market-data-only hosts, hosts that ask for a key, and countries shut out


class _Time(msgspec.Struct):
    serverTime: int  # noqa: N815  (the exchange's name)


class _Ticker(msgspec.Struct):
    symbol: str
    lastId: int  # noqa: N815  (the exchange's name)


class _Refusal(msgspec.Struct):
    code: int


_tickers = msgspec.json.Decoder(list[_Ticker])
_ticker = msgspec.json.Decoder(_Ticker)


class BinanceRest:
    """Keyless REST. Keeps below the allowed weight, and waits as long as the exchange says when it refuses nevertheless."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base: str,
        history_base: str,
        stream: str,
        api: str = "/api/v3",
        on_weight: Callable[[int], None] = lambda used: None,
        shares: int = 1,
        longest_wait: float = 600.0,
    ) -> None:
        """`stream` (trade or aggTrade) decides by which ids holes are filled; `api` is the path before each method.

        `on_weight` is told the weight used, of which `shares` processes have equal parts; a `Retry-After` beyond
        `longest_wait` seconds is not waited for in here.
        """
        self._session, self._base, self._history_base = session, base + api, history_base + api
        self._stream, self._on_weight, self._longest_wait = stream, on_weight, longest_wait
        self._is_spot = api == SPOT
        self._costs = WEIGHTS if self._is_spot else FUTURES_WEIGHTS
        limit = WEIGHT_LIMIT if self._is_spot else FUTURES_WEIGHT_LIMIT
        self.weights = {host: Weight(limit // shares) for host in (self._base, self._history_base)}
        self._shut_until: dict[str, float] = {}

    @property
    def used_weight(self) -> int:
        """Weight used in this minute, at the host where most was used."""
        return max(weight.used for weight in self.weights.values())

    async def time(self) -> int:
        """Return the exchange's clock, µs.

        Raises: Unavailable.
        """
        answer = await self._get(self._base, "/time")
        try:
            at = to_micros(msgspec.json.decode(answer, type=_Time).serverTime)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Unavailable(f"the exchange at {self._base} gives no time: {error}") from None
        if not EARLIEST <= at < LATEST:
            raise Unavailable(f"the exchange at {self._base} gives a time outside 2009 to 2100")
        return at

    async def latest_trade(self, symbol: str) -> Trade | None:
        """Return the newest aggregate, None when nothing ever traded.

        Raises: Unavailable, UnknownSymbol.
        """
        rows = self._rows(await self._get(self._base, "/aggTrades", symbol=symbol, limit=1), symbol)
        return rows[-1][0] if rows else None

    async def newest_ids(self, symbols: Sequence[str]) -> dict[str, int]:
        """Return the id of the newest single trade of each symbol, -1 when it did not trade for a day.

        Symbols of which the exchange does not tell are left out. Never waits: not for weight, not for a ban to end.
        Raises: Unavailable.
        """
        found: dict[str, int] = {}
        for query, weight in self._ticker_queries(symbols):
            try:
                raw = await self._get_soon(TICKER, weight, query)
            except Misconfigured:
                continue  # one of them is unknown, or never traded: each is asked for by itself
            found |= _newest(raw)
        wanted = set(symbols)
        return {symbol: number for symbol, number in found.items() if symbol in wanted}

    def seconds_a_look(self, symbols: int) -> float:
        """Return how far apart `newest_ids` of so many symbols may be, so that it takes its share of the weight."""
        weight = sum(weight for _, weight in self._ticker_queries([""] * symbols))
        return 60 * weight / (self.weights[self._base].most * LOOKS_SHARE)

    def seconds_a_fill(self, symbols: int) -> float:
        """Return how far apart the newest trades of so many symbols may be asked for, so that half of the weight is left."""
        path = "/historicalTrades" if self._stream == "trade" else "/aggTrades"
        return 60 * symbols * self._costs[path] / (self.weights[self._base].most * FILLS_SHARE)

    def _ticker_queries(self, symbols: Sequence[str]) -> list[tuple[dict[str, str], int]]:
        """Return the requests that tell of some symbols, with their weights."""
        if not self._is_spot:
            each = [({"symbol": symbol}, 1) for symbol in symbols]
            return each if len(each) < FUTURES_TICKER_OF_ALL else [({}, FUTURES_TICKER_OF_ALL)]
        if len(symbols) > MOST_TICKERS * TICKER_SYMBOLS:
            return [({"type": "MINI"}, TICKER_OF_ALL)]
        parts = [symbols[start : start + TICKER_SYMBOLS] for start in range(0, len(symbols), TICKER_SYMBOLS)]
        names = [msgspec.json.encode(list(part)).decode() for part in parts]
        return [({"symbols": text, "type": "MINI"}, TICKER_WEIGHT) for text in names]

    async def aggregates_since(self, symbol: str, at: int) -> list[Row]:
        """Return up to 1,000 aggregates from the first one at or after `at` (µs) on.

        Raises: Unavailable, UnknownSymbol.
        """
        answer = await self._get(self._base, "/aggTrades", symbol=symbol, startTime=at // 1000, limit=ROWS)
        return self._rows(answer, symbol)

    async def aggregates_from(self, symbol: str, aggregate_id: int) -> list[Row]:
        """Return up to 1,000 aggregates from an aggregate's id on.

        Raises: Unavailable, UnknownSymbol.
        """
        answer = await self._get(self._base, "/aggTrades", symbol=symbol, fromId=aggregate_id, limit=ROWS)
        return self._rows(answer, symbol)

    async def trades_from(self, symbol: str, trade_id: int) -> list[Row]:
        """Return up to 1,000 single trades from a trade's id on.

        Raises: NotOffered where only aggregates are given out; Unavailable; UnknownSymbol.
        """
        answer = await self._get(self._history_base, "/historicalTrades", symbol=symbol, fromId=trade_id, limit=ROWS)
        return self._rows(answer, symbol)

    def _rows(self, raw: bytes, symbol: str) -> list[Row]:
        try:
            return [(parse_trade(row, symbol), row) for row in split_rows(raw)]
        except BadRecord as error:
            raise Unavailable(f"the exchange's answer for {symbol} makes no sense: {error}") from None

    async def _get(self, base: str, path: str, **params: Any) -> bytes:
        pause, reason = FIRST_PAUSE, ""
        for attempt in range(TRIES):
            await self._until_open(base, path)
            await self.weights[base].spend(self._costs[path], 0.0 if path == "/time" else SPARE)
            try:
                async with self._session.get(base + path, params=params, timeout=TIMEOUT) as answer:
                    body = await _bounded(answer)
                    self._note_weight(base, answer.headers.get("X-MBX-USED-WEIGHT-1M", ""))
                    if answer.status == 200:
                        return body
                    reason = f"HTTP {answer.status}"
                    self._refuse(base, path, params, answer.status, body)
                    if answer.status in REFUSED_FOR_NOW:
                        self._shut(base, answer.headers.get("Retry-After", ""), pause)
                        continue
            except (aiohttp.ClientError, TimeoutError, BadRecord) as error:
                reason = str(error) or type(error).__name__
            if attempt < TRIES - 1:
                await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        raise Unavailable(f"the exchange at {base} did not answer {path}: {reason}")

    async def _get_soon(self, path: str, weight: int, params: Mapping[str, str]) -> bytes:
        """Ask once, now or not at all.

        Raises: Unavailable, Misconfigured when the exchange refuses what is asked.
        """
        base = self._base
        if self._shut_until.get(base, 0.0) > asyncio.get_running_loop().time():
            raise Unavailable(f"the exchange at {base} refuses requests for a while")
        if wait := self.weights[base].reserve(weight):
            raise Unavailable(f"the weight of this minute is used up; {path} has to wait for {wait:.0f} s")
        try:
            async with self._session.get(base + path, params=params, timeout=SOON) as answer:
                body = await _bounded(answer)
                self._note_weight(base, answer.headers.get("X-MBX-USED-WEIGHT-1M", ""))
        except (aiohttp.ClientError, TimeoutError, BadRecord) as error:
            raise Unavailable(
                f"the exchange at {base} did not answer {path}: {error or type(error).__name__}"
            ) from None
        if answer.status in REFUSED_FOR_NOW:
            self._shut(base, answer.headers.get("Retry-After", ""), FIRST_PAUSE)
        if answer.status == 400:
            raise Misconfigured(f"the exchange at {base} refused {path}: {body[:200].decode(errors='replace')}")
        if answer.status != 200:
            raise Unavailable(f"the exchange at {base} did not answer {path}: HTTP {answer.status}")
        return body

    def _note_weight(self, base: str, used: str) -> None:
        if used.isdecimal():
            self.weights[base].told(int(used))
        self._on_weight(self.used_weight)

    def _shut(self, base: str, retry_after: str, otherwise: float) -> None:
        """Ask this host nothing, from nowhere in this process, until it said that it may be asked again."""
        seconds = float(retry_after) if retry_after.isdecimal() else otherwise
        loop = asyncio.get_running_loop()
        self._shut_until[base] = max(self._shut_until.get(base, 0.0), loop.time() + seconds)
        log.warning("the exchange refuses requests for a while", extra={"host": base, "seconds": seconds})

    async def _until_open(self, base: str, path: str) -> None:
        loop = asyncio.get_running_loop()
        while (wait := self._shut_until.get(base, 0.0) - loop.time()) > 0:
            if wait > self._longest_wait:
                raise Unavailable(f"the exchange at {base} answers {path} again in {wait:.0f} s")
            await asyncio.sleep(wait)

    def _refuse(self, base: str, path: str, params: dict[str, Any], status: int, body: bytes) -> None:
        """Raise what trying again does not mend."""
        symbol = params.get("symbol", "")
        if symbol and (code := _code(body)) in UNKNOWN:
            raise UnknownSymbol(
                f"the exchange at {base} knows no symbol {symbol} ({code}); its /exchangeInfo names those it has"
            )
        if status == 400:
            text = body[:200].decode(errors="replace")
            kind = UnknownSymbol if symbol else Misconfigured
            raise kind(f"the exchange at {base} refused a request for {symbol or path}: {text}")
        if status in NOT_OFFERED and path == "/historicalTrades":
            raise NotOffered(f"the exchange at {base} gives out no single trades (HTTP {status})")


def _newest(raw: bytes) -> dict[str, int]:
    """Return the newest trade's id of each symbol in an answer of `/ticker/24hr`.

    Raises: Unavailable when it is none.
    """
    try:
        rows = _tickers.decode(raw) if raw.lstrip()[:1] == b"[" else [_ticker.decode(raw)]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unavailable(f"the exchange's answer about who traded makes no sense: {error}") from None
    return {row.symbol: row.lastId for row in rows}


def _code(body: bytes) -> int:
    """Return the exchange's code of a refusal, 0 without one."""
    try:
        return int(msgspec.json.decode(body, type=_Refusal).code)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return 0


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    """Return the answer's body, unpacked.

    Raises: BadRecord before it fills the memory.
    """
    body = bytearray()
    while part := await answer.content.read(MOST_BYTES):
        body += part
        if len(body) > MOST_BYTES:
            raise BadRecord(f"an answer of more than {MOST_BYTES} bytes")
    return bytes(body)
