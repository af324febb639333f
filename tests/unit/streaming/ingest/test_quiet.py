"""A log that begins while nobody trades: its first candle is whole all the same."""

from __future__ import annotations

import asyncio

import pytest

from quantstream.binance.wire import parse_record
from quantstream.core.candle import Candle
from quantstream.core.candle_builder import CandleBuilder
from quantstream.core.decimals import UNIT
from quantstream.core.time import MINUTE, SECOND
from quantstream.core.trade import Trade
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics
from streaming.ingest.stage import Ingest
from tests.unit.streaming import fakes
from tests.unit.streaming.ingest.running import hasten

T0 = 1_723_161_600 * SECOND


def first_candle(log: fakes.FakeLog) -> Candle:
    """Return the candle of the window at `T0`, as it is made of the log."""
    builder, candles = CandleBuilder("XRPUSDT", ("5m",), 0), list[Candle]()
    for symbol, raw, _, _ in log.records:
        item = parse_record(raw, symbol)
        candles += builder.add(item) if isinstance(item, Trade) else builder.heartbeat(item)
    (candle,) = [*candles, *builder.heartbeat(T0 + 5 * MINUTE)]
    return candle


@pytest.mark.parametrize("lost", [0, 1], ids=["none lost", "the first lost on its way"])
@pytest.mark.parametrize("stream", ["trade", "aggTrade"])
async def test_of_thousands_of_symbols_each_ones_first_window_is_complete_that_opened_after_rest_was_asked(
    monkeypatch: pytest.MonkeyPatch, stream: str, lost: int
) -> None:
    hasten(monkeypatch, MAX_BEGINNINGS=0)  # it is none of those whose open window is fetched
    singles = stream == "trade"
    before = [Trade("XRPUSDT", n, n, n, UNIT, UNIT, T0 - 60 * SECOND + n, False) for n in range(40, 50)]
    later = [Trade("XRPUSDT", n, n, n, UNIT, UNIT, T0 + n * SECOND, False) for n in range(50, 60)]
    history, log, feed = fakes.FakeHistory(before, T0 + SECOND, singles=singles), fakes.FakeLog(), fakes.FakeFeed()
    ingest = Ingest(("XRPUSDT",), history, log, Metrics("ingest"), Health(), lambda: 5, stream)
    async with fakes.connected(ingest, [feed]), asyncio.timeout(30):
        while not ingest.feeds["XRPUSDT"].silence.foreseen:
            await asyncio.sleep(0.005)
        history.trades = before + later
        feed.put(*(later if singles else fakes.aggregated(before + later)[10:])[lost:])
        while sum(kind != "heartbeat" for _, _, kind, _ in log.records) < 10:
            await asyncio.sleep(0.005)
    candle = first_candle(log)
    assert (candle.is_complete, candle.first_trade_id, candle.trade_count) == (True, 50, 10)


async def test_the_first_window_is_complete_though_its_first_trade_came_after_the_start() -> None:
    before = [Trade("XRPUSDT", n, n, n, UNIT, UNIT, T0 - 60 * SECOND + n, False) for n in range(40, 50)]
    later = [Trade("XRPUSDT", n, n, n, UNIT, UNIT, T0 + n * SECOND, False) for n in range(50, 60)]
    history, log, feed = fakes.FakeHistory(before, now=T0 + 20 * SECOND), fakes.FakeLog(), fakes.FakeFeed()
    ingest = Ingest(("XRPUSDT",), history, log, Metrics("ingest"), Health(), lambda: 5)
    async with fakes.connected(ingest, [feed]), asyncio.timeout(30):
        while not ingest.feeds["XRPUSDT"].is_whole:
            await asyncio.sleep(0.005)
        history.trades = before + later
        feed.put(*later[1:])  # and the very first one is lost on the way
        while sum(kind != "heartbeat" for _, _, kind, _ in log.records) < 10:
            await asyncio.sleep(0.005)
    candle = first_candle(log)
    assert (candle.is_complete, candle.first_trade_id, candle.trade_count) == (True, 50, 10)
