"""The WebSocket as a client sees it: subscriptions, errors, forms of events, order, and the exchange's rules."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantstream.binance.wire import parse_trade
from quantstream.core.decimals import to_units
from quantstream.core.time import MINUTE
from streaming.exchange.market.synthetic import SyntheticMarket
from streaming.exchange.streams.client import Rules
from streaming.exchange.streams.stream_requests import METHODS, Subscriptions

PATIENT = Rules(messages_per_second=1_000)


async def test_combined_streams_are_wrapped_and_raw_ones_are_not(exchange: Any) -> None:
    async with exchange.socket("/stream?streams=btcusdt@trade") as socket:
        [event] = await socket.events(1)
    assert event["stream"] == "btcusdt@trade"
    assert set(event["data"]) == {"e", "E", "s", "t", "p", "q", "T", "m", "M"}
    async with exchange.socket("/ws/btcusdt@aggTrade") as socket:
        [event] = await socket.events(1)
    assert set(event) == {"e", "E", "s", "a", "p", "q", "f", "l", "T", "m", "M"}


async def test_every_trade_is_sent_once_and_equals_the_rest_sides(exchange: Any) -> None:
    async with exchange.socket("/stream?streams=btcusdt@trade") as socket:
        events = [event["data"] for event in await socket.events(150)]
    ids = [event["t"] for event in events]
    assert ids == list(range(ids[0], ids[0] + 150))
    rows = await exchange.get("/api/v3/historicalTrades", symbol="BTCUSDT", fromId=ids[0], limit=150)
    assert [(e["t"], e["p"], e["q"], e["T"], e["m"]) for e in events] == [
        (r["id"], r["price"], r["qty"], r["time"], r["isBuyerMaker"]) for r in rows
    ]
    assert [parse_trade(json.dumps(event).encode()).price for event in events] == [
        to_units(row["price"]) for row in rows
    ]


async def test_aggregates_equal_the_rest_sides(exchange: Any) -> None:
    async with exchange.socket("/ws/btcusdt@aggTrade") as socket:
        events = await socket.events(100)
    rows = await exchange.get("/api/v3/aggTrades", symbol="BTCUSDT", fromId=events[0]["a"], limit=100)
    assert [{key: event[key] for key in row} for event, row in zip(events, rows, strict=True)] == rows


async def test_events_of_all_symbols_come_in_the_order_of_trading(exchange: Any) -> None:
    async with exchange.socket("/stream?streams=btcusdt@trade/bnbusdt@trade/xrpusdt@trade") as socket:
        times = [event["data"]["T"] for event in await socket.events(200)]
    assert times == sorted(times)


async def test_subscribing_listing_and_unsubscribing(exchange: Any) -> None:
    async with exchange.socket("/ws") as socket:
        assert await socket.ask(method="SUBSCRIBE", params=["btcusdt@trade", "xrpusdt@trade"], id=1) == {
            "result": None,
            "id": 1,
        }
        assert await socket.ask(method="LIST_SUBSCRIPTIONS", id="a-2") == {
            "result": ["btcusdt@trade", "xrpusdt@trade"],
            "id": "a-2",
        }
        assert {event["s"] for event in await socket.events(20)} <= {"BTCUSDT", "XRPUSDT"}
        assert await socket.ask(method="UNSUBSCRIBE", params=["btcusdt@trade"], id=None) == {"result": None, "id": None}
        assert await socket.ask(method="LIST_SUBSCRIPTIONS", id=3) == {"result": ["xrpusdt@trade"], "id": 3}


async def test_the_combined_property_wraps_from_then_on(market: SyntheticMarket, run: Any) -> None:
    async with run(market, rules=PATIENT) as exchange, exchange.socket("/ws/btcusdt@trade") as socket:
        assert await socket.ask(method="GET_PROPERTY", params=["combined"], id=1) == {"result": False, "id": 1}
        assert await socket.ask(method="SET_PROPERTY", params=["combined", True], id=2) == {"result": None, "id": 2}
        assert set((await socket.events(1))[0]) == {"stream", "data"}


@pytest.mark.parametrize(
    ("request_text", "error"),
    [
        ("{", {"code": 3, "msg": "Invalid JSON: expected value at line 1 column 2"}),
        ('{"id":1}', {"code": 2, "msg": "Invalid request: missing field `method` at line 1 column 8"}),
        ('{"method":"GET","id":1}', {"code": 2, "msg": "Invalid request: unknown variant `GET`, expected one of `SUBSCRIBE`, "
         "`UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY` at line 1 column 23"}),
        ('{"method":"SUBSCRIBE","params":["btcusdt"],"id":1}', {"code": 2, "msg": "Invalid request: invalid stream"}),
        ('{"method":"LIST_SUBSCRIPTIONS","params":["x"],"id":1}', {"code": 2, "msg": "Invalid request: too many parameters"}),
        ('{"method":"GET_PROPERTY","params":["x"],"id":1}', {"code": 0, "msg": "Unknown property"}),
        ('{"method":"GET_PROPERTY","params":[1],"id":1}', {"code": 2, "msg": "Invalid request: property name must be a string"}),
        ('{"method":"SET_PROPERTY","params":["combined",1],"id":1}', {"code": 1, "msg": "Invalid value type: expected Boolean"}),
        ('{"method":"SUBSCRIBE","params":["a@trade"]}',
         {"code": 2, "msg": "Invalid request: request ID must be an unsigned integer"}),
    ],
)  # fmt: skip
async def test_a_bad_request_is_answered_with_the_exchanges_error(exchange: Any, request_text: str, error: Any) -> None:
    async with exchange.socket("/ws") as socket:
        await socket.ws.send_str(request_text)
        reply = await socket.reply()
    assert reply["error"] == error
    assert reply["id"] in (1, None)


async def test_a_connection_listens_to_1024_streams_and_no_more(exchange: Any) -> None:
    many = [f"s{number}usdt@trade" for number in range(1024)]
    async with exchange.socket("/ws") as socket:
        assert await socket.ask(method="SUBSCRIBE", params=many, id=1) == {"result": None, "id": 1}
        assert (await socket.ask(method="SUBSCRIBE", params=["one@trade"], id=2))["error"]["code"] == 2
        assert len((await socket.ask(method="LIST_SUBSCRIPTIONS", id=3))["result"]) == 1024


async def test_times_come_in_microseconds_when_asked(market: SyntheticMarket, exchange: Any) -> None:
    async with (
        exchange.socket("/ws/btcusdt@trade") as millis,
        exchange.socket("/stream?streams=btcusdt@trade&timeUnit=MICROSECOND") as micros,
    ):
        coarse = {event["t"]: event["T"] for event in await millis.events(60)}
        fine = {event["data"]["t"]: event["data"]["T"] for event in await micros.events(60)}
    both = coarse.keys() & fine.keys()
    assert both
    assert all(fine[number] // 1000 == coarse[number] for number in both)


async def test_klines_close_with_what_rest_says_of_them(market: SyntheticMarket, run: Any) -> None:
    async with run(market, speed=600.0) as exchange, exchange.socket("/ws/btcusdt@kline_5m/xrpusdt@kline_1m") as socket:
        events = [event["k"] for event in await socket.events(25)]
        closed = [kline for kline in events if kline["x"]]
        for kline in closed:
            [row] = await exchange.get(
                "/api/v3/klines", symbol=kline["s"], interval=kline["i"], startTime=kline["t"], endTime=kline["t"]
            )
            keys = ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q", "B")
            assert [kline[key] for key in keys] == row
    opened = [kline["t"] for kline in closed if kline["i"] == "1m"]
    assert opened == list(range(opened[0], opened[-1] + 1, MINUTE // 1000)), "each minute closes, the quiet ones too"
    assert any(not kline["x"] for kline in events)


async def test_tickers_are_told(exchange: Any) -> None:
    names = ["btcusdt@ticker", "btcusdt@miniTicker", "btcusdt@bookTicker"]
    seen: dict[str, Any] = {}
    async with exchange.socket(f"/stream?streams={'/'.join(names)}") as socket:
        while len(seen) < 3:
            frame = json.loads(await socket.frame())
            seen[frame["stream"]] = frame["data"]
    assert (seen[names[0]]["e"], seen[names[1]]["e"]) == ("24hrTicker", "24hrMiniTicker")
    assert set(seen[names[2]]) == {"u", "s", "b", "B", "a", "A"}


async def test_a_pong_says_that_all_that_traded_before_the_ping_was_sent(market: SyntheticMarket, run: Any) -> None:
    async with run(market, speed=2_000.0, rules=PATIENT) as exchange, exchange.socket("/ws/btcusdt@trade") as socket:
        latest = (await socket.events(1))[0]["t"]
        for number in range(20):
            now = (await exchange.get("/api/v3/time"))["serverTime"]
            await socket.ws.ping(str(number).encode())
            while (message := await socket.ws.receive(timeout=5)).type is not aiohttp.WSMsgType.PONG:
                latest = json.loads(message.data)["t"]
            assert message.data == str(number).encode()
            rows = await exchange.get("/api/v3/aggTrades", symbol="BTCUSDT", endTime=now - 1, limit=1)
            assert latest >= rows[-1]["l"]


async def test_the_exchange_pings_and_cuts_who_does_not_answer(market: SyntheticMarket, run: Any) -> None:
    async with (
        run(market, rules=Rules(ping_every=0.05, pong_within=0.2, messages_per_second=1_000)) as exchange,
        exchange.socket("/ws/btcusdt@trade") as silent,
        exchange.session.ws_connect(f"{exchange.served.ws}/ws/btcusdt@trade") as answering,
    ):
        assert await silent.ends() == 1008
        assert len(silent.pings) >= 2
        assert (await answering.receive(timeout=5)).type is aiohttp.WSMsgType.TEXT


async def test_unsolicited_pongs_do_not_keep_a_connection(market: SyntheticMarket, run: Any) -> None:
    rules = Rules(ping_every=0.05, pong_within=0.2, messages_per_second=1_000)
    async with run(market, rules=rules) as exchange, exchange.socket("/ws/btcusdt@trade") as socket:

        async def chatter() -> None:
            while True:
                await socket.ws.pong(b"")
                await asyncio.sleep(0.02)

        task = asyncio.create_task(chatter())
        assert await socket.ends() == 1008
        task.cancel()


async def test_six_messages_in_a_second_are_one_too_many(exchange: Any) -> None:
    async with exchange.socket("/ws") as socket:
        for number in range(6):
            await socket.ws.send_json({"method": "LIST_SUBSCRIPTIONS", "id": number})
        assert await socket.ends() == 1008


async def test_a_connection_ends_after_its_lifetime_and_says_so_before(market: SyntheticMarket, run: Any) -> None:
    rules = Rules(lifetime=0.5, shutdown_notice=0.3)
    async with run(market, rules=rules) as exchange, exchange.socket("/ws") as socket:
        frame = json.loads(await socket.frame())
        assert (frame["e"], set(frame)) == ("serverShutdown", {"e", "E"})
        assert await socket.ends() == 1001


async def test_a_stopping_exchange_says_so_to_its_clients(market: SyntheticMarket, run: Any) -> None:
    async with aiohttp.ClientSession() as session:
        async with run(market) as exchange:
            ws = await session.ws_connect(f"{exchange.served.ws}/ws")
            await ws.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 1})
            await ws.receive(timeout=5)
            stopping = asyncio.create_task(asyncio.sleep(0))
        await stopping
        assert json.loads((await ws.receive(timeout=5)).data)["e"] == "serverShutdown"
        assert (await ws.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE
        await ws.close()


async def test_unknown_symbols_are_accepted_and_silent(exchange: Any) -> None:
    async with exchange.socket("/ws/nosuch@trade/BTCUSDT@trade/btcusdt@trade") as socket:
        assert {event["s"] for event in await socket.events(30)} == {"BTCUSDT"}
        assert "nosuch@trade" in (await socket.ask(method="LIST_SUBSCRIPTIONS", id=1))["result"]


@settings(max_examples=60)
@given(st.text() | st.builds(json.dumps, st.dictionaries(st.sampled_from(["method", "params", "id"]), st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(METHODS), st.lists))))  # fmt: skip
def test_whatever_a_client_sends_is_answered(text: str) -> None:
    reply = json.loads(Subscriptions([], combined=False).answer(text))
    assert set(reply) in ({"error", "id"}, {"result", "id"})


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"id":' + "9" * 5_000 + "}", '{"method":"\\ud800","id":1}', "[]", "1", "\u2028"]
)
def test_odd_requests_are_answered_with_an_error(text: str) -> None:
    assert set(json.loads(Subscriptions([], combined=False).answer(text))) == {"error", "id"}
