"""Ingest over fakes: each trade once, in id order, gaps filled before newer trades go on."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from quantstream.binance.exchange_clock import MarketClock
from quantstream.binance.wire import LogPosition, heartbeat_position, parse_record
from quantstream.core.decimals import UNIT
from quantstream.core.errors import Misconfigured
from quantstream.core.time import MINUTE, SECOND
from quantstream.core.trade import Trade
from quantstream.core.trade_ids import Gap
from streaming.ingest.feed_line import Plan
from tests.unit.streaming.fakes import FakeFeed, FakeHistory, FakeLog, connected, frame
from tests.unit.streaming.ingest.running import hasten, heartbeats, ids, make, until

T0 = 1_723_161_600 * SECOND


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    hasten(monkeypatch, FILL_PAUSE=0.001, PATIENCE=0.001, FIRST_PAUSE=0.001)


def market(count: int, symbol: str = "BTCUSDT") -> list[Trade]:
    return [Trade(symbol, n, n, n, 100 * UNIT, UNIT, T0 + n * SECOND, False) for n in range(1, count + 1)]


async def test_a_new_log_begins_with_the_open_window_fetched_over_rest() -> None:
    trades = market(600)
    history, log, feed = FakeHistory(trades[:590], now=T0 + 590 * SECOND), FakeLog(), FakeFeed()
    feed.put(*trades[590:])
    async with connected(make(history, log), [feed]):
        await until(lambda: len(ids(log)) >= 301)
    assert ids(log) == list(range(300, 601))
    assert log.records[0][2] == "heartbeat"
    assert parse_record(log.records[0][1], "BTCUSDT") == T0 + 5 * MINUTE - 1


async def test_a_new_log_of_a_window_without_trades_begins_with_the_next_one() -> None:
    later = [Trade("BTCUSDT", n, n, n, UNIT, UNIT, T0 + (n + 305) * SECOND, False) for n in range(300, 303)]
    trades = market(299) + later
    history, log, feed = FakeHistory(trades[:299], now=T0 + 600 * SECOND), FakeLog(), FakeFeed()
    feed.put(*later)
    async with connected(make(history, log), [feed]):
        await until(lambda: len(ids(log)) >= 3)
    assert ids(log) == [300, 301, 302]
    assert parse_record(log.records[0][1], "BTCUSDT") == T0 + 10 * MINUTE - 1


async def test_the_first_trades_of_a_new_symbol_are_fetched_though_its_connection_was_away_for_windows() -> None:
    trades = market(900)
    history, log, feed = FakeHistory([], now=T0 + SECOND), FakeLog(), FakeFeed()
    work = make(history, log)
    async with connected(work, [feed]):
        await until(lambda: work.feeds["BTCUSDT"].empty_since)
        work.disconnected(["BTCUSDT"])
        history.trades, history.now = trades[:899], T0 + 899 * SECOND
        work.connected(["BTCUSDT"])
        feed.put(trades[899])
        await until(lambda: len(ids(log)) >= 900)
    assert ids(log) == list(range(1, 901))


async def test_a_first_trade_that_rest_tells_of_before_the_stream_brings_it_is_not_skipped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hasten(monkeypatch, MAX_BEGINNINGS=0)  # one of thousands of symbols
    trades = market(3)
    history, log, feed = FakeHistory(trades[:1], now=T0 + 3 * SECOND), FakeLog(), FakeFeed()
    work = make(history, log)
    async with connected(work, [feed]):
        await until(lambda: work.feeds["BTCUSDT"].silence.foreseen)
        feed.put(*trades)
        await until(lambda: len(ids(log)) >= 3)
    assert ids(log) == [1, 2, 3]


async def test_a_first_trade_that_a_broken_connection_swallows_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    hasten(monkeypatch, MAX_BEGINNINGS=0)
    trades = market(3)
    history, log, feed = FakeHistory(trades[:1], now=T0 + 3 * SECOND), FakeLog(), FakeFeed()
    work = make(history, log)
    async with connected(work, [feed]):
        await until(lambda: work.feeds["BTCUSDT"].silence.foreseen)
        work.disconnected(["BTCUSDT"])
        history.trades = trades
        work.connected(["BTCUSDT"])
        await until(lambda: len(ids(log)) >= 3)
    assert ids(log) == [1, 2, 3]


async def test_a_gap_on_the_stream_is_filled_before_newer_trades_go_on() -> None:
    trades = market(50)
    history, log, feed = FakeHistory(trades[:10]), FakeLog(), FakeFeed()
    work = make(history, log)
    work.resume({"BTCUSDT": [trades[9]]})
    async with connected(work, [feed]):
        await until(lambda: work.feeds["BTCUSDT"].is_whole)
        history.trades = trades
        feed.put(*trades[10:20], *trades[30:50])
        await until(lambda: len(ids(log)) >= 40)
    assert ids(log) == list(range(11, 51))
    origins = [origin for _, _, kind, origin in log.records if kind != "heartbeat"]
    assert origins == ["live"] * 10 + ["repaired"] * 10 + ["live"] * 20
    assert log.events == []


async def test_what_is_only_out_of_order_is_waited_for_and_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    hasten(monkeypatch, PATIENCE=0.2)
    trades = market(20)
    history, log, feed = FakeHistory(trades[:10]), FakeLog(), FakeFeed()
    work = make(history, log)
    work.resume({"BTCUSDT": [trades[9]]})
    async with connected(work, [feed]):
        await until(lambda: work.feeds["BTCUSDT"].is_whole)
        calls = len(history.calls)
        feed.put(trades[11], trades[12], trades[10], *trades[13:])
        await until(lambda: len(ids(log)) >= 10)
        assert len(history.calls) == calls
    assert ids(log) == list(range(11, 21))
    assert log.events == []


async def test_after_a_crash_what_was_missed_is_fetched_and_nothing_is_sent_twice() -> None:
    trades = market(30)
    history, log, feed = FakeHistory(trades[:25]), FakeLog(), FakeFeed()
    work = make(history, log)
    work.resume({"BTCUSDT": [trades[4]]})
    feed.put(*trades[20:], *trades[20:25])
    async with connected(work, [feed]):
        await until(lambda: len(ids(log)) >= 25)
    assert ids(log) == list(range(6, 31))


async def test_a_quiet_symbol_is_made_whole_after_a_crash_though_nothing_comes_on_its_stream() -> None:
    trades = market(30)
    history, log = FakeHistory(trades), FakeLog()
    work = make(history, log)
    work.resume({"BTCUSDT": [trades[4]]})
    async with connected(work, [FakeFeed()]):
        await until(lambda: len(ids(log)) >= 25)
    assert ids(log) == list(range(6, 31))


async def test_a_gap_the_exchange_cannot_fill_is_told_and_the_market_goes_on() -> None:
    trades = market(30)
    history, log, feed = FakeHistory(trades[:5] + trades[14:]), FakeLog(), FakeFeed()
    work = make(history, log)
    work.resume({"BTCUSDT": [trades[4]]})
    feed.put(*trades[14:])
    async with connected(work, [feed]):
        await until(lambda: len(ids(log)) >= 16)
    assert ids(log) == list(range(15, 31))
    assert [(event.kind, event.detail) for event in log.events] == [("gap_found", {"first": 6, "last": 14})]


async def test_an_exchange_without_rest_delays_nothing_for_good_and_the_gap_is_filled_when_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hasten(monkeypatch, RETRY_EVERY=0.01)
    trades = market(30)
    history, log, feed = FakeHistory(trades, is_down=True), FakeLog(), FakeFeed()
    work = make(history, log)
    work.resume({"BTCUSDT": [trades[4]]})
    feed.put(*trades[14:])
    async with connected(work, [feed]):
        await until(lambda: len(ids(log)) >= 16)
        assert ids(log) == list(range(15, 31))
        assert work.metrics.registry.get_sample_value("quantstream_ingest_open_gaps") == 1
        history.is_down = False
        await until(lambda: "gap_repaired" in log.told())
    assert sorted(ids(log)) == list(range(6, 31))
    assert log.told() == ["gap_found", "gap_repaired"]
    assert work.metrics.registry.get_sample_value("quantstream_ingest_open_gaps") == 0
    counted = [
        work.metrics.registry.get_sample_value("quantstream_ingest_gaps_total", {"outcome": outcome})
        for outcome in ("found", "repaired")
    ]
    assert counted == [1, 1]


async def test_a_quiet_symbol_gets_its_heartbeats_once_the_exchange_answers_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hasten(monkeypatch, HEARTBEAT_EVERY=0.001, CLOCK_EVERY=0.001)
    hasten(monkeypatch, RETRY_EVERY=0.01)
    trades = market(5)
    history, log = FakeHistory(trades, now=T0 + 10 * MINUTE, is_down=True), FakeLog()
    work = make(history, log)
    work.resume({"BTCUSDT": [trades[4]]})
    async with connected(work, [FakeFeed()]):
        await until(lambda: len(history.calls) > 3)
        assert log.records == [], "it is not known what came before this connection"
        history.is_down = False
        await until(lambda: heartbeats(log))


async def test_a_gap_that_stays_is_given_up_after_a_day_and_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    hasten(monkeypatch, RETRY_EVERY=0.01)
    trades = market(30)
    history, log, feed = FakeHistory(trades[:5] + trades[14:], now=T0 + 30 * 3600 * SECOND), FakeLog(), FakeFeed()
    work = make(history, log)
    work.resume({"BTCUSDT": [trades[4]]})
    feed.put(*trades[14:])
    async with connected(work, [feed]):
        await until(lambda: "gap_given_up" in log.told())
    assert work.feeds["BTCUSDT"].open_gaps == []


async def test_too_many_waiting_trades_go_on_and_leave_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    hasten(monkeypatch, MAX_PENDING=5)
    hasten(monkeypatch, FILL_PAUSE=30.0)
    trades = market(30)
    history, log, feed = FakeHistory(trades[:5]), FakeLog(), FakeFeed()
    work = make(history, log)
    work.resume({"BTCUSDT": [trades[4]]})
    async with connected(work, [feed]):
        await until(lambda: work.feeds["BTCUSDT"].is_whole)
        feed.put(*trades[14:])
        await until(lambda: len(ids(log)) >= 16)
    assert ids(log) == list(range(15, 31))
    assert log.told() == ["gap_found"]


async def test_all_waiting_trades_together_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    hasten(monkeypatch, MAX_ALL_PENDING=10)
    hasten(monkeypatch, FILL_PAUSE=30.0)
    names = ("AUSDT", "BUSDT", "CUSDT")
    trades = [trade for name in names for trade in market(30, name)]
    history, log, feed = FakeHistory([t for t in trades if t.id <= 5]), FakeLog(), FakeFeed()
    work = make(history, log, names)
    work.resume({name: [t for t in trades if t.symbol == name and t.id == 5] for name in names})
    async with connected(work, [feed]):
        await until(lambda: all(state.is_whole for state in work.feeds.values()))
        for number in range(15, 31):
            feed.put(*(t for t in trades if t.id == number))
        await until(lambda: log.told().count("gap_found") >= 2)
        waiting = sum(len(state.pending or ()) for state in work.feeds.values())
        assert waiting <= 16


async def test_malformed_and_foreign_frames_are_dead_lettered() -> None:
    trades = market(3)
    history, log, feed = FakeHistory([], now=T0), FakeLog(), FakeFeed()
    feed.put_raw(b"{not json")
    feed.put(*market(1, "DOGEUSDT"), *trades)
    async with connected(make(history, log), [feed]):
        await until(lambda: len(ids(log)) >= 3)
    assert ids(log) == [1, 2, 3]
    assert [reason.split(":")[0] for reason in log.dead_letters] == [
        "not a combined-stream frame",
        "a trade of DOGEUSDT, which nobody asked for",
    ]


@pytest.mark.parametrize("is_true", [False, True])
async def test_a_trade_of_the_future_is_dead_lettered_and_asked_for_again(is_true: bool) -> None:
    """Where the exchange's REST side knows better it comes with its right time; where it repeats itself it stays out."""
    trades = market(6)
    wrong = replace(trades[3], traded_at=trades[3].traded_at + 9 * 3600 * SECOND)
    history, log, feed = (
        FakeHistory(trades if is_true else [*trades[:3], wrong, *trades[4:]], now=T0),
        FakeLog(),
        FakeFeed(),
    )
    work = make(history, log)
    seconds = iter([0.0, 2.0])
    work.clock = MarketClock(lambda: next(seconds, 2.0))
    for at in (T0, T0 + 2 * SECOND):
        work.clock.read(at)
    feed.put(*trades[:3], wrong, *trades[4:])
    async with connected(work, [feed]):
        await until(lambda: 6 in ids(log))
    assert ids(log) == ([1, 2, 3, 4, 5, 6] if is_true else [1, 2, 3, 5, 6])
    assert log.dead_letters == ["a trade of BTCUSDT dated 28742 s beyond what the exchange's clock allows"]
    assert log.told() == ([] if is_true else ["gap_found"])


