"""Ingest's balance: every trade that came, live or over REST, is in the log, a duplicate, dead-lettered, refused or waits."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from quantstream.core.decimals import UNIT
from quantstream.core.time import SECOND
from quantstream.core.trade import Trade
from streaming.ingest import gap_fill
from streaming.ingest.stage import Ingest
from tests.unit.streaming.fakes import FakeFeed, FakeHistory, FakeLog, frame
from tests.unit.streaming.ingest.running import make
from tests.unit.streaming.ingest.test_stage import T0, market

YEAR = 365 * 86_400 * SECOND
SYMBOLS = ("BTCUSDT", "ETHUSDT")


def off(work: Ingest) -> list[str]:
    return [f"{symbol}: {account}" for symbol, account in work.accounts() if not account.closes]


def frames(trades: list[Trade], rng: random.Random) -> list[bytes]:
    """Trades as they may come: some twice, some out of order, some dated beyond any clock, some bytes that are no trade."""
    found = []
    for trade in trades:
        if rng.random() < 0.1:
            continue  # a gap
        found += [frame(trade)] * rng.choice([1, 1, 1, 2])
        if rng.random() < 0.05:
            found.append(rng.choice([b"junk", frame(replace(trade, symbol="ALIENUSDT"))]))
            found.append(frame(replace(trade, traded_at=trade.traded_at + YEAR)))
    far = rng.randint(1, 6)
    return [raw for _, raw in sorted(enumerate(found), key=lambda pair: pair[0] + rng.randint(0, far))]


async def live_through(seed: int) -> None:
    rng = random.Random(seed)
    trades = [trade for symbol in SYMBOLS for trade in market(60, symbol)]
    singles = rng.random() < 0.5
    history, log = FakeHistory(trades, now=T0 + 60 * SECOND, singles=singles), FakeLog()
    work = make(history, log, SYMBOLS)
    work.forwarder.horizon = lambda: T0 + 3_600 * SECOND
    tails: dict[str, Any] = {symbol: [market(10, symbol)[-1]] for symbol in SYMBOLS if rng.random() < 0.7}
    work.resume(tails)
    feed: Any = FakeFeed()
    coming = frames(sorted(trades, key=lambda trade: trade.traded_at), rng)
    work.connected(SYMBOLS)
    while coming:
        many = rng.randint(1, 30)
        work.take(coming[:many], feed)
        coming = coming[many:]
        assert not off(work)
        history.is_down = rng.random() < 0.3
        for _ in range(rng.randint(0, 30)):
            await asyncio.sleep(0)
            assert not off(work)
    history.is_down = False
    for _ in range(500):
        await asyncio.sleep(0)
    for state in work.feeds.values():
        work.gap_fill.go_on(state, "the test ends")
        for gap in state.open_gaps:
            await work.gap_fill.retry(state, gap)
    assert not off(work)
    sent = {
        symbol: sum(kind != "heartbeat" for name, _, kind, _ in log.records if name == symbol) for symbol in SYMBOLS
    }
    assert {symbol: state.account.stored for symbol, state in work.feeds.items()} == sent
    assert work.strangers.dead + sum(state.account.dead for state in work.feeds.values()) == len(log.dead_letters)


@given(st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_the_balance_closes_over_gaps_doubles_junk_and_an_exchange_that_comes_and_goes(seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gap_fill, "FILL_PAUSE", 0.0)
        patch.setattr(gap_fill, "PATIENCE", 0.0)
        asyncio.run(live_through(seed))


async def test_trades_that_wait_and_are_forgotten_do_not_balance() -> None:
    work = make(FakeHistory(market(50)), FakeLog())
    work.spawn = lambda fill: fill.close()
    work.resume({"BTCUSDT": [market(10)[-1]]})
    work.take([frame(trade) for trade in market(50)[20:30]], FakeFeed())  # type: ignore[arg-type]
    assert next(str(account) for _, account in work.accounts()) == (
        "10 read = 0 stored, 0 duplicate, 0 dead, 0 refused, 0 passed, 10 waiting"
    )
    work.feeds["BTCUSDT"].pending = None
    assert off(work) == ["BTCUSDT: 10 read, but 0 stored, 0 duplicate, 0 dead, 0 refused, 0 passed, 0 waiting"]


async def test_a_trade_that_is_not_sent_does_not_balance(monkeypatch: pytest.MonkeyPatch) -> None:
    work = make(FakeHistory(market(50)), FakeLog())
    monkeypatch.setattr(work.forwarder, "forward", lambda *given: None)
    work.take([frame(Trade("BTCUSDT", 1, 1, 1, UNIT, UNIT, T0, False))], FakeFeed())  # type: ignore[arg-type]
    assert len(off(work)) == 1
