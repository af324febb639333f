"""One symbol that the exchange knows no more: set aside and told, all others go on, and it comes back when it is known again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest

from quantstream.binance.market_history import BinanceHistory
from quantstream.binance.wire import Standing, heartbeat_standing, parse_record
from quantstream.core.errors import Misconfigured
from quantstream.core.time import SECOND
from quantstream.core.trade import Trade
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics
from streaming.exchange.clock import Clock
from streaming.exchange.faults import Fault
from streaming.exchange.market.synthetic import MarketSeed, SyntheticMarket
from streaming.exchange.server.http_server import Options, Served, serve
from streaming.ingest import delisted, feed_lines
from streaming.ingest import stage as ingest
from streaming.ingest.feed_lines import Plan, keep_connected
from streaming.ingest.stage import Ingest
from tests.unit.streaming.fakes import FakeLog

STARTS_AT = 1_763_800_123 * SECOND
SYMBOLS = ("BTCUSDT", "ETHUSDT", "XRPUSDT")


@pytest.fixture(scope="module")
def market() -> SyntheticMarket:
    return SyntheticMarket(MarketSeed(seed=3, starts_at=STARTS_AT, history_days=1), list(SYMBOLS))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_lines, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(feed_lines, "HEARTBEAT_EVERY", 0.3)
    monkeypatch.setattr(ingest, "CLOCK_EVERY", 0.1)
    monkeypatch.setattr(delisted, "ASK_EVERY", 0.2)


@dataclass
class Running:
    work: Ingest
    task: asyncio.Task[None]


@asynccontextmanager
async def running(served: Served, log: FakeLog, symbols: tuple[str, ...] = SYMBOLS) -> AsyncIterator[Running]:
    """Run ingest from where the log ends."""
    async with aiohttp.ClientSession() as session:
        history, stop = BinanceHistory(session, served.rest, served.rest, "trade"), threading.Event()
        work = Ingest(symbols, history, log, Metrics("ingest"), Health(), lambda: 0)
        work.resume(tails(log))
        task = asyncio.create_task(keep_connected(work, served.ws, stop, Plan()))
        try:
            yield Running(work, task)
        finally:
            stop.set()
            if not task.done():
                await task


def tails(log: FakeLog) -> dict[str, list[Trade | Standing]]:
    found: dict[str, list[Trade | Standing]] = {}
    for symbol, raw, _, _ in log.records:
        item = parse_record(raw, symbol)
        found.setdefault(symbol, []).append(item if isinstance(item, Trade) else heartbeat_standing(raw))
    return found


async def until(what: Callable[[], object], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not what():
            await asyncio.sleep(0.02)


def count(log: FakeLog, symbol: str) -> int:
    return sum(name == symbol and kind != "heartbeat" for name, _, kind, _ in log.records)


def is_going(run: Running) -> bool:
    return all(state.is_whole and state.pending is None and state.has_history for state in run.work.feeds.values())


async def test_a_symbol_that_is_delisted_is_set_aside_and_the_others_go_on(market: SyntheticMarket) -> None:
    log, clock = FakeLog(), Clock(STARTS_AT, 60.0)
    async with serve(market, clock, Options()) as served:
        async with running(served, log) as run:
            await until(lambda: is_going(run))
            served.faults.delist(Fault(kind="delist", symbol="XRPUSDT", count=1, seconds=0), clock.now())
            await until(lambda: "symbol_set_aside" in log.told())
            (event,) = [event for event in log.events if event.kind == "symbol_set_aside"]
            assert event.symbol == "XRPUSDT"
            assert "-1121" in event.text
            assert run.work.metrics.registry.get_sample_value("quantstream_ingest_symbols_set_aside") == 1
            seen = count(log, "BTCUSDT")
            await until(lambda: count(log, "BTCUSDT") > seen + 50)
        async with running(served, log) as run:  # and a restart goes on, though it is still unknown
            seen = count(log, "BTCUSDT")
            await until(lambda: count(log, "BTCUSDT") > seen + 50 and log.told().count("symbol_set_aside") == 2)
            assert not run.work.feeds["XRPUSDT"].is_whole
            served.faults.clear()
            await until(lambda: "symbol_back" in log.told())
            seen = count(log, "XRPUSDT")
            await until(lambda: count(log, "XRPUSDT") > seen and is_going(run))
    ids = [item.id for item in tails(log)["XRPUSDT"] if isinstance(item, Trade)]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert "feed_stalled" not in log.told()


@pytest.mark.parametrize("code", [-1121, -1122, -4108, -9999])
async def test_any_refusal_of_a_symbol_sets_only_that_one_aside(
    market: SyntheticMarket, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streaming.exchange.refusals.INVALID_SYMBOL", (code, "This symbol is gone."))
    log, clock = FakeLog(), Clock(STARTS_AT, 60.0)
    async with serve(market, clock, Options()) as served, running(served, log) as run:
        await until(lambda: is_going(run))
        served.faults.delist(Fault(kind="delist", symbol="ETHUSDT", count=1, seconds=0), clock.now())
        await until(lambda: "symbol_set_aside" in log.told())
        assert [state.symbol for state in run.work.feeds.values() if state.set_aside] == ["ETHUSDT"]
        assert not run.task.done()


async def test_a_symbol_that_was_never_known_is_refused_in_a_sentence(market: SyntheticMarket) -> None:
    log = FakeLog()
    async with serve(market, Clock(STARTS_AT, 60.0), Options()) as served:
        async with running(served, log) as run:
            await until(lambda: is_going(run))
        async with running(served, log, (*SYMBOLS, "BTCUSTD")) as run:
            with pytest.raises(Misconfigured, match=r"knows no symbol BTCUSTD .*; correct QUANTSTREAM_SYMBOLS$"):
                async with asyncio.timeout(60):
                    await run.task