async def test_an_unknown_symbol_ends_the_stage_with_the_exchanges_word() -> None:
    history, log = FakeHistory([], now=T0), FakeLog()

    async def refuse(symbol: str, at: int) -> list[tuple[Trade, bytes]]:
        raise Misconfigured("the exchange knows no symbol NOPE")

    history.aggregates_since = refuse  # type: ignore[method-assign]
    with pytest.raises(Misconfigured, match="NOPE"):
        async with connected(make(history, log, ("NOPE",)), [FakeFeed()]):
            await asyncio.sleep(0.05)


async def test_heartbeats_never_run_ahead_of_a_repair(monkeypatch: pytest.MonkeyPatch) -> None:
    hasten(monkeypatch, HEARTBEAT_EVERY=0.001, CLOCK_EVERY=0.001)
    hasten(monkeypatch, FILL_PAUSE=30.0)
    trades = market(30)
    history, log, feed = FakeHistory(trades[:5], now=T0 + 10 * MINUTE), FakeLog(), FakeFeed()
    work = make(history, log)
    work.resume({"BTCUSDT": [trades[4]]})
    async with connected(work, [feed]):
        await until(lambda: heartbeats(log))
        feed.put(trades[29])  # a gap that REST cannot fill yet: heartbeats must stop
        await until(lambda: work.feeds["BTCUSDT"].pending)
        count = len(log.records)
        history.now += SECOND
        await until(lambda: work.clock.at == history.now)
        await asyncio.sleep(0.03)
        assert len(log.records) == count


