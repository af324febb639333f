"""The documentation's own examples, by two libraries that know nothing of the exchange: `websockets` and `aiohttp`.

Examples: github.com/binance/binance-spot-api-docs, web-socket-streams.md and rest-api.md; the futures' WebSocket change notice.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import websockets
from yarl import URL

from quantstream.core.time import SECOND
from streaming.exchange.market.synthetic import MarketSeed, SyntheticMarket
from streaming.exchange.server.venue import FUTURES
from streaming.exchange.streams.client import Rules

STARTS_AT = 1_763_800_123 * SECOND


async def next_event(ws: Any, name: str = "e") -> Any:
    while True:
        event = json.loads(await ws.recv())
        data = event.get("data", event)
        if isinstance(data, list) or name in data:
            return event


@pytest.fixture
async def futures(run: Any) -> AsyncIterator[Any]:
    market = SyntheticMarket(MarketSeed(7, STARTS_AT, 1, off_book_a_minute=1.0), ["BTCUSDT", "ETHUSDT", "BNBUSDT"])
    async with run(market, speed=300.0, venue=FUTURES) as client:
        yield client


async def test_a_single_raw_stream(exchange: Any) -> None:
    async with websockets.connect(f"{exchange.served.ws}/ws/bnbusdt@aggTrade") as ws:
        event = await next_event(ws)
    assert list(event) == ["e", "E", "s", "a", "p", "q", "f", "l", "T", "m", "M"]


async def test_a_combined_stream_in_microseconds(exchange: Any) -> None:
    address = f"{exchange.served.ws}/stream?streams=btcusdt@trade&timeUnit=MICROSECOND"
    async with websockets.connect(address) as ws:
        event = await next_event(ws)
    assert (event["stream"], len(str(event["data"]["T"]))) == ("btcusdt@trade", 16)


async def test_subscribing_to_aggregates_and_depth_and_leaving_depth(exchange: Any) -> None:
    async with websockets.connect(f"{exchange.served.ws}/ws") as ws:

        async def ask(**request: Any) -> Any:
            await ws.send(json.dumps(request))
            while "e" in (reply := json.loads(await ws.recv())):
                pass
            return reply

        subscribed = await ask(method="SUBSCRIBE", params=["btcusdt@aggTrade", "btcusdt@depth"], id=1)
        assert subscribed == {"result": None, "id": 1}
        seen = {(await next_event(ws))["e"]}
        while seen != {"aggTrade", "depthUpdate"}:
            seen.add((await next_event(ws))["e"])
        assert await ask(method="UNSUBSCRIBE", params=["btcusdt@depth"], id=312) == {"result": None, "id": 312}
        assert await ask(method="LIST_SUBSCRIPTIONS", id=3) == {"result": ["btcusdt@aggTrade"], "id": 3}
        assert await ask(method="SET_PROPERTY", params=["combined", True], id=5) == {"result": None, "id": 5}


@pytest.mark.parametrize(("path", "stream"), [("/ws", None), ("/stream", "!serverShutdown")])
async def test_a_shutdown_is_announced_in_the_form_of_the_connection(
    market: SyntheticMarket, run: Any, path: str, stream: str | None
) -> None:
    rules = Rules(lifetime=0.5, shutdown_notice=0.3)
    async with run(market, rules=rules) as exchange, websockets.connect(f"{exchange.served.ws}{path}") as ws:
        event = json.loads(await ws.recv())
    data = event if stream is None else event["data"]
    assert (event.get("stream"), data["e"], set(data)) == (stream, "serverShutdown", {"e", "E"})


@pytest.mark.parametrize(
    ("stream", "keys"),
    [
        ("bnbusdt@miniTicker", "e E s c o h l v q"),
        ("bnbusdt@ticker", "e E s p P w x c Q b B a A o h l v q O C F L n"),
        ("bnbusdt@ticker_1h", "e E s p P o h l c w v q O C F L n"),
        ("bnbusdt@bookTicker", "u s b B a A"),
        ("bnbusdt@avgPrice", "e E s i w T"),
        ("bnbusdt@depth5", "lastUpdateId bids asks"),
        ("bnbusdt@depth", "e E s U u b a"),
        ("bnbusdt@kline_1d@+08:00", "e E s k"),
    ],
)
async def test_a_payload_has_the_documented_keys(exchange: Any, stream: str, keys: str) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{exchange.served.ws}/ws/{stream}") as ws:
        event = json.loads((await ws.receive(timeout=120)).data)
    assert set(event) == set(keys.split())


async def test_curl_may_leave_its_brackets_and_quotes_unescaped(exchange: Any) -> None:
    for query in ('["BTCUSDT","BNBUSDT"]', "%5B%22BTCUSDT%22,%22BNBUSDT%22%5D"):
        async with aiohttp.ClientSession() as session:
            address = URL(f"{exchange.served.rest}/api/v3/exchangeInfo?symbols={query}", encoded=query.startswith("%"))
            async with session.get(address) as answer:
                assert [row["symbol"] for row in (await answer.json())["symbols"]] == ["BTCUSDT", "BNBUSDT"]


@pytest.mark.parametrize(
    ("path", "streams"),
    [
        ("/market/ws/btcusdt@aggTrade/ethusdt@aggTrade", {"BTCUSDT", "ETHUSDT"}),
        ("/market/stream?streams=bnbusdt@aggTrade/btcusdt@kline_1m", {"BNBUSDT", "BTCUSDT"}),
        ("/public/stream?streams=btcusdt@depth/ethusdt@depth", {"BTCUSDT", "ETHUSDT"}),
        ("/public/ws/bnbusdt@depth/ethusdt@depth", {"BNBUSDT", "ETHUSDT"}),
    ],
)
async def test_the_change_notices_own_addresses(futures: Any, path: str, streams: set[str]) -> None:
    seen: set[str] = set()
    async with websockets.connect(f"{futures.served.ws}{path}") as ws:
        while seen != streams:
            event = await next_event(ws)
            seen.add(event.get("data", event)["s"])


async def test_a_refusal_reaches_a_client_of_websockets_in_words(exchange: Any) -> None:
    async with websockets.connect(f"{exchange.served.ws}/ws/btcusdt@blockTrade") as ws:
        with pytest.raises(websockets.ConnectionClosedError, match="does not offer the stream btcusdt@blockTrade"):
            while True:
                assert "no block trades happen in this market" in json.loads(await ws.recv())["error"]["msg"]
