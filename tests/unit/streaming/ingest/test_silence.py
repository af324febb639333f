"""A mute stream is not a quiet market: ingest over its real adapters, the simulated exchange muted, candles from the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from quantstream.binance import rest
from quantstream.binance.klines import parse_kline
from quantstream.binance.wire import parse_record
from quantstream.core.candle import Candle
from quantstream.core.candle_builder import CandleBuilder
from quantstream.core.decimals import UNIT
from quantstream.core.time import MINUTE, SECOND
from quantstream.core.trade import Trade
from streaming.exchange.clock import Clock
from streaming.exchange.faults import Fault
from streaming.exchange.market.protocol import Market
from streaming.exchange.market.recorded import RecordedMarket
from streaming.exchange.market.synthetic import MarketSeed, SyntheticMarket
from streaming.exchange.server.http_server import Options, Served, serve
from streaming.exchange.server.venue import FUTURES, SPOT, Venue
from streaming.ingest.stage import Ingest
from streaming.reconcile.compare import KLINE_FIELDS
from tests.unit.streaming.fakes import FakeLog
from tests.unit.streaming.ingest.running import hasten, ingesting, is_going, metric, until

STARTS_AT = 1_763_800_123 * SECOND
SYMBOLS = ("BTCUSDT", "ETHUSDT", "XRPUSDT")


@pytest.fixture(scope="module")
def synthetic() -> SyntheticMarket:
    return SyntheticMarket(MarketSeed(seed=3, starts_at=STARTS_AT, history_days=1), list(SYMBOLS))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    hasten(monkeypatch, FIRST_PAUSE=0.05, HEARTBEAT_EVERY=0.3, CLOCK_EVERY=0.1)


@dataclass
class Bench:
    """An exchange, ingest over it, and the candles that its log comes to."""

    served: Served
    session: aiohttp.ClientSession
    log: FakeLog
    work: Ingest
    venue: Venue = SPOT
    candles: dict[tuple[str, int], list[Candle]] = field(default_factory=dict)
    _builders: dict[str, CandleBuilder] = field(default_factory=dict)
    _read: int = 0

    async def order(self, **order: Any) -> dict[str, Any]:
        async with self.session.post(f"{self.served.rest}/control/faults", json=order) as answer:
            assert answer.status == 200, await answer.text()
            found: dict[str, Any] = await answer.json()
            return found

    async def clear(self) -> None:
        await self.session.delete(f"{self.served.rest}/control/faults")

    def build(self) -> None:
        """Take in what is new in the log."""
        for symbol, raw, _, _ in self.log.records[self._read :]:
            builder = self._builders.setdefault(symbol, CandleBuilder(symbol, ("5m",)))
            item = parse_record(raw, symbol)
            for candle in builder.add(item) if isinstance(item, Trade) else builder.heartbeat(item):
                self.candles.setdefault((symbol, candle.opened_at), []).append(candle)
        self._read = len(self.log.records)

    async def differing(self, every: bool, among: Sequence[str] = ()) -> list[Candle]:
        """Return the complete candles that are not the exchange's klines: of every revision, or of the last ones."""
        self.build()
        wrong = []
        for symbol in among or {symbol for symbol, _ in self.candles}:
            query = f"symbol={symbol}&interval=5m&limit=1000&startTime={STARTS_AT // 1000 - 300_000}"
            async with self.session.get(f"{self.served.rest}{self.venue.api}/klines?{query}") as answer:
                klines = {kline.opened_at: kline for row in await answer.json() if (kline := parse_kline(symbol, row))}
            for (of, opened_at), revisions in self.candles.items():
                if of == symbol:
                    for candle in revisions if every else revisions[-1:]:
                        is_equal = all(
                            getattr(candle, name) == getattr(klines[opened_at], name) for name in KLINE_FIELDS
                        )
                        wrong += [candle] if candle.is_complete and not is_equal else []
        return wrong

    def incomplete(self, since: int) -> list[Candle]:
        """Return the candles from `since` on whose last revision is incomplete."""
        self.build()
        return [all_[-1] for (_, at), all_ in self.candles.items() if at >= since and not all_[-1].is_complete]

    def closed_until(self, symbol: str) -> int:
        """Return the end of the symbol's last candle, µs."""
        self.build()
        return max((at + 5 * MINUTE for of, at in self.candles if of == symbol), default=0)

    def metric(self, name: str) -> float:
        return metric(self.work, name)


