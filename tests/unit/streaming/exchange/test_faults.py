"""Each fault really happens, as often as ordered, and is counted."""

from __future__ import annotations

import asyncio
import random
import time
from itertools import pairwise
from typing import Any

import aiohttp
import pytest

from quantstream.core.errors import Misconfigured
from streaming.exchange.faults import Fault, Faults, parse_faults
from streaming.exchange.market.synthetic import SyntheticMarket
from streaming.exchange.streams.client import Rules

STREAM = "btcusdt@trade"


async def ids_around(exchange: Any, kind: str, count: int) -> list[int]:
    """Return trade ids as they came, from before a fault was ordered until well after it, however many were on their way."""
    async with exchange.socket(f"/ws/{STREAM}") as socket:
        ids = [event["t"] for event in await socket.events(1)]
        await exchange.order(kind, count=count, stream=STREAM)
        while await exchange.injected() != {kind: count}:
            ids += [event["t"] for event in await socket.events(1)]
        (newest,) = await exchange.get("/api/v3/trades", symbol="BTCUSDT", limit=1)
        while ids[-1] < newest["id"] + 10:
            ids += [event["t"] for event in await socket.events(1)]
        return ids


async def test_skipped_trades_are_missing_on_the_stream_and_there_over_rest(exchange: Any) -> None:
    ids = await ids_around(exchange, "skip", 3)
    missing = sorted(set(range(ids[0], ids[-1] + 1)) - set(ids))
    assert (len(missing), missing[-1] - missing[0]) == (3, 2)
    rows = await exchange.get("/api/v3/historicalTrades", symbol="BTCUSDT", fromId=missing[0], limit=3)
    assert [row["id"] for row in rows] == missing
    assert await exchange.injected() == {"skip": 3}


async def test_duplicates_come_twice(exchange: Any) -> None:
    ids = await ids_around(exchange, "duplicate", 2)
    assert len(ids) - len(set(ids)) == 2
    assert ids == sorted(ids)
    assert await exchange.injected() == {"duplicate": 2}


async def test_a_reordered_trade_comes_after_its_follower(exchange: Any) -> None:
    ids = await ids_around(exchange, "reorder", 1)
    assert sorted(ids) == list(range(min(ids), min(ids) + len(ids)))
    assert [after - before for before, after in pairwise(ids) if after != before + 1] in (
        [2, -1, 2],
        [-1, 2],
    )
    assert await exchange.injected() == {"reorder": 1}


async def test_a_malformed_frame_is_half_a_frame(exchange: Any) -> None:
    async with exchange.socket(f"/ws/{STREAM}") as socket:
        await socket.events(1)
        await exchange.order("malformed", count=1)
        while (frame := await socket.frame()) is not None and frame.endswith("}"):
            pass
        assert frame is not None
        assert frame.startswith('{"e":"trade"')
    assert await exchange.injected() == {"malformed": 1}


async def test_a_dropped_connection_ends_without_a_close_frame(exchange: Any) -> None:
    async with exchange.socket(f"/ws/{STREAM}") as socket, exchange.socket("/ws/xrpusdt@trade") as other:
        await socket.events(1)
        await exchange.order("drop", count=1)
        assert await socket.ends() in (None, 1006)
        assert await other.ends() in (None, 1006)
    assert await exchange.injected() == {"drop": 2}


async def test_a_drop_on_one_stream_cuts_only_its_listeners(exchange: Any) -> None:
    async with exchange.socket(f"/ws/{STREAM}") as socket, exchange.socket("/ws/bnbusdt@trade") as other:
        await exchange.order("drop", count=1, stream=STREAM)
        assert await socket.ends() in (None, 1006)
        assert len(await other.events(3)) == 3
    assert await exchange.injected() == {"drop": 1}


