"""Gaps in single trades that only aggregates can fill: nothing counts twice, and what cannot be told stays incomplete."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantstream.binance.wire import parse_record
from quantstream.core.candle import Candle
from quantstream.core.candle_builder import CandleBuilder
from quantstream.core.decimals import UNIT
from quantstream.core.time import MINUTE, SECOND
from quantstream.core.trade import Trade
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics
from streaming.ingest.overlaps import remainder
from streaming.ingest.stage import Ingest
from tests.unit.streaming.fakes import FakeFeed, FakeHistory, FakeLog, aggregated, connected
from tests.unit.streaming.ingest.running import hasten, make, until

T0 = 1_723_161_600 * SECOND
SYMBOL = "BTCUSDT"


@pytest.fixture(autouse=True, scope="module")
def quick() -> object:
    with pytest.MonkeyPatch.context() as patch:
        hasten(patch, FILL_PAUSE=0.0005, PATIENCE=0.0005, RETRY_EVERY=0.002)
        hasten(patch, HEARTBEAT_EVERY=0.002, TURN=0.002, CLOCK_EVERY=0.002)
        yield


@st.composite
def orders(draw: st.DrawFn) -> list[Trade]:
    """Taker orders that fill one or more trades each, at times that cross a window; neighbours may look alike."""
    made: list[Trade] = []
    at = T0 + 4 * MINUTE + 50 * SECOND
    for _ in range(draw(st.integers(3, 14))):
        at += draw(st.sampled_from([0, 1000, 4_000_000]))
        price, maker = draw(st.sampled_from([100, 101])) * UNIT, draw(st.booleans())
        for _ in range(draw(st.integers(1, 5))):
            number = len(made) + 1
            made.append(Trade(SYMBOL, number, number, number, price, draw(st.integers(1, 9)) * UNIT // 8, at, maker))
    return made


def candles(items: Sequence[Trade | int]) -> list[Candle]:
    """Return the newest revision of each candle."""
    builder, found = CandleBuilder(SYMBOL, ("1m", "5m")), {}
    for item in [*items, T0 + 30 * MINUTE]:
        for candle in builder.add(item) if isinstance(item, Trade) else builder.heartbeat(item):
            found[candle.interval, candle.opened_at] = candle
    return list(found.values())


def body(candle: Candle) -> tuple[object, ...]:
    return (
        candle.open, candle.high, candle.low, candle.close, candle.volume, candle.quote_volume, candle.trade_count,
        candle.taker_buy_volume, candle.taker_buy_quote_volume, candle.first_trade_id, candle.last_trade_id,
    )  # fmt: skip


async def play(truth: Sequence[Trade], sent: Sequence[Trade], down_first: bool) -> tuple[list[Trade | int], Ingest]:
    """Let ingest take `sent` from the stream, with REST that gives aggregates only (and is away at first)."""
    history, log, feed = (
        FakeHistory(list(truth), is_down=down_first, singles=False, now=T0 + 20 * MINUTE),
        FakeLog(),
        FakeFeed(),
    )
    work = make(history, log, (SYMBOL,))
    work.resume({SYMBOL: [truth[0]]})
    state = work.feeds[SYMBOL]
    async with connected(work, [feed]):
        feed.put(*sent)
        await until(lambda: state.ids.last_id >= sent[-1].id and state.pending is None, pause=0.001)
        history.is_down = False
        settled = len(history.calls)
        await until(lambda: not state.open_gaps or len(history.calls) > settled + 8, pause=0.001)
    items = [parse_record(raw, SYMBOL) for _, raw, kind, _ in log.records if kind != "heartbeat"]
    return [truth[0], *items], work


@settings(max_examples=120, deadline=None)
@given(orders(), st.data(), st.booleans())
def test_candles_repaired_from_aggregates_are_exact_or_say_that_they_are_not(
    truth: list[Trade], data: st.DataObject, down_first: bool
) -> None:
    kept = data.draw(st.lists(st.booleans(), min_size=len(truth) - 2, max_size=len(truth) - 2))
    sent = [trade for trade, keep in zip(truth[1:-1], kept, strict=True) if keep] + [truth[-1]]
    log, work = asyncio.run(play(truth, sent, down_first))
    expected = {(candle.interval, candle.opened_at): candle for candle in candles(truth)}
    for candle in candles(log):
        true = expected[candle.interval, candle.opened_at]
        if candle.is_complete:
            assert body(candle) == body(true)
        else:
            assert candle.volume <= true.volume
            assert candle.trade_count <= true.trade_count
    if not work.feeds[SYMBOL].open_gaps:
        last = {(candle.interval, candle.opened_at): body(candle) for candle in candles(log)}
        assert last == {key: body(candle) for key, candle in expected.items()}
    ids = [n for item in log if isinstance(item, Trade) for n in range(item.first_trade_id, item.last_trade_id + 1)]
    assert len(ids) == len(set(ids)), "no trade twice"


@settings(max_examples=120, deadline=None)
@given(orders(), st.data())
def test_a_gap_at_once_is_always_filled_by_aggregates(truth: list[Trade], data: st.DataObject) -> None:
    """While newer trades wait, what surrounds a gap is known: one gap is always filled exactly."""
    start = data.draw(st.integers(1, len(truth) - 2))
    end = data.draw(st.integers(start + 1, len(truth) - 1))
    log, work = asyncio.run(play(truth, truth[1:start] + truth[end:], down_first=False))
    assert work.feeds[SYMBOL].open_gaps == []
    assert {body(candle) for candle in candles(log)} == {body(candle) for candle in candles(truth)}


@given(orders(), st.data())
def test_a_remainder_is_what_the_missing_trades_sum_to(truth: list[Trade], data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from(aggregated(truth)))
    first = data.draw(st.integers(whole.first_trade_id, whole.last_trade_id))
    last = data.draw(st.integers(first, whole.last_trade_id))
    others = [trade for trade in truth if not first <= trade.id <= last]
    part = remainder(whole, first, last, others)
    missing = [trade for trade in truth if first <= trade.id <= last]
    assert part is not None
    assert (part.first_trade_id, part.last_trade_id, part.quantity) == (first, last, sum(t.quantity for t in missing))
    around = [trade for trade in others if whole.first_trade_id <= trade.id <= whole.last_trade_id]
    if around:
        unknown = data.draw(st.sampled_from(around))
        assert remainder(whole, first, last, [trade for trade in others if trade is not unknown]) is None


def test_trades_that_contradict_an_aggregate_are_not_subtracted_from_it() -> None:
    single = Trade(SYMBOL, 1, 1, 1, 100 * UNIT, UNIT, T0, False)
    whole = Trade(SYMBOL, 7, 1, 3, 100 * UNIT, 3 * UNIT, T0, False)
    assert remainder(whole, 2, 3, [single]) == Trade(SYMBOL, 7, 2, 3, 100 * UNIT, 2 * UNIT, T0, False)
    for other in (
        Trade(SYMBOL, 1, 1, 1, 101 * UNIT, UNIT, T0, False),
        Trade(SYMBOL, 1, 1, 1, 100 * UNIT, UNIT, T0, True),
        Trade(SYMBOL, 1, 1, 1, 100 * UNIT, UNIT, T0 + 1000, False),
        Trade(SYMBOL, 1, 1, 1, 100 * UNIT, 4 * UNIT, T0, False),
    ):
        assert remainder(whole, 2, 3, [other]) is None


async def test_aggregates_of_the_stream_itself_are_repaired_by_their_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = [Trade(SYMBOL, n, n, n, (100 + n // 3) * UNIT, UNIT, T0 + n // 3 * SECOND, False) for n in range(1, 40)]
    history, log, feed = FakeHistory(truth), FakeLog(), FakeFeed()
    rows = aggregated(truth)
    work = Ingest((SYMBOL,), history, log, Metrics("ingest"), Health(), lambda: 5, "aggTrade")
    work.resume({SYMBOL: [rows[0]]})
    history.trades = truth[: rows[0].last_trade_id]
    async with connected(work, [feed]):
        await until(lambda: work.feeds[SYMBOL].is_whole)
        history.trades, history.calls[:] = truth, []
        feed.put(rows[1], *rows[6:])
        await until(lambda: work.feeds[SYMBOL].ids.last_id == 39)
    assert history.calls[0] == ("aggregates", rows[2].id)
    assert [parse_record(raw, SYMBOL) for _, raw, kind, _ in log.records if kind != "heartbeat"] == rows[1:]
    assert log.events == []