@asynccontextmanager
async def bench(
    market: Market,
    speed: float,
    symbols: Sequence[str] = SYMBOLS,
    stream: str = "trade",
    mute: bool = False,
    venue: Venue = SPOT,
    **options: Any,
) -> AsyncIterator[Bench]:
    """Run ingest over an exchange; `mute` from the beginning, as at an address that it does not serve any more."""
    options, route = options | {"venue": venue}, "" if venue is SPOT else "/market"
    clock, log = Clock(market.starts_at, speed, market.ends_at), FakeLog()
    async with serve(market, clock, Options(**options)) as served, aiohttp.ClientSession() as session:
        if mute:
            served.faults.mute(Fault(kind="mute", count=1, seconds=0), clock.now())
        async with ingesting((served.ws + route, served.rest), log, symbols, None, stream, venue.api) as work:
            yield Bench(served, session, log, work, venue)


def events(bench: Bench, kind: str) -> list[Any]:
    return [event for event in bench.log.events if event.kind == kind]


async def settle(bench: Bench) -> None:
    """Wait until all streams bring trades again and two more windows have closed."""
    await until(lambda: not bench.metric("mute_streams") and is_going(bench.work))
    ends = {symbol: bench.closed_until(symbol) + 10 * MINUTE for symbol in bench.work.feeds}
    await until(lambda: all(bench.closed_until(symbol) >= end for symbol, end in ends.items()))


@pytest.mark.slow
@pytest.mark.parametrize("muted", [["btcusdt@trade"], ["ethusdt@trade", "xrpusdt@trade"], []])
async def test_streams_that_are_mute_for_25_minutes_make_no_false_candle(
    synthetic: SyntheticMarket, muted: list[str]
) -> None:
    async with bench(synthetic, 120.0) as it:
        await until(lambda: is_going(it.work) and it.work.clock.speed > 2)
        told = await it.order(kind="mute", count=1, seconds=1500, streams=muted)
        names = muted or [f"{name.lower()}@trade" for name in SYMBOLS]
        await until(lambda: it.metric("mute_streams") == len(names))
        assert sum(event.detail["symbols"] for event in events(it, "stream_mute")) == len(names)
        ended = max(told["muted"].values())
        await until(lambda: it.work.clock.at > ended)
        assert await it.differing(every=True) == []
        assert len([1 for candles in it.candles.values() for _ in candles]) >= 4 * len(SYMBOLS), "REST fills in"
        await settle(it)
        assert await it.differing(every=True) == []
        assert it.incomplete(STARTS_AT + 2 * MINUTE) == []
        assert it.metric("rotations_total") >= 1, "the connection was replaced"
    assert sum(event.detail["symbols"] for event in events(it, "stream_recovered")) == len(names)
    assert "silence_unproven" not in it.log.told()


async def test_a_mute_stream_is_told_within_a_minute_of_the_market(synthetic: SyntheticMarket) -> None:
    async with bench(synthetic, 10.0) as it:
        await until(lambda: is_going(it.work) and len(it.log.records) > 50)
        told = await it.order(kind="mute", count=1, seconds=600, stream="btcusdt@trade")
        await until(lambda: events(it, "stream_mute"))
        (event,) = events(it, "stream_mute")
        assert event.symbol == "BTCUSDT"
        assert event.detail["found_at"] < told["muted"]["btcusdt@trade"] - 600 * SECOND + 60 * SECOND


async def test_while_rest_is_away_as_well_nothing_closes_and_that_is_told(
    synthetic: SyntheticMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "LONGEST_PAUSE", 1.0)
    async with bench(synthetic, 120.0) as it:
        await until(lambda: is_going(it.work) and it.work.clock.speed > 2)
        await it.order(kind="rest_500", probability=1.0)
        await it.order(kind="mute", count=1, seconds=0)
        await until(lambda: events(it, "silence_unproven"))
        began = it.work.clock.at
        await asyncio.sleep(12.5)  # 25 minutes of the market
        assert await it.differing(every=True) == [] if it.candles else True
        assert {symbol: it.closed_until(symbol) < began + 5 * MINUTE for symbol in SYMBOLS} == dict.fromkeys(
            SYMBOLS, True
        )
        assert it.metric("unproven_symbols") == 3
        await it.clear()
        await until(lambda: events(it, "silence_proven"))
        await settle(it)
        assert await it.differing(every=True) == []
        assert it.incomplete(STARTS_AT + 2 * MINUTE) == []


