"""Spot is asked for µs, over the streams and over REST, so that what is lived through is what its archive will hold."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from quantstream.binance.feed import connect
from quantstream.binance.klines import exchange_time, fetch_klines, parse_kline
from quantstream.binance.market_history import BinanceHistory
from quantstream.binance.rest import BlockingRest
from quantstream.binance.time_unit import prints_micros
from quantstream.binance.transports import Library, opener
from quantstream.binance.wire import parse_trade, split_frame, trade_event
from quantstream.core.time import DAY, EARLIEST, HOUR, LATEST, SECOND, may_be_same, to_micros
from quantstream.core.trade import Trade
from streaming.exchange.clock import Clock
from streaming.exchange.market.protocol import trades_between
from streaming.exchange.market.synthetic import MarketSeed, SyntheticMarket
from streaming.exchange.server.http_server import Options, serve

STARTS_AT = 1_763_800_123 * SECOND
LIBRARIES: tuple[Library, ...] = ("websockets", "picows")
MICROS = "MICROSECOND"
ROW = [1723161300000, "1.5", "2", "1", "1.75", "100", 1723161599999, "150", 308, "50", "75", "0"]


@pytest.fixture(scope="module")
def market() -> SyntheticMarket:
    return SyntheticMarket(MarketSeed(seed=3, starts_at=STARTS_AT, history_days=1), ["BTCUSDT"])


@asynccontextmanager
async def listening(answer: bytes, socket_says: str = "") -> AsyncIterator[tuple[str, list[web.Request]]]:
    """Serve one answer, and one message to who opens a WebSocket; yield the address without scheme, and what was asked."""
    asked: list[web.Request] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        asked.append(request)
        if "Upgrade" not in request.headers:
            return web.Response(body=answer)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(socket_says)
        await socket.receive()
        return socket

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"127.0.0.1:{runner.addresses[0][1]}", asked
    await runner.cleanup()


@given(at=st.integers(EARLIEST, LATEST - 1))
def test_a_time_of_this_market_is_never_taken_for_one_of_the_other_unit(at: int) -> None:
    assert to_micros(at) == at
    assert to_micros(at // 1000) == at - at % 1000


@given(at=st.integers(EARLIEST, LATEST - 1), size=st.integers(1, 3))
def test_a_trade_printed_as_an_event_keeps_its_microseconds(at: int, size: int) -> None:
    trade = Trade("BTCUSDT", 7, 7, 6 + size, 10**8, 10**8, at, True)
    assert parse_trade(trade_event(trade)) == trade


def test_a_kline_and_the_clock_are_the_same_in_ms_and_in_microseconds() -> None:
    in_micros = [ROW[0] * 1000, *ROW[1:6], ROW[6] * 1000 + 999, *ROW[7:]]  # type: ignore[operator]
    assert parse_kline("BTCUSDT", in_micros) == parse_kline("BTCUSDT", ROW)

    class Clocked(BlockingRest):
        def get(self, path: str, query: Any = None) -> Any:
            return {"serverTime": 1723161300000123}

    assert exchange_time(Clocked("http://exchange")) == 1723161300000123


@pytest.mark.parametrize(
    ("base", "api", "is_micros"),
    [
        ("https://data-api.binance.vision", "/api/v3", True),
        ("wss://data-stream.binance.vision", "/api/v3", True),
        ("http://127.0.0.1:9", "/api/v3", True),
        ("https://api.binance.us", "/api/v3", False),
        ("wss://stream.binance.us:9443", "/api/v3", False),
        ("https://fapi.binance.com", "/fapi/v1", False),
        ("wss://fstream.binance.com/market", "/fapi/v1", False),
    ],
)
def test_microseconds_are_asked_for_where_the_exchange_documents_them(base: str, api: str, is_micros: bool) -> None:
    assert prints_micros(base, api) is is_micros


@pytest.mark.parametrize(("api", "unit"), [("/api/v3", MICROS), ("/fapi/v1", None)])
async def test_every_request_over_rest_says_its_unit(api: str, unit: str | None) -> None:
    async with listening(b'{"serverTime":1763800123000000}') as (host, asked), aiohttp.ClientSession() as session:
        history = BinanceHistory(session, f"http://{host}", f"http://{host}", "aggTrade", api)
        assert await history.time() == STARTS_AT
        await asyncio.to_thread(BlockingRest(f"http://{host}{api}").get, "/time")
        assert [request.headers.get("X-MBX-TIME-UNIT") for request in asked] == [unit, unit]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("in_micros", [True, False])
async def test_a_stream_is_asked_for_microseconds_in_its_address(library: Library, in_micros: bool) -> None:
    async with listening(b"", '{"stream":"btcusdt@trade","data":{"E":1763800123000000}}') as (host, asked):
        feed = await connect(f"ws://{host}", ["btcusdt@trade"], opener(library), in_micros=in_micros)
        await feed.close()
        assert asked[0].query.get("timeUnit") == (MICROS if in_micros else None)
        assert asked[0].query["streams"] == "btcusdt@trade"


async def test_a_host_that_prints_ms_although_asked_for_microseconds_is_told(caplog: pytest.LogCaptureFixture) -> None:
    event = '{"stream":"btcusdt@trade","data":{"e":"trade","E":1763800123000,"s":"BTCUSDT"}}'
    with caplog.at_level(logging.WARNING):
        async with listening(b'{"serverTime":1763800123000}', event) as (host, _), aiohttp.ClientSession() as session:
            feed = await connect(f"ws://{host}", ["btcusdt@trade"], opener("websockets"), in_micros=True)
            await feed.read()
            await feed.close()
            history = BinanceHistory(session, f"http://{host}", f"http://{host}", "trade")
            assert [await history.time(), await history.time()] == [STARTS_AT, STARTS_AT]
    told = [record for record in caplog.records if "milliseconds" in record.message]
    assert [record.name.rpartition(".")[2] for record in told] == ["feed", "market_history"], "each once"


@pytest.mark.parametrize("library", LIBRARIES)
async def test_what_is_lived_through_and_what_rest_brings_later_is_the_tape_to_the_microsecond(
    market: SyntheticMarket, library: Library
) -> None:
    truth: dict[int, int] = {}
    for tape, start, stop in trades_between(market, "BTCUSDT", STARTS_AT, STARTS_AT + HOUR):
        truth |= zip(tape.ids[start:stop].tolist(), tape.at[start:stop].tolist(), strict=True)
    assert any(at % 1000 for at in truth.values()), "the market has times that ms cannot hold"
    async with (
        serve(market, Clock(STARTS_AT, 60.0), Options()) as served,
        aiohttp.ClientSession() as session,
    ):
        feed = await connect(served.ws, ["btcusdt@trade"], opener(library), in_micros=True)
        lived: dict[int, Trade] = {}
        async with asyncio.timeout(30):
            while len(lived) < 50:
                trades = [parse_trade(split_frame(raw)[1]) for raw in await feed.read()]
                lived |= {trade.id: trade for trade in trades if trade.traded_at < STARTS_AT + HOUR}
        await feed.close()
        history = BinanceHistory(session, served.rest, served.rest, "trade")
        later = {trade.id: trade for trade, _ in await history.trades_from("BTCUSDT", min(lived))}
        since = await history.aggregates_since("BTCUSDT", min(trade.traded_at for trade in lived.values()))
        klines = fetch_klines(BlockingRest(f"{served.rest}/api/v3"), "BTCUSDT", "5m", STARTS_AT - DAY, STARTS_AT)
        found = await asyncio.to_thread(lambda: [candle.opened_at for candle in klines])
    assert {number: trade.traded_at for number, trade in lived.items()} == {number: truth[number] for number in lived}
    assert lived == {number: later[number] for number in lived}
    assert since[0][0].traded_at // 1000 >= min(trade.traded_at for trade in lived.values()) // 1000
    assert found == sorted(found)
    assert min(found) >= STARTS_AT - DAY


def test_a_time_told_in_ms_may_be_any_within_it_but_two_told_in_microseconds_must_be_equal() -> None:
    assert may_be_same(1_763_800_123_000_000, 1_763_800_123_000_999)
    assert may_be_same(1_763_800_123_000_999, 1_763_800_123_000_000)
    assert not may_be_same(1_763_800_123_000_001, 1_763_800_123_000_999)
    assert not may_be_same(1_763_800_123_000_000, 1_763_800_123_001_000)