async def test_no_heartbeat_while_the_broker_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    hasten(monkeypatch, HEARTBEAT_EVERY=0.001, CLOCK_EVERY=0.001)
    trades = market(30)
    history, log, feed = FakeHistory(trades[:5], now=T0 + 10 * MINUTE), FakeLog(), FakeFeed()
    work = make(history, log)
    work.resume({"BTCUSDT": [trades[4]]})
    async with connected(work, [feed]):
        await until(lambda: heartbeats(log) and work.health.is_ready)
        log.open.clear()
        feed.put(trades[5])
        await until(lambda: not work.health.is_ready)
        count = len(log.records)
        feed.put(*trades[6:])
        history.now += SECOND
        await asyncio.sleep(0.03)
        assert len(log.records) == count
        log.open.set()
        await until(lambda: len(ids(log)) >= 25)
    assert ids(log) == list(range(6, 31))


async def test_no_heartbeat_while_frames_wait_that_came_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    hasten(monkeypatch, HEARTBEAT_EVERY=0.001, CLOCK_EVERY=0.001)
    waiting = 1
    monkeypatch.setattr(FakeFeed, "waiting", property(lambda feed: waiting))
    history, log, feed = FakeHistory(market(5), now=T0 + 10 * MINUTE), FakeLog(), FakeFeed()
    work = make(history, log)
    work.resume({"BTCUSDT": [history.trades[4]]})
    async with connected(work, [feed]):
        await until(lambda: work.health.is_ready and work.feeds["BTCUSDT"].is_whole)
        history.now += SECOND
        await asyncio.sleep(0.03)
        assert heartbeats(log) == []
        waiting = 0
        await until(lambda: heartbeats(log))