@pytest.mark.parametrize("pings", [True, False])
async def test_a_stall_sends_nothing_and_then_everything(market: SyntheticMarket, run: Any, pings: bool) -> None:
    async with run(market, rules=Rules(ping_every=0.05)) as exchange, exchange.socket(f"/ws/{STREAM}") as socket:
        first = (await socket.events(1))[0]["t"]
        await exchange.order("stall", count=1, seconds=1.5, pings=pings)
        began, said, socket.pings = time.monotonic(), time.time(), []
        ids = [event["t"] for event in await socket.events(60)]
        early = [event for event in ids if event <= first]
        assert early == []
        assert ids == list(range(ids[0], ids[0] + 60))
        assert time.monotonic() - began >= 0.5
        during = [int(ping) for ping in socket.pings if said <= int(ping) / 1000 < said + 0.5]
        assert bool(during) is pings


async def test_a_shutdown_is_announced(exchange: Any) -> None:
    async with exchange.socket("/ws") as socket:
        await socket.ask(method="LIST_SUBSCRIPTIONS", id=1)
        await exchange.order("shutdown", count=1, seconds=0.1)
        frame = await socket.frame()
        assert frame is not None
        assert frame.startswith('{"e":"serverShutdown"')
        assert await socket.ends() == 1001


async def test_rest_fails_as_ordered(exchange: Any) -> None:
    await exchange.order("rest_429", count=1, seconds=3)
    async with exchange.session.get(f"{exchange.served.rest}/api/v3/time") as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "3")
    await exchange.order("rest_500", count=1)
    assert (await exchange.get("/api/v3/time", status=500))["code"] == -1000
    await exchange.order("rest_timeout", count=2, seconds=0.1)  # aiohttp tries a cut GET once more by itself
    with pytest.raises(aiohttp.ClientError):
        await exchange.get("/api/v3/time")
    assert "serverTime" in await exchange.get("/api/v3/time")
    assert await exchange.injected() == {"rest_429": 1, "rest_500": 1, "rest_timeout": 2}


async def test_orders_can_be_seen_and_withdrawn(exchange: Any) -> None:
    shown = await exchange.order("skip", probability=0.5, stream=STREAM)
    order = {"kind": "skip", "count": None, "probability": 0.5, "seconds": 1.0, "pings": False, "stream": STREAM}
    assert shown["active"] == [order | {"streams": [], "symbol": ""}]
    async with exchange.session.delete(f"{exchange.served.rest}/control/faults") as answer:
        assert (await answer.json())["active"] == []


@pytest.mark.parametrize(
    "body", ['{"kind":"fire","count":1}', '{"kind":"drop"}', '{"kind":"drop","probability":2}', "{"]
)
async def test_a_wrong_order_is_refused_with_a_reason(exchange: Any, body: str) -> None:
    async with exchange.session.post(f"{exchange.served.rest}/control/faults", data=body) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]


async def test_random_faults_lose_nothing_that_rest_cannot_give_back(market: SyntheticMarket, run: Any) -> None:
    faults = Faults(random.Random(3), parse_faults("skip=0.05,duplicate=0.05,reorder=0.05,malformed=0.02"))
    async with run(market, speed=600.0, faults=faults) as exchange, exchange.socket(f"/ws/{STREAM}") as socket:
        frames = [await socket.frame() for _ in range(600)]
        whole = [frame for frame in frames if frame and frame.endswith("}")]
        ids = {int(frame.split('"t":')[1].split(",")[0]) for frame in whole}
        missing = [number for number in range(min(ids), max(ids)) if number not in ids]
        for number in missing:
            [row] = await exchange.get("/api/v3/historicalTrades", symbol="BTCUSDT", fromId=number, limit=1)
            assert row["id"] == number
        injected = await exchange.injected()
    assert 0 < len(missing) <= injected["skip"] + injected["malformed"] + injected["reorder"]
    assert all(injected[kind] > 0 for kind in ("skip", "duplicate", "reorder", "malformed"))


def test_the_same_seed_gives_the_same_faults() -> None:
    def strikes() -> list[bool]:
        faults = Faults(random.Random(5), [Fault(kind="drop", probability=0.3)])
        return [faults.strike("drop") is not None for _ in range(100)]

    assert strikes() == strikes()
    assert 10 < sum(strikes()) < 60


def test_a_counted_fault_strikes_exactly_that_often() -> None:
    faults = Faults(random.Random(0), [Fault(kind="skip", count=2, stream="a@trade")])
    assert [faults.strike("skip", stream) is not None for stream in ("b@trade", "a@trade", "a@trade", "a@trade")] == [
        False, True, True, False,
    ]  # fmt: skip
    assert faults.active == []


