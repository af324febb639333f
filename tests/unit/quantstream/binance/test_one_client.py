"""What ingest awaits and what commands call are one client: one account of weight, one reading of refusals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from quantstream.binance.endpoint_weights import market_of
from quantstream.binance.market_history import BinanceHistory
from quantstream.binance.protocols import NotOffered, UnknownSymbol
from quantstream.binance.rate_limits import Weight
from quantstream.binance.rest import BlockingRest, open_session
from quantstream.core.errors import Misconfigured, Unavailable

API = "/api/v3"


class Scripted:
    """Answers what it is given, in order, then the time; it notes what it was asked."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes, dict[str, str]]] = []
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        status, body, headers = self.answers.pop(0) if self.answers else (200, b'{"serverTime":1763800123000}', {})
        return web.Response(status=status, body=body, headers=headers)


@asynccontextmanager
async def scripted() -> AsyncIterator[tuple[Scripted, str]]:
    script, app = Scripted(), web.Application()
    app.router.add_get("/{path:.*}", script.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield script, f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quantstream.binance.rest.FIRST_PAUSE", 0.001)


def test_processes_of_one_address_have_their_shares_of_what_its_header_counts_together() -> None:
    mine = Weight(1000, wall=lambda: 0.0, shares=2)
    assert mine.reserve(400) == 0
    mine.told(800)  # the other one has used as much
    assert mine.reserve(40) == 0, "450 of 900 are ours, and 840 of them are used by both"
    assert mine.reserve(20) == 60.0, "that would be more than our half"
    other = Weight(1000, wall=lambda: 0.0, shares=2)
    assert other.reserve(1) == 0
    other.told(899)
    assert other.reserve(2) == 60.0, "our half is free, the address has used all"


@settings(deadline=None)  # a busy machine is no fault
@given(
    shares=st.integers(1, 4),
    asked=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 25), st.booleans()), max_size=200),
)
def test_however_processes_take_turns_their_address_stays_below_what_is_allowed(
    shares: int, asked: list[tuple[int, int, bool]]
) -> None:
    accounts, counted = [Weight(1000, wall=lambda: 0.0, shares=shares) for _ in range(shares)], 0
    for process, weight, is_answered in asked:
        account = accounts[process % shares]
        if not account.reserve(weight):
            counted += weight
            if is_answered:
                account.told(counted)
                assert account.used == counted
    assert counted <= 900


async def test_a_command_waits_for_weight_that_ingest_has_used() -> None:
    async with scripted() as (script, base):
        now, pauses = [610.0], list[float]()

        async def sleep(seconds: float) -> None:
            pauses.append(seconds)
            now[0] += seconds

        rest = BlockingRest(base + API, weight=Weight(6000, wall=lambda: now[0]), sleep=sleep)
        script.answers = [(200, b"{}", {"X-MBX-USED-WEIGHT-1M": "5000"})]  # what ingest used is in every answer
        await asyncio.to_thread(rest.get, "/time")
        await asyncio.to_thread(rest.get, "/time")
        assert pauses == [], "the clock is always asked for"
        await asyncio.to_thread(rest.get, "/klines", {"symbol": "BTCUSDT"})
        assert pauses == [50.0]


@pytest.mark.parametrize(("status", "body"), [(500, b""), (503, b"<html>"), (200, b"<html>"), (200, b"\xff")])
async def test_both_try_again_what_may_pass(no_pauses: None, status: int, body: bytes) -> None:
    async with scripted() as (script, base), open_session(base) as session:
        script.answers = [(status, body, {})]
        assert await BinanceHistory(session, base, base, "trade").time() == 1_763_800_123_000_000
        script.answers = [(status, body, {})]
        answer = await asyncio.to_thread(BlockingRest(base + API).get, "/time")
        assert answer == {"serverTime": 1_763_800_123_000}
        assert script.asked == [f"{API}/time"] * 4


@pytest.mark.parametrize("status", [401, 403, 404, 451])
async def test_a_host_that_does_not_serve_here_is_asked_once_and_says_what_to_set(status: int) -> None:
    async with scripted() as (script, base), open_session(base) as session:
        history, words = BinanceHistory(session, base, base, "trade"), f"{status} Not here.*QUANTSTREAM_ENDPOINTS__REST"
        script.answers = [(status, b'{"code":0,"msg":"Not here"}', {})] * 3
        with pytest.raises(NotOffered, match=words):
            await history.time()
        with pytest.raises(Misconfigured, match=words):
            await asyncio.to_thread(BlockingRest(base + API).get, "/klines", {"symbol": "BTCUSDT"})
        with pytest.raises(NotOffered, match="no single trades"):
            await history.trades_from("BTCUSDT", 1)
        assert len(script.asked) == 3


@pytest.mark.parametrize("code", [-1121, -1122, -4108])
async def test_both_know_an_unknown_symbol_by_each_of_its_codes(code: int) -> None:
    async with scripted() as (script, base), open_session(base) as session:
        script.answers = [(400, f'{{"code":{code},"msg":"Invalid symbol."}}'.encode(), {})] * 2
        with pytest.raises(UnknownSymbol, match=rf"knows no symbol NOPE \({code}\)"):
            await BinanceHistory(session, base, base, "trade").latest_trade("NOPE")
        with pytest.raises(UnknownSymbol, match=r"knows no symbol NOPE .*; correct QUANTSTREAM_SYMBOLS$"):
            await asyncio.to_thread(BlockingRest(base + API).get, "/klines", {"symbol": "NOPE"})


async def test_a_ban_is_obeyed_by_every_later_call_of_a_command() -> None:
    async with scripted() as (script, base):
        rest = BlockingRest(base + API)
        script.answers = [(418, b"", {"Retry-After": "900"})]
        for _ in range(2):
            with pytest.raises(Unavailable, match=r"answers /time again in 9\d\d s"):
                await asyncio.to_thread(rest.get, "/time")
        assert len(script.asked) == 1


def test_the_weight_allowed_is_that_of_the_host() -> None:
    limits = {
        "https://data-api.binance.vision/api/v3": 6000,
        "https://api.binance.us/api/v3": 1200,
        "https://notbinance.us/api/v3": 6000,
        "https://fapi.binance.com/fapi/v1": 2400,
    }
    assert {base: market_of(base).limit_at(base) for base in limits} == limits


async def test_the_environments_proxy_is_used_but_not_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scripted() as (script, proxy):
        for name in ("HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, proxy)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        answer = await asyncio.to_thread(BlockingRest("http://exchange.invalid/api/v3").get, "/time")
        assert answer == {"serverTime": 1_763_800_123_000}
        async with scripted() as (here, base):
            await asyncio.to_thread(BlockingRest(base + API).get, "/time")
            assert (len(here.asked), len(script.asked)) == (1, 1)