async def test_open_gaps_are_kept_in_heartbeats_and_filled_after_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    hasten(monkeypatch, HEARTBEAT_EVERY=0.001, CLOCK_EVERY=0.001)
    trades = market(30)
    history, log, feed = FakeHistory(trades[:5] + trades[14:]), FakeLog(), FakeFeed()
    work = make(history, log)
    work.resume({"BTCUSDT": [trades[4]]})
    feed.put(*trades[14:])
    async with connected(work, [feed]):
        await until(lambda: "gap_found" in log.told() and heartbeats(log))
    position = heartbeat_position(heartbeats(log)[-1])
    gap = Gap(6, 14, trades[4].traded_at, trades[14].traded_at)
    assert position == LogPosition(30, trades[29].traded_at, 31, [gap])

    hasten(monkeypatch, RETRY_EVERY=0.01)
    after, history.trades = FakeLog(), trades
    successor = make(history, after)
    successor.resume({"BTCUSDT": [trades[29], position]})
    async with connected(successor, [FakeFeed()]):
        await until(lambda: "gap_repaired" in after.told())
    assert ids(after) == list(range(6, 15))


async def test_a_gap_among_the_last_records_of_the_log_is_found_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    hasten(monkeypatch, RETRY_EVERY=0.01)
    trades = market(30)
    history, log = FakeHistory(trades), FakeLog()
    work = make(history, log)
    work.resume({"BTCUSDT": trades[:10] + trades[20:]})
    async with connected(work, [FakeFeed()]):
        await until(lambda: "gap_repaired" in log.told())
    assert ids(log) == list(range(11, 21))


