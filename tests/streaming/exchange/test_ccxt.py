"""An independent client library, unmodified but for the base address, works against the exchange."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import ccxt.pro
import pytest

from streaming.exchange.faults import Fault
from streaming.exchange.synthetic import SyntheticMarket

BTC = "BTC/USDT"


@pytest.fixture
async def binance(exchange: Any) -> AsyncIterator[Any]:
    """ccxt's Binance with our addresses in the places of the real ones."""
    client = ccxt.pro.binance()
    urls = client.urls["api"]
    for name, url in urls.items():
        if isinstance(url, str):
            host = url.split("/", 3)
            urls[name] = f"{exchange.served.rest}/{host[3]}" if len(host) > 3 else exchange.served.rest
    urls["ws"]["spot"] = f"{exchange.served.ws}/ws"
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
