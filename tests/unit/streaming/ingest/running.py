"""Ingest as the tests of this folder run it: over fakes or an exchange, in a hurry, waited for, and read from its log."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest

from quantstream.binance.market_history import BinanceHistory
from quantstream.binance.protocols import MarketHistory
from quantstream.binance.wire import LogPosition, heartbeat_position, parse_record
from quantstream.core.candle import Candle
from quantstream.core.candle_builder import CandleBuilder
from quantstream.core.trade import Trade
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics
from streaming.ingest import delisted, feed_line, feed_lines, gap_fill
from streaming.ingest import stage as ingest
from streaming.ingest.feed_line import Plan
from streaming.ingest.feed_lines import keep_connected
from streaming.ingest.stage import Ingest
from tests.unit.streaming.fakes import FakeLog

HEARTBEAT = "heartbeat"
_PACES = {
    name: module
    for module in (delisted, feed_line, feed_lines, gap_fill, ingest)
    for name in vars(module)
    if name.isupper()
}


def hasten(patch: pytest.MonkeyPatch, **seconds: float) -> None:
    """Give ingest's own constants (`FIRST_PAUSE`, `CLOCK_EVERY` …) other values, in the modules that have them."""
    for name, value in seconds.items():
        patch.setattr(_PACES[name], name, value)


def make(history: MarketHistory, log: FakeLog, symbols: Sequence[str] = ("BTCUSDT",), stream: str = "trade") -> Ingest:
    """Return an ingest whose wall clock stands at 5 µs."""
    return Ingest(symbols, history, log, Metrics("ingest"), Health(), lambda: 5, stream)


@dataclass(frozen=True)
class Running:
    """An ingest at work; `stop` ends its task."""

    work: Ingest
    task: asyncio.Task[None]
    stop: threading.Event


@asynccontextmanager
async def running(
    addresses: tuple[str, str],
    log: FakeLog,
    symbols: Sequence[str],
    plan: Plan | None = None,
    stream: str = "trade",
    api: str = "/api/v3",
    goes_on: bool = False,
) -> AsyncIterator[Running]:
    """Run ingest over an exchange (WebSocket, REST); one that `goes_on` knows what the log holds."""
    ws, rest = addresses
    async with aiohttp.ClientSession() as session:
        work, stop = make(BinanceHistory(session, rest, rest, stream, api), log, symbols, stream), threading.Event()
        if goes_on:
            work.resume(tails(log))
        task = asyncio.create_task(keep_connected(work, ws, stop, plan))
        try:
            yield Running(work, task, stop)
        finally:
            stop.set()
            if not task.done():
                await task


@asynccontextmanager
async def ingesting(
    addresses: tuple[str, str],
    log: FakeLog,
    symbols: Sequence[str],
    plan: Plan | None = None,
    stream: str = "trade",
    api: str = "/api/v3",
) -> AsyncIterator[Ingest]:
    """Run ingest over an exchange, and fail when it has."""
    async with running(addresses, log, symbols, plan, stream, api) as run:
        try:
            yield run.work
        finally:
            run.stop.set()
            await run.task


async def until(what: Callable[[], object], seconds: float = 120, pause: float = 0.01) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(seconds):
        while not what():
            await asyncio.sleep(pause)


def is_going(work: Ingest) -> bool:
    """Whether every symbol's log goes on without anything missing or waiting."""
    return all(state.is_whole and state.pending is None and state.has_history for state in work.feeds.values())


def metric(work: Ingest, name: str) -> float:
    """Return one of its metrics, 0 where it has no value yet."""
    registry, full = work.metrics.registry, f"quantstream_ingest_{name}"
    return registry.get_sample_value(full) or registry.get_sample_value(full, {"shard": work.shard}) or 0.0


def trades(log: FakeLog, symbol: str = "") -> list[Trade]:
    """Return the trades of the log, or of one symbol."""
    items = [parse_record(raw, name) for name, raw, _, _ in log.records if symbol in ("", name)]
    return [item for item in items if isinstance(item, Trade)]


def ids(log: FakeLog, symbol: str = "") -> list[int]:
    """Return their ids."""
    return [trade.id for trade in trades(log, symbol)]


def heartbeats(log: FakeLog) -> list[bytes]:
    """Return the heartbeats of the log."""
    return [raw for _, raw, kind, _ in log.records if kind == HEARTBEAT]


def tails(log: FakeLog) -> dict[str, list[Trade | LogPosition]]:
    """Return what a restart reads of the log."""
    found: dict[str, list[Trade | LogPosition]] = {}
    for symbol, raw, _, _ in log.records:
        item = parse_record(raw, symbol)
        found.setdefault(symbol, []).append(item if isinstance(item, Trade) else heartbeat_position(raw))
    return found


def candles(log: FakeLog, symbol: str, intervals: tuple[str, ...] = ("5m",)) -> list[Candle]:
    """Return every candle, revisions too, that a symbol's log comes to."""
    builder, found = CandleBuilder(symbol, intervals), list[Candle]()
    for name, raw, _, _ in log.records:
        if name == symbol:
            item = parse_record(raw, name)
            found += builder.add(item) if isinstance(item, Trade) else builder.heartbeat(item)
    return found
