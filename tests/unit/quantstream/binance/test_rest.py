"""REST against the simulated exchange: never over the allowed weight, obedient when refused, content with what is offered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from quantstream.binance import rest as rest_client
from quantstream.binance.feed import connect
from quantstream.binance.market_history import BinanceHistory
from quantstream.binance.protocols import NotOffered, UnknownSymbol
from quantstream.binance.rate_limits import Weight
from quantstream.binance.rest import RestClient
from quantstream.binance.transports import opener
from quantstream.core.errors import Unavailable
from quantstream.core.time import MINUTE, SECOND
from streaming.exchange.clock import Clock
from streaming.exchange.error_answers import Refused
from streaming.exchange.faults import Fault
from streaming.exchange.market.synthetic import MarketSeed, SyntheticMarket
from streaming.exchange.rest.weights import Allowance, Attempts
from streaming.exchange.server.http_server import Options, Served, serve
from streaming.exchange.streams.client import Rules

STARTS_AT = 1_763_800_123 * SECOND


@pytest.fixture(scope="module")
def market() -> SyntheticMarket:
    return SyntheticMarket(MarketSeed(seed=3, starts_at=STARTS_AT, history_days=1), ["BTCUSDT"])


@asynccontextmanager
async def asking(market: SyntheticMarket, **options: Any) -> AsyncIterator[tuple[Served, BinanceHistory, list[int]]]:
    told: list[int] = []
    async with (
        serve(market, Clock(STARTS_AT, 1.0), Options(**options)) as served,
        aiohttp.ClientSession() as session,
    ):
        yield (
            served,
            BinanceHistory(session, served.rest, served.rest, "trade", on_weight=told.append, longest_wait=5),
            told,
        )


@pytest.mark.parametrize("kind", ["rest_429", "rest_418"])
async def test_nothing_is_asked_until_the_exchange_said_that_it_may_be(market: SyntheticMarket, kind: str) -> None:
    async with asking(market) as (served, rest, _):
        served.faults.order(Fault(kind=kind, count=1, seconds=1))
        began = time.monotonic()
        first = asyncio.create_task(rest.time())
        while not served.faults.injected[kind]:
            await asyncio.sleep(0.005)
        served.faults.order(Fault(kind="rest_500", count=1))  # whoever asks too early meets it
        await asyncio.sleep(0.1)
        others = [asyncio.create_task(rest.aggregates_since("BTCUSDT", STARTS_AT - MINUTE)) for _ in range(3)]
        await asyncio.sleep(0.3)
        assert served.faults.injected["rest_500"] == 0
        await asyncio.gather(first, *others)
        assert served.faults.injected["rest_500"] == 1
        assert time.monotonic() - began >= 1


async def test_a_ban_for_long_is_not_sat_out_but_said(market: SyntheticMarket) -> None:
    async with asking(market) as (served, rest, _):
        served.faults.order(Fault(kind="rest_418", count=1, seconds=900))
        with pytest.raises(Unavailable, match="answers /time again in"):
            await rest.time()
        with pytest.raises(Unavailable, match="again in"):
            await rest.trades_from("BTCUSDT", 1)
        assert served.faults.injected["rest_418"] == 1


async def test_the_used_weight_is_told_as_the_exchange_counts_it(market: SyntheticMarket) -> None:
    async with asking(market) as (served, rest, told):
        if time.time() % 60 > 55:
            await asyncio.sleep(6)  # a minute's turn resets the count
        await rest.time()
        await rest.aggregates_since("BTCUSDT", STARTS_AT - MINUTE)
        async with aiohttp.ClientSession() as other:
            await other.get(f"{served.rest}/api/v3/depth?symbol=BTCUSDT&limit=5000")
        await rest.time()
        assert told == [1, 5, 256]
        assert rest.used_weight == 256


def test_requests_wait_for_the_next_minute_before_the_limit_is_reached() -> None:
    now = [120.0]
    weight = Weight(100, wall=lambda: now[0])
    assert [weight.reserve(25) for _ in range(3)] == [0, 0, 0]
    now[0] = 130.0
    assert weight.reserve(25) == 50.0, "90 of 100 are ours to use"
    assert weight.used == 75
    weight.told(89)
    assert weight.reserve(4) == 50.0
    now[0] = 180.0
    assert weight.used == 0
    assert weight.reserve(25) == 0
    assert Weight(10, wall=lambda: 0.0).reserve(25) == 0, "one request a minute is always possible"


async def test_where_single_trades_are_not_given_out_that_is_said_at_once(market: SyntheticMarket) -> None:
    async with asking(market, data_only=True) as (_, rest, _told):
        with pytest.raises(NotOffered, match="no single trades"):
            await rest.trades_from("BTCUSDT", 1)
        rows = await rest.aggregates_since("BTCUSDT", STARTS_AT - 60 * MINUTE)
        again = await rest.aggregates_from("BTCUSDT", rows[3][0].id)
        assert again[: len(rows) - 3] == rows[3:]
        latest = await rest.latest_trade("BTCUSDT")
        assert latest is not None
        assert latest.id >= rows[-1][0].id


def test_an_address_that_goes_on_after_429_is_banned() -> None:
    now = [600.0]
    allowance = Allowance(10, wall=lambda: now[0])
    assert allowance.use("a", 10) == 10
    found = []
    for _ in range(12):
        with pytest.raises(Refused) as refused:
            allowance.use("a", 1)
        found.append(refused.value.status)
    assert found == [429] * 10 + [418] * 2
    now[0] = 700.0
    with pytest.raises(Refused) as refused:
        allowance.use("a", 1)
    assert (refused.value.status, refused.value.headers["Retry-After"]) == (418, "20")
    now[0] = 721.0
    assert allowance.use("a", 1) == 1


def test_an_address_may_try_so_many_connections_in_so_long() -> None:
    now = [0.0]
    attempts = Attempts(3, 10.0, lambda: now[0])
    for _ in range(3):
        attempts.count("a")
    attempts.count("b")
    with pytest.raises(Refused):
        attempts.count("a")
    now[0] = 11.0
    attempts.count("a")


async def test_one_connection_attempt_too_many_is_refused(market: SyntheticMarket) -> None:
    async with asking(market, rules=Rules(attempts=2)) as (served, _, _told):
        feeds = [await connect(served.ws, ["btcusdt@trade"], opener("websockets")) for _ in range(2)]
        with pytest.raises(Unavailable, match="429"):
            await connect(served.ws, ["btcusdt@trade"], opener("websockets"))
        for feed in feeds:
            await feed.close()


async def test_who_traded_is_one_question_for_many_and_never_waits() -> None:
    names = ["BTCUSDT", "ETHUSDT", "XRPUSDT"]
    market = SyntheticMarket(MarketSeed(seed=3, starts_at=STARTS_AT, history_days=1), names)
    async with asking(market) as (served, rest, _):
        newest = await rest.newest_ids(names)
        for name in names:
            latest = await rest.latest_trade(name)
            assert latest is not None
            assert 0 <= latest.last_trade_id - newest[name] <= 5
        assert rest.weights[f"{served.rest}/api/v3"].used <= 2 + 3 * 4
        assert await rest.newest_ids(["NOPEUSDT"]) == {}, "of an unknown one it does not tell"
        served.faults.order(Fault(kind="rest_429", count=1, seconds=30))
        with pytest.raises(Unavailable):
            await rest.newest_ids(names)
        began = time.monotonic()
        with pytest.raises(Unavailable, match="refuses requests for a while"):
            await rest.newest_ids(names)
        assert time.monotonic() - began < 5


async def test_an_unknown_symbol_is_its_own_kind_of_refusal(market: SyntheticMarket) -> None:
    async with asking(market) as (_, rest, _told):
        for ask in (
            rest.latest_trade("NOPEUSDT"),
            rest.aggregates_since("NOPEUSDT", STARTS_AT),
            rest.trades_from("NOPEUSDT", 1),
        ):
            with pytest.raises(UnknownSymbol, match=r"knows no symbol NOPEUSDT \(-1121\)"):
                await ask


def test_repairs_leave_weight_to_the_clock_and_to_the_question_who_traded() -> None:
    weight = Weight(1000, wall=lambda: 0.0)
    while not weight.reserve(25, spare=0.1):
        pass
    assert 780 <= weight.used <= 810
    assert weight.reserve(2) == 0


async def test_an_exchange_that_has_become_slow_is_given_more_time_to_say_who_traded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rest_client, "SOON", 0.05)
    asked: list[float] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(0.3)
        await asyncio.sleep(asked[-1])
        return web.Response(body=b"[]")

    app = web.Application()
    app.router.add_get("/api/v3/ticker/24hr", answer)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        client = RestClient(session, str(server.make_url("/api/v3")), Weight(100_000))
        with pytest.raises(Unavailable, match="nothing came within"):
            await client.get_soon("/ticker/24hr", 80, {})
        for _ in range(20):
            try:
                assert await client.get_soon("/ticker/24hr", 80, {}) == b"[]"
                break
            except Unavailable:
                continue
        else:
            pytest.fail("it was never given the time that it takes")
    assert len(asked) > 2
