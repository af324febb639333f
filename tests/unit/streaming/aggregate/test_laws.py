"""Laws of the aggregator: however a log is cut, mixed, doubled, shuffled or interrupted, its candles are the same bytes."""

from __future__ import annotations

import random
from collections import defaultdict
from itertools import pairwise

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from quantstream.binance.wire import heartbeat_event, trade_event
from quantstream.core.candle import Candle
from quantstream.core.time import MINUTE, SECOND
from quantstream.core.trade import Trade
from quantstream.messages.payloads import OpenCandles, encode
from streaming.aggregate.aggregator import Aggregator

T0 = 1_723_161_600 * SECOND
LATENESS = SECOND // 2
INTERVALS = ("1m", "5m", "15m", "1h")
SYMBOLS = ("BTCUSDT", "ETHUSDT", "XRPUSDT")
Record = tuple[str, bytes]


@st.composite
def logs(draw: st.DrawFn) -> dict[str, list[Trade]]:
    """Some trades of each symbol, seconds to minutes apart, single ones and aggregates."""
    found: dict[str, list[Trade]] = {}
    for symbol in SYMBOLS:
        at, number = T0 + draw(st.integers(0, 90 * SECOND)), draw(st.integers(0, 10**12))
        trades = []
        for step, count in draw(st.lists(st.tuples(st.integers(0, 100_000), st.integers(1, 3)), max_size=25)):
            at += step * 1000
            price, quantity = draw(st.integers(1, 10**15)), draw(st.integers(0, 10**14))
            trades.append(Trade(symbol, number, number, number + count - 1, price, quantity, at, draw(st.booleans())))
            number += count
        found[symbol] = trades
    return found


def taken(aggregator: Aggregator, records: list[Record]) -> list[Candle]:
    keys, raws = [symbol.encode() for symbol, _ in records], [raw for _, raw in records]
    batch = aggregator.parser.parse(raws, keys, [0] * len(records))
    return [candle for closed in aggregator.take(batch) for candle in closed.candles]


def candles_of(records: list[Record], cuts: set[int] | None = None) -> dict[str, list[bytes]]:
    """Return the candles of each symbol, sorted; at each cut the process dies and another goes on from its snapshots' bytes."""
    aggregator = Aggregator(INTERVALS, LATENESS)
    kept: dict[str, bytes] = {}
    found: dict[str, list[bytes]] = defaultdict(list)
    ends = [place + 1 for place in sorted(cuts or ()) if place < len(records)]
    for start, end in pairwise([0, *ends, len(records)]):
        for candle in taken(aggregator, records[start:end]):
            found[candle.symbol].append(encode(candle))
        kept |= {snapshot.state.symbol: encode(snapshot) for _, snapshot in aggregator.snapshots()}
        aggregator = Aggregator(INTERVALS, LATENESS)
        aggregator.restore(0, [msgspec.json.decode(raw, type=OpenCandles) for raw in kept.values()])
    return {symbol: sorted(candles) for symbol, candles in found.items()}


def mixed(log: dict[str, list[Record]], rng: random.Random) -> list[Record]:
    """Mix symbols in any way; each keeps its own order."""
    queues = [list(reversed(records)) for records in log.values() if records]
    found = []
    while queues:
        queue = rng.choice(queues)
        found.append(queue.pop())
        queues = [queue for queue in queues if queue]
    return found


def plain(log: dict[str, list[Trade]]) -> list[Record]:
    """The log as it should come: one symbol after the other, in order, then a sign of life."""
    end = max((trade.traded_at for trades in log.values() for trade in trades), default=T0) + 70 * MINUTE
    trades = [(symbol, trade_event(trade)) for symbol, items in log.items() for trade in items]
    return trades + [(symbol, heartbeat_event(symbol, end)) for symbol, items in log.items() if items]


@given(logs(), st.randoms(use_true_random=False))
@settings(max_examples=120, deadline=None)
def test_any_mixture_of_symbols_duplicates_and_small_disorder_give_the_same_bytes(
    log: dict[str, list[Trade]], rng: random.Random
) -> None:
    spoilt: dict[str, list[Record]] = {}
    for symbol, trades in log.items():
        late = sorted(trades, key=lambda trade: trade.traded_at + rng.randint(0, LATENESS))
        records = [(symbol, trade_event(trade)) for trade in late for _ in range(rng.randint(1, 3))]
        for place in sorted((rng.randrange(len(records)) for _ in range(3)), reverse=True) if records else ():
            records.insert(place + 1 + rng.randrange(len(records) - place), records[place])  # a duplicate much later
        spoilt[symbol] = records + [record for record in plain(log)[-len(SYMBOLS) :] if record[0] == symbol][-1:]
    assert candles_of(mixed(spoilt, rng)) == candles_of(plain(log))


@given(logs(), st.sets(st.integers(0, 80), max_size=12), st.randoms(use_true_random=False))
@settings(max_examples=120, deadline=None)
def test_any_split_into_commits_with_a_death_at_each_gives_the_same_bytes(
    log: dict[str, list[Trade]], cuts: set[int], rng: random.Random
) -> None:
    records: dict[str, list[Record]] = {symbol: [] for symbol in SYMBOLS}
    for symbol, raw in plain(log):
        records[symbol].append((symbol, raw))
    order = mixed(records, rng)
    assert candles_of(order, cuts) == candles_of(plain(log))


def test_a_snapshot_is_as_large_after_an_hour_as_after_a_minute() -> None:
    """What a restart reads does not grow with what was traded."""
    sizes = []
    aggregator = Aggregator(INTERVALS, LATENESS)
    for number in range(1, 3601):
        trade = Trade("BTCUSDT", number, number, number, 10**10, 10**8, T0 + 4 * 60 * MINUTE + number * SECOND, False)
        taken(aggregator, [("BTCUSDT", trade_event(trade))])
        if number in (600, 3600):
            sizes.append(sum(len(encode(snapshot)) for _, snapshot in aggregator.snapshots()))
    assert sizes[1] < 1.5 * sizes[0]