def test_faults_of_the_command_line() -> None:
    assert parse_faults("drop=0.001, stall=0.1:5") == [
        Fault(kind="drop", probability=0.001),
        Fault(kind="stall", probability=0.1, seconds=5.0),
    ]
    for wrong in ("fire=0.1", "drop", "drop=2", "drop=x"):
        with pytest.raises(Misconfigured, match="write it like"):
            parse_faults(wrong)


async def test_a_client_that_falls_too_far_behind_is_cut_and_holds_up_nobody(market: SyntheticMarket, run: Any) -> None:
    async with (
        run(market, speed=600.0, rules=Rules(backlog=1_000)) as exchange,
        exchange.socket(f"/ws/{STREAM}") as slow,
        exchange.socket("/ws/bnbusdt@trade") as other,
    ):
        await slow.events(1)
        await exchange.order("stall", count=1, seconds=30, stream=STREAM)
        assert await slow.ends() in (None, 1006)
        assert len(await other.events(5)) == 5


async def test_a_muted_stream_brings_nothing_for_a_stretch_of_exchange_time_while_pings_and_rest_go_on(
    exchange: Any,
) -> None:
    async with exchange.socket(f"/stream?streams={STREAM}/xrpusdt@trade/bnbusdt@trade") as socket:
        await socket.events(3)
        told = await exchange.order("mute", count=1, streams=[STREAM, "xrpusdt@trade"], seconds=600)
        assert set(told["muted"]) == {STREAM, "xrpusdt@trade"}
        until = told["muted"][STREAM] // 1000
        newest = (await exchange.get("/api/v3/trades", symbol="BTCUSDT", limit=1))[0]["id"]
        await socket.ws.ping(b"alive")
        events: list[Any] = []
        while not events or events[-1]["data"]["T"] < until + 60_000:
            events += await socket.events(1)
        times = [event["data"]["T"] for event in events if event["stream"] != "bnbusdt@trade"]
        step = 240_000  # of the market in a look at it, on a machine that is too busy to look more often
        assert not [at for at in times if until - 600_000 < at < until - step]
        assert [event for event in events if until - 600_000 < event["data"]["T"] < until - step]
        assert max(times) > until
        rows = await exchange.get("/api/v3/historicalTrades", symbol="BTCUSDT", fromId=newest, limit=10)
        assert len(rows) == 10
    assert (await exchange.injected())["mute"] > 0


async def test_all_streams_can_be_muted_until_further_notice(exchange: Any) -> None:
    async with exchange.socket(f"/ws/{STREAM}") as socket:
        await socket.events(1)
        await exchange.order("mute", count=1, seconds=0)
        before = (await exchange.get("/api/v3/time"))["serverTime"]
        while (await exchange.get("/api/v3/time"))["serverTime"] < before + 120_000:
            await asyncio.sleep(0.01)
        async with exchange.session.delete(f"{exchange.served.rest}/control/faults") as answer:
            assert (await answer.json())["muted"] == {}
        times = [event["T"] for event in await socket.events(60)]
        assert not [at for at in times if before + 10_000 < at < before + 110_000]


async def test_a_delisted_symbol_is_refused_over_rest_and_silent_until_it_is_listed_again(exchange: Any) -> None:
    await exchange.order("delist", symbol="XRPUSDT", count=1, seconds=60)
    refusal = await exchange.get("/api/v3/aggTrades", status=400, symbol="XRPUSDT")
    assert refusal["code"] == -1121
    names = {row["symbol"] for row in (await exchange.get("/api/v3/exchangeInfo"))["symbols"]}
    assert names == {"BTCUSDT", "BNBUSDT"}
    until = (await exchange.get("/control/faults"))["delisted"]["XRPUSDT"] // 1000
    while (await exchange.get("/api/v3/time"))["serverTime"] < until:
        await asyncio.sleep(0.01)
    assert await exchange.get("/api/v3/aggTrades", symbol="XRPUSDT", limit=1)


def test_a_delisting_names_its_symbol() -> None:
    with pytest.raises(ValueError, match="delist needs a symbol and a count"):
        Fault(kind="delist", count=1)
