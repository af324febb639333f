"""python-binance, unmodified but for its base addresses, against spot and futures: REST, sockets, and refusals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
from binance import AsyncClient, BinanceSocketManager
from binance.exceptions import BinanceAPIException

from quantstream.core.time import SECOND
from streaming.exchange.market.synthetic import MarketSeed, SyntheticMarket
from streaming.exchange.server.venue import FUTURES

STARTS_AT = 1_763_800_123 * SECOND
BTC = {"symbol": "BTCUSDT"}


@pytest.fixture
async def spot(exchange: Any) -> AsyncIterator[AsyncClient]:
    client = AsyncClient(api_key="any", api_secret="any")
    client.API_URL = f"{exchange.served.rest}/api"
    client.sockets = BinanceSocketManager(client)
    client.sockets.STREAM_URL = f"{exchange.served.ws}/"
    yield client
    await client.close_connection()


@pytest.fixture
async def futures(run: Any) -> AsyncIterator[AsyncClient]:
    market = SyntheticMarket(MarketSeed(7, STARTS_AT, 1, off_book_a_minute=2.0), ["BTCUSDT", "XRPUSDT"])
    async with run(market, speed=300.0, venue=FUTURES) as exchange:
        client = AsyncClient(api_key="any", api_secret="any")
        client.FUTURES_URL = f"{exchange.served.rest}/fapi"
        client.sockets = BinanceSocketManager(client)
        client.sockets.FSTREAM_URL = f"{exchange.served.ws}/"
        yield client
        await client.close_connection()


async def first(socket: Any) -> Any:
    async with socket as stream:
        return await asyncio.wait_for(stream.recv(), 20)


async def test_spot_is_fetched(spot: AsyncClient) -> None:
    assert len((await spot.get_exchange_info())["symbols"]) == 3
    assert len(await spot.get_klines(**BTC, interval="1s", limit=10)) == 10
    trades = await spot.get_historical_trades(**BTC, fromId=1, limit=10)
    assert [trade["id"] for trade in trades] == list(range(1, 11))
    ticker = await spot.get_symbol_ticker_window(**BTC, windowSize="2h")
    assert float(ticker["lowPrice"]) <= float(ticker["lastPrice"]) <= float(ticker["highPrice"])
    assert (await spot.get_avg_price(**BTC))["mins"] == 5
    assert len(await spot.get_historical_klines("BTCUSDT", "1h", STARTS_AT // 1000 - 5 * 3_600_000)) >= 5


@pytest.mark.parametrize(
    ("socket", "arguments", "name"),
    [
        ("trade_socket", ["BTCUSDT"], "trade"),
        ("aggtrade_socket", ["BTCUSDT"], "aggTrade"),
        ("kline_socket", ["BTCUSDT", "1s"], "kline"),
        ("symbol_ticker_socket", ["BTCUSDT"], "24hrTicker"),
        ("depth_socket", ["BTCUSDT"], "depthUpdate"),
    ],
)
async def test_spot_sockets_are_filled(spot: AsyncClient, socket: str, arguments: list[str], name: str) -> None:
    assert (await first(getattr(spot.sockets, socket)(*arguments)))["e"] == name


async def test_all_miniature_tickers_come_with_the_speed_that_it_appends(spot: AsyncClient) -> None:
    rows = await first(spot.sockets.miniticker_socket())
    assert {row["s"] for row in rows} <= {"BTCUSDT", "BNBUSDT", "XRPUSDT"}


async def test_a_time_zone_in_an_address_keeps_its_plus(spot: AsyncClient) -> None:
    event = await first(spot.sockets.multiplex_socket(["btcusdt@kline_1d@+08:00"]))
    assert event["stream"] == "btcusdt@kline_1d@+08:00"


async def test_what_is_not_offered_is_told_in_words(spot: AsyncClient) -> None:
    with pytest.raises(BinanceAPIException, match="market data of spot, at /api/v3/"):
        await spot.get_account()
    told = await first(spot.sockets.ticker_socket())
    assert "the exchange retired it on 2026-03-26; use !miniTicker@arr" in told["error"]["msg"]
    told = await first(spot.sockets.multiplex_socket(["btcusdt@blockTrade"]))
    assert "no block trades happen in this market" in told["error"]["msg"]


async def test_futures_are_fetched(futures: AsyncClient) -> None:
    assert [s["contractType"] for s in (await futures.futures_exchange_info())["symbols"]] == ["PERPETUAL"] * 2
    rows = await futures.futures_aggregate_trades(**BTC, fromId=1, limit=500)
    assert [row["a"] for row in rows] == list(range(1, 501))
    assert any(after["f"] > before["l"] + 1 for before, after in pairwise(rows))
    assert len(await futures.futures_klines(**BTC, interval="1m", limit=5)) == 5
    assert len(await futures.futures_historical_trades(**BTC, limit=5)) == 5
    assert (await futures.futures_symbol_ticker(**BTC))["symbol"] == "BTCUSDT"
    with pytest.raises(BinanceAPIException, match="market data of futures, at /fapi/v1/"):
        await futures.futures_mark_price()


@pytest.mark.parametrize(
    ("socket", "arguments", "name"),
    [
        ("aggtrade_futures_socket", ["btcusdt"], "aggTrade"),
        ("kline_futures_socket", ["BTCUSDT"], "continuous_kline"),
        ("symbol_ticker_futures_socket", ["BTCUSDT"], "bookTicker"),
        ("individual_symbol_ticker_futures_socket", ["BTCUSDT"], "24hrTicker"),
        ("all_ticker_futures_socket", [], "bookTicker"),
        ("futures_depth_socket", ["btcusdt", "5"], "depthUpdate"),
    ],
)
async def test_futures_sockets_are_filled(futures: AsyncClient, socket: str, arguments: list[str], name: str) -> None:
    event = await first(getattr(futures.sockets, socket)(*arguments))
    assert event.get("data", event)["e"] == name
