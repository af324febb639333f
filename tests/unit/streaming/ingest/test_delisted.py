"""One symbol that the exchange knows no more: set aside and told, all others go on, and it comes back when it is known again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

import pytest

from quantstream.core.errors import Misconfigured
from quantstream.core.time import SECOND
from streaming.exchange.clock import Clock
from streaming.exchange.faults import Fault
from streaming.exchange.market.synthetic import MarketSeed, SyntheticMarket
from streaming.exchange.server.http_server import Options, Served, serve
from tests.unit.streaming.fakes import FakeLog
from tests.unit.streaming.ingest.running import Running, hasten, ids, is_going, metric, running, until

STARTS_AT = 1_763_800_123 * SECOND
SYMBOLS = ("BTCUSDT", "ETHUSDT", "XRPUSDT")


@pytest.fixture(scope="module")
def market() -> SyntheticMarket:
    return SyntheticMarket(MarketSeed(seed=3, starts_at=STARTS_AT, history_days=1), list(SYMBOLS))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    hasten(monkeypatch, FIRST_PAUSE=0.05, HEARTBEAT_EVERY=0.3, CLOCK_EVERY=0.1, ASK_EVERY=0.2)


def over(served: Served, log: FakeLog, symbols: Sequence[str] = SYMBOLS) -> AbstractAsyncContextManager[Running]:
    """Run ingest from where the log ends."""
    return running((served.ws, served.rest), log, symbols, goes_on=True)


async def test_a_symbol_that_is_delisted_is_set_aside_and_the_others_go_on(market: SyntheticMarket) -> None:
    log, clock = FakeLog(), Clock(STARTS_AT, 60.0)
    async with serve(market, clock, Options()) as served:
        async with over(served, log) as run:
            await until(lambda: is_going(run.work))
            served.faults.delist(Fault(kind="delist", symbol="XRPUSDT", count=1, seconds=0), clock.now())
            await until(lambda: "symbol_set_aside" in log.told())
            (event,) = [event for event in log.events if event.kind == "symbol_set_aside"]
            assert event.symbol == "XRPUSDT"
            assert "-1121" in event.text
            assert metric(run.work, "symbols_set_aside") == 1
            seen = len(ids(log, "BTCUSDT"))
            await until(lambda: len(ids(log, "BTCUSDT")) > seen + 50)
        async with over(served, log) as run:  # and a restart goes on, though it is still unknown
            seen = len(ids(log, "BTCUSDT"))
            await until(lambda: len(ids(log, "BTCUSDT")) > seen + 50 and log.told().count("symbol_set_aside") == 2)
            assert not run.work.feeds["XRPUSDT"].is_whole
            served.faults.clear()
            await until(lambda: "symbol_back" in log.told())
            seen = len(ids(log, "XRPUSDT"))
            await until(lambda: len(ids(log, "XRPUSDT")) > seen and is_going(run.work))
    found = ids(log, "XRPUSDT")
    assert found == list(range(found[0], found[0] + len(found)))
    assert "feed_stalled" not in log.told()


@pytest.mark.parametrize("code", [-1121, -1122, -4108, -9999])
async def test_any_refusal_of_a_symbol_sets_only_that_one_aside(
    market: SyntheticMarket, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streaming.exchange.error_answers.INVALID_SYMBOL", (code, "This symbol is gone."))
    log, clock = FakeLog(), Clock(STARTS_AT, 60.0)
    async with serve(market, clock, Options()) as served, over(served, log) as run:
        await until(lambda: is_going(run.work))
        served.faults.delist(Fault(kind="delist", symbol="ETHUSDT", count=1, seconds=0), clock.now())
        await until(lambda: "symbol_set_aside" in log.told())
        assert [state.symbol for state in run.work.feeds.values() if state.set_aside] == ["ETHUSDT"]
        assert not run.task.done()


async def test_a_symbol_that_was_never_known_is_refused_in_a_sentence(market: SyntheticMarket) -> None:
    log = FakeLog()
    async with serve(market, Clock(STARTS_AT, 60.0), Options()) as served:
        async with over(served, log) as run:
            await until(lambda: is_going(run.work))
        async with over(served, log, (*SYMBOLS, "BTCUSTD")) as run:
            with pytest.raises(Misconfigured, match=r"knows no symbol BTCUSTD .*; correct QUANTSTREAM_SYMBOLS$"):
                async with asyncio.timeout(60):
                    await run.task
