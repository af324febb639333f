"""Connections over real sockets: replaced before they end, shared by many symbols, told dead from quiet."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantstream.binance import endpoint_weights
from quantstream.binance.feed import url_part
from quantstream.binance.rate_limits import ATTEMPTS, ATTEMPTS_WINDOW, Pace
from quantstream.core.decimals import UNIT
from quantstream.core.errors import Misconfigured
from quantstream.core.time import MINUTE, SECOND
from quantstream.core.trade import Trade
from quantstream.settings import Settings
from streaming.exchange.clock import Clock
from streaming.exchange.faults import Fault
from streaming.exchange.market.protocol import Market, trades_from
from streaming.exchange.market.recorded import RecordedMarket
from streaming.exchange.market.synthetic import MarketSeed, SyntheticMarket
from streaming.exchange.server.http_server import Options, Served, serve
from streaming.exchange.streams.client import Rules
from streaming.ingest.feed_line import Plan
from streaming.ingest.feed_lines import share_of
from streaming.wiring import followed
from tests.unit.streaming.fakes import FakeLog
from tests.unit.streaming.ingest.running import (
    HEARTBEAT,
    candles,
    hasten,
    heartbeats,
    ids,
    ingesting,
    is_going,
    metric,
    trades,
    until,
)

STARTS_AT = 1_763_800_123 * SECOND
SYMBOLS = ("BTCUSDT", "XRPUSDT")


@pytest.fixture(scope="module")
def synthetic() -> SyntheticMarket:
    return SyntheticMarket(MarketSeed(seed=3, starts_at=STARTS_AT, history_days=1), list(SYMBOLS))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    hasten(monkeypatch, FIRST_PAUSE=0.05, HEARTBEAT_EVERY=0.3, CLOCK_EVERY=0.3)


@pytest.fixture
def process() -> Iterator[tuple[int, str, str]]:
    """An exchange in a process of its own: its pid and its addresses."""
    market = ("--symbols", ",".join(SYMBOLS), "--speed", "60", "--history-days", "1", "--seed", "3")
    command = [sys.executable, "-m", "streaming.exchange", *market]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout
        addresses = json.loads(started.stdout.readline())
        yield started.pid, addresses["ws"], addresses["rest"]
        started.kill()


@asynccontextmanager
async def exchange(market: Market, speed: float, **options: Any) -> AsyncIterator[Served]:
    async with serve(market, Clock(market.starts_at, speed, market.ends_at), Options(**options)) as served:
        yield served


def repaired(log: FakeLog) -> int:
    return sum(origin != "live" for _, _, _, origin in log.records)


def assert_whole(log: FakeLog, symbol: str) -> None:
    found = ids(log, symbol)
    assert found == list(range(found[0], found[0] + len(found)))


async def test_connections_are_replaced_in_time_and_nothing_shows_in_the_log(synthetic: SyntheticMarket) -> None:
    log, plan = FakeLog(), Plan(lifetime=0.6, rng=random.Random(1))
    async with exchange(synthetic, 120.0) as served, ingesting((served.ws, served.rest), log, SYMBOLS, plan) as work:
        await until(lambda: is_going(work) and len(trades(log, "BTCUSDT")) > 20)
        before = repaired(log)
        await until(lambda: metric(work, "rotations_total") >= 4 and len(trades(log, "BTCUSDT")) > 300)
        assert repaired(log) == before
        assert len(served.publisher.connections) <= 2
        assert metric(work, "feed_breaks_total") == 0
    assert_whole(log, "BTCUSDT")
    assert_whole(log, "XRPUSDT")
    assert log.told() == []


async def test_an_announced_shutdown_is_left_in_time(synthetic: SyntheticMarket) -> None:
    log = FakeLog()
    async with exchange(synthetic, 120.0) as served, ingesting((served.ws, served.rest), log, SYMBOLS) as work:
        await until(lambda: is_going(work) and len(trades(log, "BTCUSDT")) > 20)
        before = repaired(log)
        async with aiohttp.ClientSession() as session:
            order = {"kind": "shutdown", "count": 1, "seconds": 3}
            await session.post(f"{served.rest}/control/faults", json=order)
        await until(lambda: metric(work, "rotations_total") == 1)
        seen = len(trades(log, "BTCUSDT"))
        await until(lambda: len(trades(log, "BTCUSDT")) > seen + 100)
        assert repaired(log) == before
        assert metric(work, "feed_breaks_total") == 0
    assert_whole(log, "BTCUSDT")
    assert log.told() == []


async def test_the_exchanges_own_limit_of_a_lifetime_is_never_reached(synthetic: SyntheticMarket) -> None:
    log, plan = FakeLog(), Plan(lifetime=1.0, rng=random.Random(2))
    rules = Rules(lifetime=2.0, shutdown_notice=0.0)
    async with (
        exchange(synthetic, 120.0, rules=rules) as served,
        ingesting((served.ws, served.rest), log, SYMBOLS, plan) as work,
    ):
        await until(lambda: metric(work, "rotations_total") >= 4)
        assert metric(work, "feed_breaks_total") == 0
    assert log.told() == []


def names(number: int) -> list[str]:
    return [f"S{index:04}USDT" for index in range(number)]


def crowd(number: int, each: int) -> RecordedMarket:
    """Return a market of many symbols that trade in turn, each `each` times in two minutes."""
    step = 2 * MINUTE // (number * each)
    return RecordedMarket(
        Trade(symbol, turn + 1, turn + 1, turn + 1, UNIT, UNIT, STARTS_AT + (turn * number + index) * step // 1000 * 1000, False)
        for turn in range(each)
        for index, symbol in enumerate(names(number))
    )  # fmt: skip


@dataclass
class Counted:
    """Trades in a log, each record looked at once: it grows by thousands of heartbeats while somebody waits for trades."""

    log: FakeLog
    looked_at: int = 0
    found: int = 0

    def trades(self) -> int:
        """Return how many there are by now."""
        newest = self.log.records[self.looked_at :]
        self.looked_at += len(newest)
        self.found += sum(kind != HEARTBEAT for _, _, kind, _ in newest)
        return self.found


async def test_2500_symbols_share_three_connections_within_the_exchanges_limits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(endpoint_weights, "SPOT", replace(endpoint_weights.SPOT, limit=1_000_000))
    market, log = crowd(2_500, 6), FakeLog()
    options = {"weight_limit": 1_000_000, "waits_for_listener": True}
    async with (
        exchange(market, 2.5, **options) as served,  # so slowly that a busy machine is back before the last trades
        ingesting((served.ws, served.rest), log, names(2_500)) as work,
    ):
        await until(lambda: metric(work, "connections") == 3)
        listening = {socket: len(socket.subscriptions.names) for socket in served.publisher.connections}
        assert sorted(listening.values()) == [500, 1_000, 1_000]
        assert len({name for socket in listening for name in socket.subscriptions.names}) == 2_500
        served.faults.order(Fault(kind="drop", count=1, stream="s0001usdt@trade"))
        await until(lambda: metric(work, "feed_breaks_total") == 1)
        await until(lambda: metric(work, "connections") == 3 and len(served.publisher.connections) == 3)
        assert len(listening.keys() & served.publisher.connections.keys()) == 2, "one cut leaves the others alone"
        counted = Counted(log)
        await until(lambda: counted.trades() >= 2_500 * 6, seconds=240, pause=0.2)
    found: dict[str, list[int]] = {}
    for trade in trades(log):
        found.setdefault(trade.symbol, []).append(trade.id)
    assert found == {name: [1, 2, 3, 4, 5, 6] for name in names(2_500)}
    assert [event.detail for event in log.events if event.kind == "feed_stalled"] == [{"line": 0, "symbols": 1_000}]


def test_an_address_takes_no_more_streams_than_a_server_reads() -> None:
    streams = [f"{name.lower()}@trade" for name in names(1_000)]
    assert 200 < url_part(streams) < 300
    assert sum(len(name) + 1 for name in streams[: url_part(streams)]) <= 4_000
    assert url_part(streams[:5]) == 5


def test_every_symbol_belongs_to_one_share_whatever_else_is_asked_for() -> None:
    every = names(300)
    shares = [share_of(every, number, 3) for number in (1, 2, 3)]
    assert sorted(name for share in shares for name in share) == every
    assert min(map(len, shares)) > 60
    assert share_of(every[::2], 2, 3) == [name for name in shares[1] if name in every[::2]]


@given(st.integers(1, 60), st.integers(1, 40))
def test_the_pods_of_a_set_follow_each_symbol_as_often_as_there_are_pods_of_its_share(count: int, shards: int) -> None:
    every, pods = names(count), 2 * shards  # as the manifests have it: each share twice
    found = Counter[str]()
    for pod in range(pods):
        settings = Settings(symbols=tuple(every), shard=f"instance/{shards}", instance=f"ingest-{pod}")
        found.update(share_of(settings.symbols, *settings.share))
    assert found == dict.fromkeys(every, 2)


def test_a_share_without_symbols_is_refused_in_a_sentence() -> None:
    with pytest.raises(Misconfigured, match=r"none of the 1 symbols falls to share [12] of 2; take fewer shards"):
        for shard in ("1/2", "2/2"):
            followed(Settings(symbols=("BTCUSDT",), shard=shard))


def test_no_more_connections_are_tried_than_the_exchange_allows() -> None:
    now = [0.0]
    pace = Pace(ATTEMPTS, ATTEMPTS_WINDOW, lambda: now[0])
    turns = []
    for _ in range(1_000):
        wait = pace.reserve()
        turns.append(now[0] + wait)
        now[0] += 0.1 if wait < 1 else 0.0
    for start in turns:
        assert sum(start <= turn < start + 300 for turn in turns) <= 280
    assert turns == sorted(turns)


async def test_a_quiet_market_goes_on_and_closes_flat_candles() -> None:
    first = Trade("QUIETUSDT", 1, 1, 1, 7 * UNIT, UNIT, STARTS_AT, False)
    last = Trade("QUIETUSDT", 2, 2, 2, 9 * UNIT, UNIT, STARTS_AT + 100 * 60 * MINUTE, False)
    log, plan = FakeLog(), Plan(silence=0.5)
    async with (
        exchange(RecordedMarket([first, last]), 600.0, waits_for_listener=True) as served,
        ingesting((served.ws, served.rest), log, ["QUIETUSDT"], plan) as work,
    ):
        await until(lambda: len(heartbeats(log)) > 8)
        assert metric(work, "feed_breaks_total") == 0
    assert log.told() == []
    found = candles(log, "QUIETUSDT")
    assert len(found) > 2
    assert {(candle.close, candle.trade_count) for candle in found[1:]} == {(7 * UNIT, 0)}


async def test_a_frozen_exchange_is_told_dead_and_repaired_once_it_is_back(process: tuple[int, str, str]) -> None:
    log, plan = FakeLog(), Plan(silence=0.7)
    pid, ws, base = process
    async with ingesting((ws, base), log, SYMBOLS, plan) as work:
        await until(lambda: work.health.is_ready and len(trades(log, "BTCUSDT")) > 20)
        os.kill(pid, signal.SIGSTOP)
        try:
            await until(lambda: log.told() == ["feed_stalled"])
            assert not work.health.is_ready
            beats = len(heartbeats(log))
            await asyncio.sleep(0.5)
            assert len(heartbeats(log)) == beats, "a dead feed closes nothing"
        finally:
            os.kill(pid, signal.SIGCONT)
        await until(lambda: "feed_recovered" in log.told())
        seen = len(trades(log, "BTCUSDT"))
        await until(lambda: len(trades(log, "BTCUSDT")) > seen + 50 and work.health.is_ready)
    assert_whole(log, "BTCUSDT")
    assert log.told() == ["feed_stalled", "feed_recovered"]
    assert "dead" in log.events[0].text


class Swallower:
    """A line between: once told to, it takes what comes in on the connections it has and passes nothing on."""

    def __init__(self, port: int) -> None:
        self.port, self.swallowed = port, set[asyncio.StreamWriter]()
        self.writers: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward, back = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers |= {writer, back}
        await asyncio.gather(self._pass(reader, back), self._pass(onward, writer), return_exceptions=True)

    def swallow(self) -> None:
        self.swallowed |= self.writers

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if writer not in self.swallowed:
                writer.write(data)
                await writer.drain()
        writer.close()


async def test_a_half_open_line_is_told_dead_and_another_is_made(synthetic: SyntheticMarket) -> None:
    log, plan = FakeLog(), Plan(silence=0.7)
    async with exchange(synthetic, 60.0) as served:
        between = Swallower(int(served.ws.rpartition(":")[2]))
        server = await asyncio.start_server(between.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with ingesting((f"ws://127.0.0.1:{port}", served.rest), log, SYMBOLS, plan) as work:
            await until(lambda: work.health.is_ready and len(trades(log, "BTCUSDT")) > 20)
            between.swallow()
            await until(lambda: log.told() == ["feed_stalled", "feed_recovered"])
            seen = len(trades(log, "BTCUSDT"))
            await until(lambda: len(trades(log, "BTCUSDT")) > seen + 50)
        server.close()
    assert_whole(log, "BTCUSDT")


async def test_on_a_data_only_host_skipped_trades_come_back_as_parts_of_aggregates(synthetic: SyntheticMarket) -> None:
    log = FakeLog()
    async with (
        exchange(synthetic, 120.0, data_only=True) as served,
        ingesting((served.ws, served.rest), log, SYMBOLS) as work,
    ):
        await until(lambda: is_going(work) and len(trades(log, "BTCUSDT")) > 20)
        for _ in range(6):
            skipped = served.faults.injected["skip"]
            served.faults.order(Fault(kind="skip", count=1, stream="btcusdt@trade"))
            await until(lambda skipped=skipped: served.faults.injected["skip"] > skipped)  # type: ignore[misc]
            seen = len(trades(log, "BTCUSDT"))
            await until(lambda seen=seen: len(trades(log, "BTCUSDT")) > seen + 10 and is_going(work))  # type: ignore[misc]
    spans = [(trade.first_trade_id, trade.last_trade_id) for trade in trades(log, "BTCUSDT")]
    assert [first for first, _ in spans[1:]] == [last + 1 for _, last in spans[:-1]]
    assert log.told() == []
    found = sum((trade.quantity for trade in trades(log, "BTCUSDT")), 0)
    assert found == quantity_between(synthetic, spans[0][0], spans[-1][1])


def quantity_between(market: SyntheticMarket, first: int, last: int) -> int:
    spans = trades_from(market, "BTCUSDT", first, last - first + 1, STARTS_AT + 60 * MINUTE)
    return sum(int(span.tape.quantity[span.start : span.stop].sum()) for span in spans)
