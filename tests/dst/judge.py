"""The verdict on a world at rest: each trade in the lake once, each candle as recomputed, scored once, each anomaly told once.

It counts raw rows and records against the drawn market, with none of the stages' code between them, but for the detector's
features: what one uninterrupted reading of the log flags, that and nothing else is to be flagged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import numpy as np

from quantstream.binance.wire import parse_record
from quantstream.core.candle import Candle
from quantstream.core.decimals import UNIT
from quantstream.core.time import INTERVALS
from quantstream.core.trade import Trade
from quantstream.messages.payloads import Anomaly, Score, decode
from quantstream.messages.topics import ANOMALIES, CANDLES, DEAD, SCORES, TRADES, Topic
from streaming.detect.detector import Detector
from tests.dst.broker import COMMITTED
from tests.dst.wiring import Sieve, rule_of

if TYPE_CHECKING:
    from tests.dst.world import World

SHOWN = 12
Row = TypeVar("Row", bound=tuple[Any, ...])


class Verdict:
    """What is wrong with a world; nothing, if it is right."""

    def __init__(self, world: World) -> None:
        self.world, self.wrong = world, list[str]()
        self.bars = world.market.candles()
        self.unasked: set[tuple[str, int]] = set()  # windows that need not be right
        self.has_rested = False

    @property
    def is_right(self) -> bool:
        """Whether nothing at all is wrong."""
        return not self.wrong

    def is_all_there(self) -> bool:
        """Tell whether as much is there as must come: the world may rest."""
        sources = (*self.world.sources, self.world.upstream)
        are_done = all(source.place == len(source.left) for source in sources)
        self.has_rested = are_done and all(getattr(self, f"_has_all_{stage}")() for stage in self.world.stages)
        return self.has_rested

    def judge(self) -> None:
        """Look at everything."""
        self.wrong += self.world.crashes
        self.wrong += self.world.lake.went_back
        for group in self.world.broker.groups.values():
            self.wrong += group.went_back
        if not self.has_rested:
            orphans = [f"{n} {p}" for n, g in self.world.broker.groups.items() for p in g.orphans()]
            why = f": nobody was given {', '.join(orphans)}" if orphans else ""
            self._tell(f"it did not come to rest{why}")
        for stage in self.world.stages:
            getattr(self, f"_judge_{stage}")()
        for _, raw in visible(self.world, DEAD):
            self._tell(f"a dead letter: {raw.decode()[:120]}")

    def _tell(self, text: str) -> None:
        if len(self.wrong) < SHOWN:
            self.wrong.append(text)

    def _has_all_aggregate(self) -> bool:
        self._begin_with_the_log()
        complete = {key for key, candle in keyed_candles(self.world) if candle.is_complete}
        return self.bars.keys() <= complete

    def _has_all_score(self) -> bool:
        return len(scores(self.world)) >= len(self.bars)

    def _has_all_sink(self) -> bool:
        lake, market = self.world.lake, self.world.market
        return (
            len(lake.counts("trades", "symbol", "id")) >= sum(map(len, market.trades.values()))
            and len(lake.counts("candles", "symbol", "opened_at", "revision")) >= len(self._records(CANDLES))
            and len(lake.counts("scores", "symbol", "opened_at")) >= len(self._records(SCORES))
            and len(lake.counts("anomalies", "symbol", "trade_id")) >= len(self._records(ANOMALIES))
        )

    def _records(self, topic: Topic) -> set[bytes]:
        return {raw for _, raw in visible(self.world, topic)}

    def _has_all_detect(self) -> bool:
        group = self.world.broker.group("quantstream-detect")
        for part, log in self.world.broker.logs.items():
            if part[0] == TRADES.name and log.entries and group.offsets.get(part, 0) < len(log.entries):
                return False
        return all(source.place == len(source.left) for source in self.world.sources)

    def _has_all_ingest(self) -> bool:
        logged, market = self._logged(), self.world.market.trades
        return all(
            (symbol, trades[-1].id) in logged for symbol, trades in market.items() if trades[self._first(symbol) :]
        )

    def _first(self, symbol: str) -> int:
        """Return the id with which a symbol's log begins; beyond all, for one that traded only before any ingest was up."""
        trades, world = self.world.market.trades[symbol], self.world
        found = min((number for name, number in self._logged() if name == symbol), default=-1)
        if found < 0 and trades[-1].traded_at < world.market.time(world.active // 2):
            return len(trades)
        return max(found, 0)

    def _logged(self) -> dict[tuple[str, int], Trade]:
        items = (parse_record(raw, key) for key, raw in visible(self.world, TRADES))
        return {(item.symbol, item.id): item for item in items if isinstance(item, Trade)}

    def _judge_ingest(self) -> None:
        """Every trade is in the log, those of the log in the order of their ids but for repetitions."""
        logged = self._logged()
        for symbol, trades in self.world.market.trades.items():
            for trade in trades[self._first(symbol) :]:
                if logged.get((symbol, trade.id)) != trade:
                    self._tell(f"trade {(symbol, trade.id)} in the log is {logged.get((symbol, trade.id))}")

    def _begin_with_the_log(self) -> None:
        """Expect candles from the first window on of which the log has every trade: a real ingest begins when it is up."""
        if "ingest" not in self.world.stages:
            return
        for symbol, trades in self.world.market.trades.items():
            first, length = self._first(symbol), INTERVALS[self.world.market.interval]
            opened_at = trades[first].traded_at // length * length if first < len(trades) else self.world.market.end
            if first:  # what came before it in its window, nobody can know
                opened_at += length
            for key in [key for key in self.bars if key[0] == symbol and key[1] < opened_at]:
                del self.bars[key]
                self.unasked.add(key)

    def _judge_aggregate(self) -> None:
        self._begin_with_the_log()
        found: Counter[tuple[str, int, int]] = Counter()
        newest: dict[tuple[str, int], Candle] = {}
        for key, candle in keyed_candles(self.world):
            found[(*key, candle.revision)] += 1
            newest[key] = candle
        for (symbol, at, revision), count in found.items():
            if count > 1:
                self._tell(f"candle {symbol} {at} revision {revision} came {count} times")
        for key, bar in self.bars.items():
            last = newest.pop(key, None)
            if last is None:
                self._tell(f"candle {key} is missing")
            elif bar_of(last) != bar:
                self._tell(f"candle {key}, revision {last.revision}, is {bar_of(last)} and not {bar}")
            elif not last.is_complete:
                self._tell(f"candle {key} says that it is incomplete")
        for key in [key for key in newest if key not in self.unasked][:3]:
            self._tell(f"candle {key} is not the exchange's")

    def _judge_sink(self) -> None:
        lake = self.world.lake
        expected = {(symbol, t.id) for symbol, trades in self.world.market.trades.items() for t in trades}
        self._once("trade", lake.counts("trades", "symbol", "id"), expected)
        candles = {(c.symbol, c.opened_at, c.revision) for _, c in keyed_candles(self.world)}
        self._once("candle", lake.counts("candles", "symbol", "opened_at", "revision"), candles)
        told = {(s.symbol, s.opened_at) for s in scores(self.world)}
        self._once("score", lake.counts("scores", "symbol", "opened_at"), told)
        strange = {(a.symbol, a.trade_id) for a in anomalies(self.world)}
        self._once("anomaly", lake.counts("anomalies", "symbol", "trade_id"), strange)

    def _judge_score(self) -> None:
        counts = Counter((score.symbol, score.opened_at) for score in scores(self.world))
        self._once("score", counts, set(self.bars), "in the topic")
        series: dict[str, list[tuple[int, float]]] = {}
        for (symbol, at), bar in self.bars.items():
            series.setdefault(symbol, []).append((at, bar[3] / UNIT))
        for score in scores(self.world):
            before = [item for item in series[score.symbol] if item[0] <= score.opened_at]
            risk = rule_of([at for at, _ in before], [close for _, close in before])
            if score.risk != risk:
                self._tell(f"score of {score.symbol} {score.opened_at} is {score.risk} and not {risk}: another history")

    def _judge_detect(self) -> None:
        detector, sieve = Detector(), Sieve()
        expected = set()
        for partition in range(self.world.partitions):
            for key, raw in visible(self.world, TRADES, partition):
                item = parse_record(raw, key)
                row = None if isinstance(item, int) else detector.push(item, partition)
                if row is not None and sieve.score_trades(np.asarray([row]))[0] > sieve.threshold:
                    assert not isinstance(item, int)
                    expected.add((item.symbol, item.id))
        counts = Counter((anomaly.symbol, anomaly.trade_id) for anomaly in anomalies(self.world))
        self._once("anomaly", counts, expected, "in the topic")

    def _once(self, what: str, counts: Counter[Row], expected: set[Row], where: str = "in the lake") -> None:
        for key, count in sorted(counts.items()):
            if count > 1:
                self._tell(f"{what} {key} is {count} times {where}")
        for key in sorted(expected - counts.keys())[:3]:
            self._tell(f"{what} {key} is not {where}")
        for key in sorted(counts.keys() - expected)[:3]:
            self._tell(f"{what} {key} {where} has no cause")


def visible(world: World, topic: Topic, partition: int | None = None) -> Iterator[tuple[str, bytes]]:
    """Yield key and value of the records that committed reading sees."""
    for part, log in world.broker.logs.items():
        if part[0] == topic.name and partition in (None, part[1]):
            for entry in log.entries:
                is_there = entry.transaction is None or entry.transaction.outcome.get(part) == COMMITTED
                if is_there and not entry.is_marker:
                    yield (entry.key or b"").decode(), entry.value or b""


def keyed_candles(world: World) -> Iterator[tuple[tuple[str, int], Candle]]:
    """Yield the candles of the topic with their keys."""
    for _, raw in visible(world, CANDLES):
        candle = decode(raw, Candle)
        if candle.opened_at < world.market.end:  # a real ingest's heartbeats close flat windows for ever
            yield (candle.symbol, candle.opened_at), candle


def scores(world: World) -> list[Score]:
    """Return the scores of the topic."""
    return [decode(raw, Score) for _, raw in visible(world, SCORES)]


def anomalies(world: World) -> list[Anomaly]:
    """Return the anomalies of the topic."""
    return [decode(raw, Anomaly) for _, raw in visible(world, ANOMALIES)]


def bar_of(candle: Candle) -> tuple[int, ...]:
    """Return what is compared of a candle."""
    names = ("open", "high", "low", "close", "volume", "quote_volume", "trade_count", "first_trade_id", "last_trade_id")
    every = msgspec.structs.asdict(candle)
    return tuple(every[name] for name in names)
