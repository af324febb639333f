"""Ingest over fakes: each trade once, in id order, holes filled before newer trades go on."""

from __future__ import annotations

import asyncio

import pytest

from quantstream.errors import Misconfigured, Unavailable
from quantstream.market import MINUTE, SECOND, UNIT, Trade
from quantstream.metrics import Health, Metrics
from streaming import ingest as module
from streaming.binance import parse_record
from streaming.ingest import Ingest
from tests.streaming import fakes

T0 = 1_723_161_600 * SECOND


def market(count: int, symbol: str = "BTCUSDT") -> list[Trade]:
    return [Trade(symbol, n, n, n, 100 * UNIT, UNIT, T0 + n * SECOND, False) for n in range(1, count + 1)]


def make(history: object, log: object, symbols: tuple[str, ...] = ("BTCUSDT",)) -> Ingest:
    return Ingest(symbols, history, log, Metrics("ingest"), Health(), lambda: 5)  # type: ignore[arg-type]


async def play(ingest: Ingest, feed: object, until: int, log: object) -> None:
    task = asyncio.create_task(ingest.run(feed))  # type: ignore[arg-type]
    async with asyncio.timeout(10):
        while sum(kind != "heartbeat" for _, _, kind, _ in log.records) < until and not task.done():  # type: ignore[attr-defined]
            await asyncio.sleep(0.005)
    feed.cut()  # type: ignore[attr-defined]
    with pytest.raises(Unavailable):
        await task


def ids(log: object) -> list[int]:
    items = [parse_record(raw, symbol) for symbol, raw, kind, _ in log.records if kind != "heartbeat"]  # type: ignore[attr-defined]
    return [item.id for item in items if isinstance(item, Trade)]


async def test_a_new_log_begins_with_the_open_window_fetched_over_rest() -> None:
    trades = market(600)
    history, log, feed = fakes.FakeHistory(trades[:590], now=T0 + 590 * SECOND), fakes.FakeLog(), fakes.FakeFeed()
    feed.put(*trades[590:])
    await play(make(history, log), feed, 301, log)
    assert ids(log) == list(range(300, 601))
    assert log.records[0][2] == "heartbeat"
    assert parse_record(log.records[0][1], "BTCUSDT") == T0 + 5 * MINUTE - 1


async def test_a_gap_on_the_stream_is_filled_before_newer_trades_go_on() -> None:
    trades = market(50)
    history, log, feed = fakes.FakeHistory(trades), fakes.FakeLog(), fakes.FakeFeed()
    ingest = make(history, log)
    ingest.resume({"BTCUSDT": trades[9]})
    history.trades = trades[:10]
    task = asyncio.create_task(ingest.run(feed))
    while not ingest.health.is_ready:
        await asyncio.sleep(0.005)
    history.trades = trades
    feed.put(*trades[10:20], *trades[30:50])
    while len(ids(log)) < 40:
        await asyncio.sleep(0.005)
    feed.cut()
    with pytest.raises(Unavailable):
        await task
    assert ids(log) == list(range(11, 51))
    assert [origin for _, _, kind, origin in log.records if kind != "heartbeat"].count("repaired") == 10
    assert log.events == []


async def test_after_a_crash_what_was_missed_is_fetched_and_nothing_is_sent_twice() -> None:
    trades = market(30)
    history, log, feed = fakes.FakeHistory(trades[:25]), fakes.FakeLog(), fakes.FakeFeed()
    ingest = make(history, log)
    ingest.resume({"BTCUSDT": trades[4]})
    feed.put(*trades[20:], *trades[20:25])
    await play(ingest, feed, 25, log)
    assert ids(log) == list(range(6, 31))


async def test_a_hole_the_exchange_cannot_fill_is_told_and_the_market_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REPAIR_PAUSE", 0.001)
    trades = market(30)
    history, log, feed = fakes.FakeHistory(trades[:5] + trades[14:]), fakes.FakeLog(), fakes.FakeFeed()
    ingest = make(history, log)
    ingest.resume({"BTCUSDT": trades[4]})
    feed.put(*trades[14:])
    await play(ingest, feed, 16, log)
    assert ids(log) == list(range(15, 31))
    assert [(event.kind, event.detail) for event in log.events] == [("gap_found", {"first": 6, "last": 14})]


async def test_an_exchange_without_rest_delays_nothing_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REPAIR_PAUSE", 0.001)
    trades = market(30)
    history, log, feed = fakes.FakeHistory(trades, is_down=True), fakes.FakeLog(), fakes.FakeFeed()
    ingest = make(history, log)
    ingest.resume({"BTCUSDT": trades[4]})
    feed.put(*trades[14:])
    await play(ingest, feed, 16, log)
    assert ids(log) == list(range(15, 31))


async def test_malformed_and_foreign_frames_are_put_aside() -> None:
    trades = market(3)
    history, log, feed = fakes.FakeHistory([], now=T0), fakes.FakeLog(), fakes.FakeFeed()
    feed.queue.put_nowait(b"{not json")
    feed.queue.put_nowait(b'{"result":null,"id":1}')
    feed.put(*market(1, "DOGEUSDT"), *trades)
    await play(make(history, log), feed, 3, log)
    assert ids(log) == [1, 2, 3]
    assert [reason.split(":")[0] for reason in log.dead_letters] == [
        "not a combined-stream frame",
        "a trade of DOGEUSDT, which nobody asked for",
    ]


async def test_an_unknown_symbol_ends_the_stage_with_the_exchanges_word() -> None:
    history, log, feed = fakes.FakeHistory([], now=T0), fakes.FakeLog(), fakes.FakeFeed()

    async def refuse(symbol: str, at: int) -> Trade | None:
        raise Misconfigured("the exchange knows no symbol NOPE")

    history.first_trade_since = refuse
    feed.put(*market(1))
    ingest = make(history, log, ("NOPE",))
    task = asyncio.create_task(ingest.run(feed))
    while ingest._failure is None:
        await asyncio.sleep(0.001)
    feed.put(*market(1))
    with pytest.raises(Misconfigured):
        await task


async def test_heartbeats_never_run_ahead_of_a_repair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_EVERY", 0.001)
    trades = market(30)
    history, log, feed = fakes.FakeHistory(trades[:5], now=T0 + 10 * MINUTE), fakes.FakeLog(), fakes.FakeFeed()
    ingest = make(history, log)
    ingest.resume({"BTCUSDT": trades[4]})
    task = asyncio.create_task(ingest.run(feed))
    while not any(kind == "heartbeat" for _, _, kind, _ in log.records):
        await asyncio.sleep(0.001)
    count = len(log.records)
    feed.put(trades[29])  # a gap that REST cannot fill yet: heartbeats must stop
    await asyncio.sleep(0.05)
    assert ingest.feeds["BTCUSDT"].pending
    history.now += SECOND
    before = [kind for _, _, kind, _ in log.records[count:]]
    await asyncio.sleep(0.02)
    assert [kind for _, _, kind, _ in log.records[count:]] == before
    feed.cut()
    with pytest.raises(Unavailable):
        await task
