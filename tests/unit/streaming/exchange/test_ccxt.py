"""An independent client library, unmodified but for the base address, works against the exchange."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import ccxt.pro
import pytest

from quantstream.core.time import SECOND
from streaming.exchange.faults import Fault
from streaming.exchange.market.synthetic import MarketSeed, SyntheticMarket
from streaming.exchange.server.venue import FUTURES

BTC = "BTC/USDT"
PERPETUAL = "BTC/USDT:USDT"
STARTS_AT = 1_763_800_123 * SECOND


def pointed_at(client: Any, served: Any) -> Any:
    """Put our addresses in the places of the real ones."""
    urls = client.urls["api"]
    for name, url in urls.items():
        if isinstance(url, str):
            host = url.split("/", 3)
            urls[name] = f"{served.rest}/{host[3]}" if len(host) > 3 else served.rest
    urls["ws"]["spot"] = urls["ws"]["future"] = f"{served.ws}/ws"
    return client


@pytest.fixture
async def binance(exchange: Any) -> AsyncIterator[Any]:
    """ccxt's Binance at the spot exchange."""
    client = pointed_at(ccxt.pro.binance(), exchange.served)
    yield client
    await client.close()


@pytest.fixture
async def usdm(run: Any) -> AsyncIterator[Any]:
    """ccxt's USD-M futures at the futures exchange."""
    market = SyntheticMarket(MarketSeed(7, STARTS_AT, 1, off_book_a_minute=2.0), ["BTCUSDT", "XRPUSDT"])
    async with run(market, speed=300.0, venue=FUTURES) as exchange:
        client = pointed_at(ccxt.pro.binanceusdm(), exchange.served)
        client.exchange = exchange
        yield client
        await client.close()


async def test_markets_load_with_their_precisions(binance: Any) -> None:
    markets = await binance.load_markets()
    assert list(markets) == ["BTC/USDT", "BNB/USDT", "XRP/USDT"]
    assert markets[BTC]["precision"] == {"amount": 1e-05, "price": 0.01, "base": 1e-08, "quote": 1e-08}
    assert (markets[BTC]["active"], markets[BTC]["spot"]) == (True, True)


async def test_ohlcv_trades_ticker_and_book_are_fetched(binance: Any, exchange: Any, market: SyntheticMarket) -> None:
    since = market.begins_at // 1000
    rows = await binance.fetch_ohlcv(BTC, "5m", since=since, limit=1000)
    raw = await exchange.get("/api/v3/klines", symbol="BTCUSDT", interval="5m", startTime=since, limit=len(rows))
    assert len(rows) >= 576
    assert rows[:576] == [[row[0], *map(float, row[1:6])] for row in raw[:576]]
    trades = await binance.fetch_trades(BTC, since=since, limit=50)
    aggregates = await exchange.get("/api/v3/aggTrades", symbol="BTCUSDT", startTime=since, limit=50)
    assert [(t["id"], t["price"], t["amount"], t["side"]) for t in trades] == [
        (str(a["a"]), float(a["p"]), float(a["q"]), "sell" if a["m"] else "buy") for a in aggregates
    ]
    ticker = await binance.fetch_ticker(BTC)
    assert ticker["low"] <= ticker["last"] <= ticker["high"]
    book = await binance.fetch_order_book(BTC, 5)
    assert book["bids"][0][0] < book["asks"][0][0]
    assert abs(await binance.fetch_time() - (await exchange.get("/api/v3/time"))["serverTime"]) < 60_000


async def test_live_trades_and_candles_are_watched(binance: Any) -> None:
    ids: list[int] = []
    while len(ids) < 20:
        ids += [int(trade["id"]) for trade in await binance.watch_trades(BTC)]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    [[opened_at, *prices]] = await binance.watch_ohlcv(BTC, "5m")
    assert opened_at % 300_000 == 0
    assert prices[2] <= prices[0] <= prices[1]


async def test_an_unknown_symbol_and_a_rate_limit_are_the_librarys_own_errors(binance: Any, exchange: Any) -> None:
    await binance.load_markets()
    with pytest.raises(ccxt.BadSymbol):
        await binance.public_get_klines({"symbol": "NOSUCH", "interval": "5m"})
    exchange.served.faults.order(Fault(kind="rest_429", count=1, seconds=1))
    with pytest.raises(ccxt.DDoSProtection):
        await binance.fetch_time()


