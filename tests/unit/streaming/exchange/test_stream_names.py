"""Names of streams: what they mean, and what is said of those that nothing could ever come on."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from quantstream.core.time import MINUTE, SECOND
from streaming.exchange.market.synthetic import SyntheticMarket
from streaming.exchange.streams.stream_names import ALL, Stream, parse_stream, why_not_offered

PATIENT_SPEED = 300.0


@pytest.mark.parametrize(
    ("name", "kind", "stream"),
    [
        ("btcusdt@kline_1d@+08:00", "spot", Stream("BTCUSDT", "kline", "1d", 480 * MINUTE, 2 * SECOND)),
        ("btcusdt@kline_1s", "spot", Stream("BTCUSDT", "kline", "1s", 0, SECOND)),
        ("币安人生usdt@trade", "spot", Stream("币安人生USDT", "trade")),
        ("btcusdt@ticker_4h", "spot", Stream("BTCUSDT", "window", "4h")),
        ("!ticker_1h@arr", "spot", Stream(ALL, "window", "1h")),
        ("!miniTicker@arr@3000ms", "spot", Stream(ALL, "miniTicker", every=3 * SECOND)),
        ("btcusdt@depth@100ms", "spot", Stream("BTCUSDT", "depth", every=SECOND // 10)),
        ("btcusdt@depth20@100ms", "futures", Stream("BTCUSDT", "partialDepth", "20", every=SECOND // 10)),
        ("!ticker@arr", "futures", Stream(ALL, "ticker")),
        ("btcusdt_perpetual@continuousKline_1m", "futures", Stream("BTCUSDT", "continuousKline", "1m")),
        ("btcusdt_261225@aggTrade", "futures", Stream("BTCUSDT_261225", "aggTrade")),
        ("BTCUSDT@trade", "spot", None),
    ],
)
def test_a_name_means(name: str, kind: Any, stream: Stream | None) -> None:
    assert parse_stream(name, kind) == stream
    assert why_not_offered(name, kind) is None


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("btcusdt@blockTrade", "spot", "no block trades happen in this market"),
        ("btcusdt@referencePrice", "spot", "this market has no reference prices"),
        ("!ticker@arr", "spot", "the exchange retired it on 2026-03-26; use !miniTicker@arr or <symbol>@ticker"),
        ("btcusdt@depth7", "spot", "streams here are trade, aggTrade"),
        ("btcusdt@kline_7m", "spot", "streams here are trade, aggTrade"),
        ("btcusdt@kline_1d@+09:00", "spot", "streams here are trade, aggTrade"),
        ("btcusdt@trades", "spot", "streams here are trade, aggTrade"),
        ("!bookTicker", "spot", "streams here are trade, aggTrade"),
        ("btcusdt@ticker_2h", "spot", "streams here are trade, aggTrade"),
        ("x" * 64, "spot", "it has no accounts and no user data"),
        ("btcusdt@markPrice@1s", "futures", "this market has no mark prices"),
        ("!forceOrder@arr", "futures", "this market tells of no liquidations"),
        ("btcusdt@kline_1s", "futures", "streams here are trade, aggTrade"),
        ("btcusdt@avgPrice", "futures", "streams here are trade, aggTrade"),
    ],
)  # fmt: skip
def test_a_name_that_would_be_silent_for_ever_is_refused_in_words(name: str, kind: Any, reason: str) -> None:
    assert parse_stream(name, kind) is None
    told = why_not_offered(name, kind)
    assert told is not None
    assert told.startswith(f"the simulated exchange does not offer the stream {name}: {reason}")


async def test_subscribing_to_it_is_an_error_and_subscribes_to_nothing(exchange: Any) -> None:
    async with exchange.socket("/ws") as socket:
        reply = await socket.ask(method="SUBSCRIBE", params=["btcusdt@trade", "btcusdt@blockTrade"], id=7)
        assert (reply["id"], reply["error"]["code"]) == (7, 2)
        assert "no block trades happen in this market" in reply["error"]["msg"]
        assert (await socket.ask(method="LIST_SUBSCRIPTIONS", id=8))["result"] == []


@pytest.mark.parametrize("path", ["/ws/btcusdt@blockTrade", "/stream?streams=btcusdt@trade/btcusdt@blockTrade"])
async def test_connecting_to_it_is_told_and_ends(exchange: Any, path: str) -> None:
    async with exchange.session.ws_connect(f"{exchange.served.ws}{path}") as ws:
        frame = json.loads((await ws.receive(timeout=10)).data)
        goodbye = await ws.receive(timeout=10)
    assert "does not offer the stream btcusdt@blockTrade: no block trades" in frame["error"]["msg"]
    assert (goodbye.type, goodbye.data) == (aiohttp.WSMsgType.CLOSE, 1008)
    assert "btcusdt@blockTrade" in goodbye.extra


async def test_a_label_in_the_address_is_none_of_our_business(exchange: Any) -> None:
    async with exchange.socket("/ws/0") as socket:
        assert (await socket.ask(method="SUBSCRIBE", params=["btcusdt@trade"], id=1))["result"] is None
        await socket.events(1)


async def test_all_markets_and_rolling_windows_are_told_as_rest_tells_them(exchange: Any) -> None:
    names = ["!miniTicker@arr", "!ticker_1h@arr", "btcusdt@ticker_4h", "btcusdt@ticker_1d", "btcusdt@avgPrice"]
    seen: dict[str, Any] = {}
    async with exchange.socket(f"/stream?streams={'/'.join(names)}") as socket:
        while len(seen) < len(names):
            frame = json.loads(await socket.frame())
            seen.setdefault(frame["stream"], frame["data"])
    assert {row["e"] for row in seen["!miniTicker@arr"]} == {"24hrMiniTicker"}
    assert {row["s"] for row in seen["!miniTicker@arr"]} == {"BTCUSDT", "BNBUSDT", "XRPUSDT"}
    assert {row["e"] for row in seen["!ticker_1h@arr"]} == {"1hTicker"}
    assert set(seen["btcusdt@ticker_4h"]) == set("eEspPohlcwvqOCFLn")
    four = seen["btcusdt@ticker_4h"]
    assert (four["O"] % 60_000, (four["C"] - four["O"]) // 60_000) == (0, 240)
    assert set(seen["btcusdt@avgPrice"]) == set("eEsiwT")


@pytest.mark.parametrize("interval", ["1s", "1m", "1h"])
async def test_klines_of_every_length_close_with_what_rest_says(
    market: SyntheticMarket, run: Any, interval: str
) -> None:
    speed = {"1s": 20.0, "1m": 600.0, "1h": 20_000.0}[interval]
    closed: list[Any] = []
    async with run(market, speed=speed) as exchange, exchange.socket(f"/ws/xrpusdt@kline_{interval}") as socket:
        while len(closed) < 5:
            closed += [event["k"] for event in await socket.events(1) if event["k"]["x"]]
        first = closed[0]["t"]
        rows = await exchange.get("/api/v3/klines", symbol="XRPUSDT", interval=interval, startTime=first, limit=5)
    keys = ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q", "B")
    assert [[kline[key] for key in keys] for kline in closed[:5]] == rows


async def test_klines_of_utc_plus_8_open_with_its_days(market: SyntheticMarket, run: Any) -> None:
    async with run(market, speed=50_000.0) as exchange:
        async with exchange.socket("/stream?streams=btcusdt@kline_1d@+08:00") as socket:
            closed: list[Any] = []
            while not closed:
                closed = [event for event in await socket.events(1) if event["data"]["k"]["x"]]
        kline = closed[0]["data"]["k"]
        [row] = await exchange.get(
            "/api/v3/klines", symbol="BTCUSDT", interval="1d", timeZone="8", startTime=kline["t"], limit=1
        )
    assert closed[0]["stream"] == "btcusdt@kline_1d@+08:00"
    assert ((kline["t"] + 8 * 3_600_000) % 86_400_000, kline["i"]) == (0, "1d")
    assert [kline[key] for key in ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q", "B")] == row
