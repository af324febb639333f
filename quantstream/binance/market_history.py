"""The exchange's REST side as ingest asks it: the clock, who traded last, and the trades that a stream did not bring."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import aiohttp
import msgspec

from quantstream.binance.endpoint_weights import ROWS, SPOT_API, TICKER, market_of, ticker_queries
from quantstream.binance.protocols import Row
from quantstream.binance.rate_limits import Weight
from quantstream.binance.rest import LONGEST_WAIT, TRIES, RestClient
from quantstream.binance.time_unit import STILL_MS, headers_for
from quantstream.binance.wire import parse_trade, split_rows
from quantstream.core.errors import BadRecord, Misconfigured, Unavailable
from quantstream.core.time import EARLIEST, LATEST, MICROSECONDS_FROM, to_micros, to_millis
from quantstream.core.trade import Trade

log = logging.getLogger(__name__)
FILLS_SHARE = 0.5  # of the weight, that filling in for mute streams may take
LOOKS_SHARE = 0.1  # of the weight that the question who traded may take: backfill and gap fill need the rest


class _Time(msgspec.Struct):
    serverTime: int  # noqa: N815  (the exchange's name)


class _Ticker(msgspec.Struct):
    symbol: str
    lastId: int  # noqa: N815  (the exchange's name)


_tickers = msgspec.json.Decoder(list[_Ticker])
_ticker = msgspec.json.Decoder(_Ticker)


class BinanceHistory:
    """Keyless REST over two hosts: one for all, one that gives out single trades of the past."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base: str,
        history_base: str,
        stream: str,
        api: str = SPOT_API,
        on_weight: Callable[[int], None] = lambda used: None,
        shares: int = 1,
        longest_wait: float = LONGEST_WAIT,
        tries: int = TRIES,
    ) -> None:
        """`stream` (trade or aggTrade) decides by which ids gaps are filled; `api` is the path before each method.

        `on_weight` is told the weight used, of which `shares` processes have equal parts; a `Retry-After` beyond
        `longest_wait` seconds is not waited for in here.
        """
        self._stream = stream
        self._expects_micros = bool(headers_for(base + api))
        bases = (base + api, history_base + api)
        self.weights = {base: Weight(market_of(base).limit_at(base), shares=shares) for base in bases}
        self._rest, self._history = (
            RestClient(
                session,
                base,
                self.weights[base],
                tries,
                longest_wait=longest_wait,
                on_answer=lambda: on_weight(self.used_weight),
            )
            for base in bases
        )

    @property
    def used_weight(self) -> int:
        """Weight used in this minute, at the host where most was used."""
        return max(weight.used for weight in self.weights.values())

    async def time(self) -> int:
        """Return the exchange's clock, µs.

        Raises: Unavailable.
        """
        printed = await self._rest.get("/time", _time, {})
        if self._expects_micros and printed < MICROSECONDS_FROM:
            self._expects_micros = False
            log.warning(STILL_MS, extra={"host": self._rest.base})
        return to_micros(printed)

    async def latest_trade(self, symbol: str) -> Trade | None:
        """Return the newest aggregate, None when nothing ever traded.

        Raises: Unavailable, UnknownSymbol.
        """
        rows = await self._rows(self._rest, "/aggTrades", symbol, limit=1)
        return rows[-1][0] if rows else None

    async def newest_ids(self, symbols: Sequence[str]) -> dict[str, int]:
        """Return the id of the newest single trade of each symbol, -1 when it did not trade for a day.

        Symbols of which the exchange does not tell are left out. Never waits: not for weight, not for a ban to end.
        Raises: Unavailable.
        """
        found: dict[str, int] = {}
        for query, weight in ticker_queries(self._rest.base, symbols):
            try:
                raw = await self._rest.get_soon(TICKER, weight, query)
            except Misconfigured:
                continue  # one of them is unknown, or never traded: each is asked for by itself
            found |= _newest(raw)
        wanted = set(symbols)
        return {symbol: number for symbol, number in found.items() if symbol in wanted}

    def seconds_a_look(self, symbols: int) -> float:
        """Return how far apart `newest_ids` of so many symbols may be, so that it takes its share of the weight."""
        weight = sum(weight for _, weight in ticker_queries(self._rest.base, [""] * symbols))
        return 60 * weight / (self._rest.weight.most * LOOKS_SHARE)

    def seconds_a_fill(self, symbols: int) -> float:
        """Return how far apart the newest trades of so many symbols may be asked for, so that half of the weight is left."""
        path = "/historicalTrades" if self._stream == "trade" else "/aggTrades"
        weight = market_of(self._rest.base).weights[path]
        return 60 * symbols * weight / (self._rest.weight.most * FILLS_SHARE)

    async def aggregates_since(self, symbol: str, at: int) -> list[Row]:
        """Return up to 1,000 aggregates from the first one at or after `at` (µs) on.

        Raises: Unavailable, UnknownSymbol.
        """
        return await self._rows(self._rest, "/aggTrades", symbol, startTime=to_millis(at), limit=ROWS)

    async def aggregates_from(self, symbol: str, aggregate_id: int) -> list[Row]:
        """Return up to 1,000 aggregates from an aggregate's id on.

        Raises: Unavailable, UnknownSymbol.
        """
        return await self._rows(self._rest, "/aggTrades", symbol, fromId=aggregate_id, limit=ROWS)

    async def trades_from(self, symbol: str, trade_id: int) -> list[Row]:
        """Return up to 1,000 single trades from a trade's id on.

        Raises: NotOffered where only aggregates are given out; Unavailable; UnknownSymbol.
        """
        return await self._rows(self._history, "/historicalTrades", symbol, fromId=trade_id, limit=ROWS)

    async def _rows(self, client: RestClient, path: str, symbol: str, **query: int) -> list[Row]:
        def read(raw: bytes) -> list[Row]:
            return [(parse_trade(row, symbol), row) for row in split_rows(raw)]

        return await client.get(path, read, {"symbol": symbol, **query})


def _time(raw: bytes) -> int:
    """Return the time of an answer as it is printed, in ms or µs."""
    try:
        printed = msgspec.json.decode(raw, type=_Time).serverTime
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRecord(f"it gives no time: {error}") from None
    if not EARLIEST <= to_micros(printed) < LATEST:
        raise BadRecord("it gives a time outside 2009 to 2100")
    return printed


def _newest(raw: bytes) -> dict[str, int]:
    """Return the newest trade's id of each symbol in an answer of `/ticker/24hr`.

    Raises: Unavailable when it is none.
    """
    try:
        rows = _tickers.decode(raw) if raw.lstrip()[:1] == b"[" else [_ticker.decode(raw)]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unavailable(f"the exchange's answer about who traded makes no sense: {error}") from None
    return {row.symbol: row.lastId for row in rows}
