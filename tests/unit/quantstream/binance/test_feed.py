"""Ingest over its real adapters against the simulated exchange: faults on the wire leave no trace in the log."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import aiohttp
import pytest

from quantstream.binance.feed import connect
from quantstream.binance.market_history import BinanceHistory
from quantstream.binance.transports import Library, opener
from quantstream.binance.wire import parse_record, parse_trade, split_frame
from quantstream.core.errors import Misconfigured, Unavailable
from quantstream.core.time import SECOND
from quantstream.core.trade import Trade
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics
from streaming.exchange.clock import Clock
from streaming.exchange.faults import Fault
from streaming.exchange.market.synthetic import MarketSeed, SyntheticMarket
from streaming.exchange.server.http_server import Options, Served, serve
from streaming.ingest import feed_line
from streaming.ingest import stage as ingest
from streaming.ingest.feed_line import Plan
from streaming.ingest.feed_lines import keep_connected
from streaming.ingest.stage import Ingest
from tests.unit.streaming.fakes import FakeLog

STARTS_AT = 1_763_800_123 * SECOND
SYMBOLS = ("BTCUSDT", "XRPUSDT")
LIBRARIES: tuple[Library, ...] = ("websockets", "picows")


@pytest.fixture(scope="module")
def market() -> SyntheticMarket:
    return SyntheticMarket(MarketSeed(seed=3, starts_at=STARTS_AT, history_days=1), list(SYMBOLS))


@asynccontextmanager
async def exchange(market: SyntheticMarket, speed: float = 120.0) -> AsyncIterator[Served]:
    async with serve(market, Clock(STARTS_AT, speed, market.ends_at), Options()) as served:
        yield served


@asynccontextmanager
async def ingesting(
    served: Served, log: FakeLog, stream: str = "trade", library: Library = "websockets"
) -> AsyncIterator[Ingest]:
    async with aiohttp.ClientSession() as session:
        history = BinanceHistory(session, served.rest, served.rest, stream)
        work = Ingest(SYMBOLS, history, log, Metrics("ingest"), Health(), lambda: 0, stream)
        stop = threading.Event()
        task = asyncio.create_task(keep_connected(work, served.ws, stop, Plan(socket=library)))
        try:
            yield work
        finally:
            stop.set()
            await task


async def until(what: Callable[[], bool | Awaitable[bool]], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not what():
            await asyncio.sleep(0.02)


def trades(log: FakeLog, symbol: str) -> list[Trade]:
    items = [parse_record(raw, name) for name, raw, _, _ in log.records if name == symbol]
    return [item for item in items if isinstance(item, Trade)]


def assert_whole(log: FakeLog, symbol: str) -> None:
    spans = [(trade.first_trade_id, trade.last_trade_id) for trade in trades(log, symbol)]
    for (_, last), (first, _) in pairwise(spans):
        assert first == last + 1


@pytest.mark.parametrize(("stream", "library"), [("trade", "websockets"), ("aggTrade", "picows")])
@pytest.mark.parametrize("kind", ["skip", "duplicate", "reorder", "malformed", "drop"])
async def test_a_fault_on_the_wire_leaves_the_log_whole(
    market: SyntheticMarket, monkeypatch: pytest.MonkeyPatch, kind: str, stream: str, library: Library
) -> None:
    monkeypatch.setattr(feed_line, "FIRST_PAUSE", 0.05)
    log = FakeLog()
    async with exchange(market) as served, ingesting(served, log, stream, library) as work:
        await until(lambda: work.health.is_ready and len(trades(log, "BTCUSDT")) > 50)
        for _ in range(3):
            before, seen = served.faults.injected[kind], len(trades(log, "BTCUSDT"))
            served.faults.order(Fault(kind=kind, count=2, stream=f"btcusdt@{stream}"))
            await until(lambda before=before: served.faults.injected[kind] >= before + 2)  # type: ignore[misc]
            await until(lambda seen=seen: len(trades(log, "BTCUSDT")) > seen + 40)  # type: ignore[misc]
        await until(lambda: all(state.pending is None for state in work.feeds.values()))
    assert_whole(log, "BTCUSDT")
    assert_whole(log, "XRPUSDT")
    assert not any(event.kind == "gap_found" for event in log.events)
    assert bool(log.dead_letters) == (kind == "malformed")


async def test_a_rate_limit_is_waited_out(market: SyntheticMarket) -> None:
    async with exchange(market, 1.0) as served, aiohttp.ClientSession() as session:
        history = BinanceHistory(session, served.rest, served.rest, "trade")
        served.faults.order(Fault(kind="rest_429", count=2, seconds=1))
        served.faults.order(Fault(kind="rest_500", count=1))
        assert abs(await history.time() - STARTS_AT) < 60 * SECOND
        assert served.faults.injected["rest_429"] == 2
        assert history.used_weight > 0


@pytest.mark.parametrize("library", LIBRARIES)
async def test_an_exchange_that_stays_away_is_unavailable(library: Library) -> None:
    async with aiohttp.ClientSession() as session:
        history = BinanceHistory(session, "http://127.0.0.1:9", "http://127.0.0.1:9", "trade", tries=1)
        with pytest.raises(Unavailable, match="did not answer /time"):
            await history.time()
    with pytest.raises(Unavailable, match="does not answer at ws"):
        await connect("ws://127.0.0.1:9", ["btcusdt@trade"], opener(library))


@pytest.mark.parametrize("library", LIBRARIES)
async def test_any_symbol_that_the_exchange_has_can_be_asked_for_by_address(library: Library) -> None:
    names = ["币安人生USDT", "BTCUSDT_240628", "1000SATSUSDT"]
    odd = SyntheticMarket(MarketSeed(seed=3, starts_at=STARTS_AT, history_days=1), names)
    seen: set[str] = set()
    async with exchange(odd, speed=2_000) as served:
        feed = await connect(served.ws, [f"{name.lower()}@trade" for name in names], opener(library))
        while seen != set(names):
            seen |= {parse_trade(split_frame(raw)[1]).symbol for raw in await feed.read()}
        await feed.close()


@pytest.mark.parametrize("library", LIBRARIES)
async def test_an_unknown_symbol_is_said_by_name(market: SyntheticMarket, library: Library) -> None:
    async with exchange(market) as served, aiohttp.ClientSession() as session:
        history = BinanceHistory(session, served.rest, served.rest, "trade")
        with pytest.raises(Misconfigured, match="knows no symbol NOPE"):
            await history.trades_from("NOPE", 1)
    with pytest.raises(Misconfigured, match="is not a WebSocket address"):
        await connect("http://x y", ["btcusdt@trade"], opener(library))


async def test_quiet_symbols_get_heartbeats_behind_the_exchanges_clock(
    market: SyntheticMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_line, "HEARTBEAT_EVERY", 0.05)
    monkeypatch.setattr(ingest, "CLOCK_EVERY", 0.05)
    log = FakeLog()
    async with exchange(market, 30.0) as served, ingesting(served, log):
        await until(lambda: sum(kind == "heartbeat" for _, _, kind, _ in log.records) > 20)
    beats = [parse_record(raw, name) for name, raw, kind, _ in log.records if kind == "heartbeat" and name == "XRPUSDT"]
    assert beats == sorted(beats)  # type: ignore[type-var]
    late = [(latest, trade) for latest, trade in _after_heartbeat(log, "XRPUSDT") if trade.traded_at < latest]
    assert late == []


def _after_heartbeat(log: FakeLog, symbol: str) -> list[tuple[int, Trade]]:
    latest, pairs = 0, []
    for name, raw, _, _ in log.records:
        if name == symbol:
            item = parse_record(raw, name)
            if isinstance(item, Trade):
                pairs.append((latest, item))
            else:
                latest = item
    return pairs