async def test_seconds_time_zones_and_rolling_tickers_are_fetched(binance: Any, market: SyntheticMarket) -> None:
    since = market.begins_at // 1000 + 3_600_000
    rows = await binance.fetch_ohlcv(BTC, "1s", since=since, limit=60)
    minute = await binance.fetch_ohlcv(BTC, "1m", since=since, limit=1)
    assert [row[0] for row in rows] == [since + second * 1000 for second in range(60)]
    assert sum(row[5] for row in rows) == pytest.approx(minute[0][5], rel=1e-12)
    [day] = await binance.fetch_ohlcv(BTC, "1d", limit=1, params={"timeZone": "+08:00"})
    assert (day[0] + 8 * 3_600_000) % 86_400_000 == 0
    window = await binance.public_get_ticker({"symbol": "BTCUSDT", "windowSize": "2h"})
    assert int(window["openTime"]) % 60_000 == 0
    assert await binance.public_get_ticker_tradingday({"symbol": "BTCUSDT", "type": "MINI"})
    assert len(await binance.fetch_tickers()) == 3


async def test_an_order_book_that_is_watched_moves_with_the_market(binance: Any) -> None:
    seen = []
    while len({book[0] for book in seen}) < 4:
        book = await binance.watch_order_book(BTC, 100)
        assert book["bids"][0][0] < book["asks"][0][0]
        assert len(book["bids"]) == len(book["asks"]) == 100
        assert book["asks"][0][0] - book["bids"][0][0] == pytest.approx(0.01)
        seen.append((book["nonce"], book["bids"][0][0]))
    assert [nonce for nonce, _ in seen] == sorted(nonce for nonce, _ in seen)
    snapshot = await binance.fetch_order_book(BTC, 100)
    assert snapshot["nonce"] >= seen[-1][0]


async def test_tickers_of_one_and_of_all_are_watched(binance: Any) -> None:
    ticker = await binance.watch_ticker(BTC)
    assert ticker["low"] <= ticker["last"] <= ticker["high"]
    best = await binance.watch_bids_asks([BTC])
    assert best[BTC]["bid"] < best[BTC]["ask"]


async def test_what_is_not_offered_is_the_librarys_error_with_our_words(binance: Any) -> None:
    with pytest.raises(ccxt.BaseError, match="market data of spot, at /api/v3/"):
        await binance.request("historicalBlockTrades", "public", "GET", {"symbol": "BTCUSDT", "fromId": 1})
    with pytest.raises(ccxt.BaseError, match="no block trades happen in this market"):
        await binance.watch_trades(BTC, params={"name": "blockTrade"})


async def test_the_futures_load_and_are_fetched(usdm: Any) -> None:
    markets = await usdm.load_markets()
    assert [(m["symbol"], m["swap"], m["linear"]) for m in markets.values()] == [
        ("BTC/USDT:USDT", True, True),
        ("XRP/USDT:USDT", True, True),
    ]
    since = STARTS_AT // 1000 - 3_600_000
    rows = await usdm.fetch_ohlcv(PERPETUAL, "5m", since=since, limit=10)
    raw = await usdm.exchange.get("/fapi/v1/klines", symbol="BTCUSDT", interval="5m", startTime=since, limit=10)
    assert rows == [[row[0], *map(float, row[1:6])] for row in raw]
    trades = await usdm.fetch_trades(PERPETUAL, since=since, limit=50)
    ids = [int(trade["id"]) for trade in trades]
    assert ids == list(range(ids[0], ids[0] + 50))
    ticker = await usdm.fetch_ticker(PERPETUAL)
    assert ticker["low"] <= ticker["last"] <= ticker["high"]
    book = await usdm.fetch_order_book(PERPETUAL, 5)
    assert book["bids"][0][0] < book["asks"][0][0]


async def test_the_futures_are_watched_at_the_addresses_that_fill_them(usdm: Any) -> None:
    ids: list[int] = []
    while len(ids) < 20:
        ids += [int(trade["id"]) for trade in await usdm.watch_trades(PERPETUAL, params={"name": "aggTrade"})]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert await usdm.watch_trades(PERPETUAL)
    [[opened_at, *_]] = await usdm.watch_ohlcv(PERPETUAL, "1m")
    assert opened_at % 60_000 == 0
    book = await usdm.watch_order_book(PERPETUAL, 100)
    assert book["bids"][0][0] < book["asks"][0][0]
    assert (await usdm.watch_ticker(PERPETUAL))["last"] > 0
    urls = {url.removeprefix(usdm.exchange.served.ws).split("/ws")[0] for url in usdm.clients}
    assert urls == {"/market", "/public"}