async def test_an_address_that_accepts_everything_and_brings_nothing_is_told_at_the_first_start(
    synthetic: SyntheticMarket,
) -> None:
    async with bench(synthetic, 60.0, mute=True) as it:
        await until(lambda: it.metric("mute_streams") == 3)
        await until(lambda: all(it.closed_until(symbol) > STARTS_AT + 12 * MINUTE for symbol in SYMBOLS))
        assert await it.differing(every=True) == [], "REST fills in"
    assert "stream_mute" in it.log.told()


@pytest.mark.slow
@pytest.mark.parametrize("data_only", [False, True])
async def test_mute_streams_of_aggregates_and_of_hosts_without_single_trades(
    synthetic: SyntheticMarket, data_only: bool
) -> None:
    async with bench(synthetic, 60.0, stream="trade" if data_only else "aggTrade", data_only=data_only) as it:
        await until(lambda: is_going(it.work) and it.work.clock.speed > 2)
        told = await it.order(kind="mute", count=1, seconds=900)
        await until(lambda: it.metric("mute_streams") == 3)
        await until(lambda: it.work.clock.at > told["muted"][""])
        await settle(it)
        assert await it.differing(every=True) == []
        assert it.incomplete(STARTS_AT + 2 * MINUTE) == []


@pytest.mark.slow
async def test_a_futures_market_whose_trade_ids_skip_comes_to_its_own_klines_through_faults_and_mute_streams() -> None:
    """Trades of the insurance fund have ids and are in no aggregate: nothing of that is missing, and what is cut is fetched."""
    seed = MarketSeed(seed=5, starts_at=STARTS_AT, history_days=1, off_book_a_minute=3.0)
    market = SyntheticMarket(seed, list(SYMBOLS))
    async with bench(market, 30.0, stream="aggTrade", venue=FUTURES) as it:
        await until(lambda: is_going(it.work) and it.work.clock.speed > 2)
        await it.order(kind="skip", count=40)
        await it.order(kind="drop", count=1)
        await until(lambda: it.metric("feed_breaks_total") >= 1)
        told = await it.order(kind="mute", count=1, seconds=400)
        await until(lambda: it.metric("mute_streams") == 3)
        await until(lambda: it.work.clock.at > told["muted"][""])
        await settle(it)
        assert await it.differing(every=True) == []
        assert it.incomplete(STARTS_AT + 5 * MINUTE) == []
        assert len(it.candles) >= 12
    trades = [parse_record(raw, symbol) for symbol, raw, kind, _ in it.log.records if kind != "heartbeat"]
    assert all(isinstance(trade, Trade) and trade.by_id for trade in trades)
    assert not it.metric("open_gaps")


def quiet_market(count: int) -> RecordedMarket:
    """Return a market whose symbols trade once an hour, and one that is busy."""
    names = [f"Q{number:04}USDT" for number in range(count)]
    quiet = [
        Trade(name, turn + 1, turn + 1, turn + 1, 7 * UNIT, UNIT, STARTS_AT + turn * 60 * MINUTE + number * 1000, False)
        for turn in range(3)
        for number, name in enumerate(names)
    ]
    busy = [Trade("BUSYUSDT", n, n, n, UNIT, UNIT, STARTS_AT + n * SECOND, False) for n in range(1, 7200)]
    return RecordedMarket(quiet + busy)


async def test_a_truly_quiet_symbol_closes_flat_complete_and_in_time() -> None:
    async with bench(quiet_market(3), 120.0, ["Q0000USDT", "Q0001USDT", "BUSYUSDT"], waits_for_listener=True) as it:
        await until(lambda: it.closed_until("Q0001USDT") > STARTS_AT + 40 * MINUTE)
        it.build()
        flat = [revisions[-1] for (name, _), revisions in it.candles.items() if name == "Q0001USDT"][1:]
        assert {(c.open, c.close, c.trade_count, c.is_complete, c.revision) for c in flat} == {
            (7 * UNIT, 7 * UNIT, 0, True, 0)
        }
        assert it.closed_until("BUSYUSDT") - it.closed_until("Q0001USDT") <= 5 * MINUTE
        assert await it.differing(every=True) == []
    assert it.log.told() == []


@pytest.mark.slow
async def test_two_thousand_quiet_symbols_are_asked_about_within_the_weight() -> None:
    count = 2_000
    names = [f"Q{number:04}USDT" for number in range(count)]
    async with bench(quiet_market(count), 20.0, names, waits_for_listener=True) as it:
        await until(lambda: it.work.clock.at > STARTS_AT + 14 * MINUTE, 300)
        await until(lambda: all(it.closed_until(name) for name in names[::97]), 300)
        assert await it.differing(every=True, among=names[::97]) == []
        assert it.metric("used_weight") <= 5_400
    assert it.log.told() == []
