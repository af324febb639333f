"""Trades taken as partial sums give the bytes that trades taken one by one give: candles, their order, snapshots."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quantstream.binance.wire import heartbeat_event, parse_record, trade_event
from quantstream.core.candle_builder import CandleBuilder
from quantstream.core.decimals import UNIT, units_text
from quantstream.core.errors import BadRecord
from quantstream.core.time import MINUTE, SECOND
from quantstream.core.trade import Trade
from quantstream.messages.payloads import OpenCandles, encode
from streaming.aggregate.aggregator import Aggregator

T0 = 1_754_006_400 * SECOND
INTERVALS = (("5m",), ("1m", "5m"), ("1m", "5m", "15m", "1h"), ("3m", "5m"))
Record = tuple[int, str, bytes]
JUNK = b'{"e":"trade"'


def one_by_one(log: Sequence[Record], intervals: Sequence[str], lateness: int) -> tuple[list[bytes], dict[str, bytes]]:
    builders: dict[str, CandleBuilder] = {}
    candles = []
    for _, symbol, raw in log:
        try:
            item = parse_record(raw, symbol)
        except BadRecord:
            continue
        builder = builders.setdefault(symbol, CandleBuilder(symbol, intervals, lateness))
        candles += builder.add(item) if isinstance(item, Trade) else builder.heartbeat(item)
        builder.state.account.read += 1
    assert all(builder.state.settle().closes for builder in builders.values())
    return [encode(candle) for candle in candles], {s: msgspec.json.encode(b.state) for s, b in builders.items()}


def in_batches(
    log: Sequence[Record], intervals: Sequence[str], lateness: int, cuts: Sequence[int], restart: bool
) -> tuple[list[bytes], dict[str, bytes]]:
    """At each cut a batch ends; with `restart` the process does as well, and its snapshots are all that is left of it."""
    aggregator = Aggregator(intervals, lateness)
    candles: list[bytes] = []
    kept: dict[tuple[int, str], bytes] = {}
    for start, end in zip([0, *cuts], [*cuts, len(log)], strict=True):
        chunk = log[start:end]
        halves = [half for half in (chunk[: len(chunk) // 2], chunk[len(chunk) // 2 :]) if half]
        for half in halves:
            keys, partitions = [symbol.encode() for _, symbol, _ in half], [number for number, *_ in half]
            for closed in aggregator.take(aggregator.parser.parse([raw for *_, raw in half], keys, partitions)):
                candles += [encode(candle) for candle in closed.candles]
        for partition, symbol, raw in chunk:
            account = aggregator.account(partition, symbol)
            if account and raw != JUNK:
                account.read += 1
        for partition, snapshot in aggregator.snapshots():
            kept[partition, snapshot.state.symbol] = encode(snapshot)
        if restart:
            aggregator = Aggregator(intervals, lateness)
            for partition in (0, 1):
                mine = [raw for (number, _), raw in kept.items() if number == partition]
                aggregator.restore(partition, [msgspec.json.decode(raw, type=OpenCandles) for raw in mine])
    states = {symbol: msgspec.json.decode(raw, type=OpenCandles).state for (_, symbol), raw in kept.items()}
    return candles, {symbol: msgspec.json.encode(state) for symbol, state in states.items()}


def market(rng: random.Random) -> list[Record]:
    """A log with all that can happen: gaps, duplicates, disorder, late trades, aggregates, heartbeats, junk, huge numbers."""
    symbols = ("BTCUSDT", "ETHUSDT", "A", "1000SATSUSDTLONGER")[: rng.randint(1, 4)]
    ids = {symbol: rng.choice([0, 1, 5, 4 * 10**9]) for symbol in symbols}
    numbers = {symbol: rng.choice([0, 7, 10**6]) for symbol in symbols if rng.random() < 0.25}  # aggregates of futures
    at = {symbol: T0 + rng.randint(0, 5 * MINUTE) // 1000 * 1000 for symbol in symbols}
    step, huge, calm = rng.choice([5, 100, 3_000, 20_000, 100_000]), rng.random() < 0.2, rng.random() < 0.4
    log: list[Record] = []
    for _ in range(rng.randint(1, 250)):
        symbol, chance = rng.choice(symbols), rng.random()
        partition, many = symbols.index(symbol) % 2, rng.choice([1] * 9 + [3])
        at[symbol] += rng.randint(0, step) * 1000
        ids[symbol] += rng.randint(1, 5) if chance < 0.02 and not calm else 0
        if chance > 0.97:
            log.append((partition, symbol, heartbeat_event(symbol, at[symbol] + rng.randint(-SECOND, MINUTE))))
        if chance > 0.99:
            log.append((partition, symbol, JUNK))
        early = rng.choice([0, 0, 700, 400_000]) * 1000 if rng.random() < 0.05 and not calm else 0
        price = rng.randint(1, (10**20 if rng.random() < 0.1 else 10**16) if huge else 10**13)
        first, quantity = ids[symbol], rng.randint(0, min(10**31 // price, 10**17) if huge else 10**11)
        traded = Trade(symbol, first, first, first + many - 1, price, quantity, at[symbol] - early, rng.random() < 0.5)
        log.append((partition, symbol, futures(traded, numbers[symbol]) if symbol in numbers else trade_event(traded)))
        ids[symbol] += many
        if symbol in numbers:
            numbers[symbol] += rng.choice([1] * 50 + [2])
            ids[symbol] += rng.choice([0, 0, 3])  # of no market trade
    return log if calm else spoilt(log, rng)


def futures(trade: Trade, number: int) -> bytes:
    event = {"e": "aggTrade", "E": trade.traded_at // 1000, "s": trade.symbol, "a": number, "nq": "0.1"}
    event |= {"p": units_text(trade.price), "q": units_text(trade.quantity), "m": trade.buyer_is_maker}
    return msgspec.json.encode(
        event | {"f": trade.first_trade_id, "l": trade.last_trade_id, "T": trade.traded_at // 1000}
    )


def spoilt(log: list[Record], rng: random.Random) -> list[Record]:
    if rng.random() < 0.4:
        start = rng.randint(0, len(log))
        end = rng.randint(start, len(log))
        log = log[:end] + log[start:end] + log[end:]  # a range again, as after a restart of ingest
    if rng.random() < 0.2:
        log = [record for record in log for _ in range(rng.choice([1, 1, 2]))]
    if rng.random() < 0.3:
        far = rng.randint(1, 8)
        log = [record for _, record in sorted(enumerate(log), key=lambda pair: pair[0] + rng.randint(0, far))]
    return log


@given(st.integers(0, 2**32), st.sampled_from(INTERVALS), st.sampled_from([0, SECOND // 2, 2 * SECOND]), st.booleans())
@example(11, ("1m", "5m"), SECOND // 2, True)
@settings(max_examples=400, deadline=None)
def test_any_log_in_any_batches_gives_the_bytes_of_trade_by_trade(
    seed: int, intervals: tuple[str, ...], lateness: int, restart: bool
) -> None:
    rng = random.Random(seed)
    log = market(rng)
    cuts = sorted(rng.sample(range(len(log) + 1), min(len(log), rng.choice([0, 0, 1, 4]))))
    assert in_batches(log, intervals, lateness, cuts, restart) == one_by_one(log, intervals, lateness)


@pytest.mark.parametrize("is_futures", [False, True])
def test_of_a_plain_log_no_trade_is_taken_one_by_one(monkeypatch: pytest.MonkeyPatch, is_futures: bool) -> None:
    added: list[int] = []
    add = CandleBuilder.add
    monkeypatch.setattr(CandleBuilder, "add", lambda self, trade: added.append(trade.id) or add(self, trade))
    log = []
    for n in range(3_000):
        for symbol in ("BTCUSDT", "ETHUSDT"):
            trade = Trade(symbol, 3 * n + 7, 3 * n + 7, 3 * n + 9, UNIT + n, UNIT, T0 + n * SECOND, False)
            log.append((0, symbol, futures(trade, n + 7) if is_futures else trade_event(trade)))
    candles, _ = in_batches(log, ("5m",), SECOND // 2, [2_500, 2_501], restart=False)
    assert len(candles) == 2 * (3_000 // 300 - 1)
    assert added == []  # not even those that begin a symbol or close a window


@pytest.mark.parametrize("lateness", [0, SECOND // 2])
def test_the_trade_that_reaches_the_watermark_to_the_microsecond_closes_the_window(lateness: int) -> None:
    times = [0, SECOND, 5 * MINUTE - 1, 5 * MINUTE, 5 * MINUTE + lateness - 1, 5 * MINUTE + lateness]
    aggregator, closed = Aggregator(("5m",), lateness), []
    for number, time in enumerate(sorted(times)):
        raw = trade_event(Trade("A", number, number, number, UNIT, UNIT, T0 + time, False))
        closed += [time for _ in aggregator.take(aggregator.parser.parse([raw], [b"A"], [0]))]
    assert closed == [5 * MINUTE + lateness]


def test_a_trade_of_a_second_partition_goes_to_the_builder_of_that_one() -> None:
    trades = [Trade("A", n, n, n, UNIT, UNIT, T0 + n * 1000, False) for n in range(100)]
    aggregator = Aggregator(("5m",), 0)
    raws, partitions = [trade_event(trade) for trade in trades], [trade.id // 10 % 2 for trade in trades]
    aggregator.take(aggregator.parser.parse(raws, [b"A"] * 100, partitions))
    aggregator.forget(0)
    aggregator.take(aggregator.parser.parse(raws[50:], [b"A"] * 50, partitions[50:]))
    aggregator.sums.settle()
    counts = [aggregator.builders[number]["A"].state.windows["5m"][T0].trade_count for number in (0, 1)]
    assert counts == [20, 50]


def test_a_stretch_sent_twice_is_dropped_in_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    log = [(0, "A", trade_event(Trade("A", n, n, n, UNIT, UNIT, T0 + n * 1000, False))) for n in range(1, 500)]
    aggregator = Aggregator(("5m",), 0)
    for part in (log, log, log[100:400]):
        aggregator.take(aggregator.parser.parse([raw for *_, raw in part], [b"A"] * len(part), [0] * len(part)))
    aggregator.sums.settle()
    state = aggregator.builders[0]["A"].state
    assert (state.ids.duplicates, state.windows["5m"][T0].trade_count) == (499 + 300, 499)


def test_quote_volumes_beyond_64_bits_are_summed_exactly() -> None:
    trades = [Trade("A", n, n, n, 98_765 * 10**8 + n, 10**15 + 7 * n, T0, n % 2 == 0) for n in range(1, 1_000)]
    log = [(0, "A", trade_event(trade)) for trade in trades]
    _, states = in_batches(log, ("5m",), 0, [], restart=False)
    window = msgspec.json.decode(states["A"])["windows"]["5m"][str(T0)]
    assert window[6] == sum(trade.price * trade.quantity for trade in trades) > 2**80
    assert window[9] == sum(trade.price * trade.quantity for trade in trades if not trade.buyer_is_maker)


def test_volumes_beyond_64_bits_are_summed_exactly() -> None:
    trades = [Trade("A", n, n, n, 1 + n % 3, 10**18 - n, T0, n % 2 == 0) for n in range(1, 100)]
    _, states = in_batches([(0, "A", trade_event(trade)) for trade in trades], ("5m",), 0, [], restart=False)
    window = msgspec.json.decode(states["A"])["windows"]["5m"][str(T0)]
    assert window[5] == sum(trade.quantity for trade in trades) > 2**66
    assert window[8] == sum(trade.quantity for trade in trades if not trade.buyer_is_maker)