async def test_a_replacement_takes_over_without_a_gap_a_repair_or_a_repeated_trade() -> None:
    trades = market(60)
    history, log, old, new = FakeHistory(trades[:10]), FakeLog(), FakeFeed(), FakeFeed()
    work = make(history, log)
    work.resume({"BTCUSDT": [trades[9]]})
    async with connected(work, [old, new], Plan(lifetime=3600)):
        await until(lambda: work.feeds["BTCUSDT"].is_whole)
        calls = len(history.calls)
        old.put(*trades[10:20])
        old.put_raw(b'{"stream":"!all","data":{"e":"serverShutdown","E":1}}')
        old.put(*trades[20:40])
        new.put(*trades[30:60])
        await until(lambda: len(ids(log)) >= 50)
        assert old.is_closed
        assert not new.is_closed
        assert len(history.calls) == calls
    assert ids(log) == list(range(11, 61))
    assert log.events == []
    assert work.metrics.registry.get_sample_value("quantstream_ingest_rotations_total") == 1


async def test_an_old_connection_is_kept_while_there_is_no_replacement(monkeypatch: pytest.MonkeyPatch) -> None:
    trades = market(30)
    history, log, old = FakeHistory(trades[:10]), FakeLog(), FakeFeed()
    work = make(history, log)
    work.resume({"BTCUSDT": [trades[9]]})
    async with connected(work, [old], Plan(lifetime=0.01)):
        await until(
            lambda: (work.metrics.registry.get_sample_value("quantstream_ingest_connection_attempts_total") or 0) > 2
        )
        old.put(*trades[10:])
        await until(lambda: len(ids(log)) >= 20)
        assert not old.is_closed
    assert log.events == []


def test_frames_are_what_the_exchange_sends() -> None:
    assert frame(market(1)[0]).startswith(b'{"stream":"btcusdt@trade","data":{"e":"trade"')
