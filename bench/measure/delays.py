"""How long a trade takes to an open candle and a window to a score, read from the topics as they appear."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from quantstream.core.time import INTERVALS
from quantstream.kafka import OFFSET_END, Reader
from quantstream.messages.payloads import OpenCandles, Score, decode
from quantstream.messages.topics import OPEN_CANDLES, SCORES
from tests.chaos.platform import Platform

POINTS = 5  # at which the trades between two snapshots are taken to lie, evenly


class Delays:
    """Delays in whole ms: as many as there were, in the memory of a dictionary."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()

    def add(self, micros: float, times: int = 1) -> None:
        """Note a delay."""
        self.counts[max(0, round(micros / 1000))] += times

    def quantile(self, share: float) -> float:
        """Return the delay (ms) that a share of them does not exceed; NaN without any."""
        left = share * sum(self.counts.values())
        for delay in sorted(self.counts):
            left -= self.counts[delay]
            if left <= 0:
                return float(delay)
        return float("nan")

    def told(self) -> dict[str, float]:
        """Return what a report says of them."""
        shares = {"p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99, "p999_ms": 0.999}
        return {
            "count": sum(self.counts.values()),
            **{name: self.quantile(share) for name, share in shares.items()},
            "longest_ms": float(max(self.counts, default=0)),
        }


@dataclass
class Observer:
    """Reads committed open candles and scores as they appear."""

    platform: Platform
    offset: float  # µs to add to the exchange's time for the wall's
    lateness: int  # µs
    open_candle: Delays = field(default_factory=Delays)
    score: Delays = field(default_factory=Delays)
    by_minute: dict[int, Delays] = field(default_factory=lambda: defaultdict(Delays))
    trades: int = 0
    before: dict[str, tuple[int, int]] = field(default_factory=dict)  # by symbol: latest event time, highest id
    is_warm: bool = False
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Read until told to stop."""
        topics = (OPEN_CANDLES, SCORES)
        reader = Reader(self.platform.kafka, fetch_wait_max_ms=5)
        reader.assign({(topic.name, part): OFFSET_END for topic in topics for part in range(topic.partitions)})
        while not self.stop.is_set():
            messages = reader.poll(0.005)
            now = time.time_ns() / 1000
            for message in messages:
                if message.topic() == SCORES.name:
                    self._scored(decode(message.value() or b"", Score), now)
                else:
                    self._built(decode(message.value() or b"", OpenCandles), now)
        reader.close()

    def _built(self, snapshot: OpenCandles, now: float) -> None:
        state = snapshot.state
        latest_at, last_id = self.before.get(state.symbol, (0, 0))
        self.before[state.symbol] = state.latest_at, state.ids.last_id
        new = state.ids.last_id - last_id
        if not latest_at or new <= 0:
            return
        self.trades += new
        share, rest = divmod(new, POINTS)
        for point in range(POINTS):
            at = state.latest_at - (state.latest_at - latest_at) * point / POINTS
            if count := share + (point < rest):
                delay = now - at - self.offset
                self.by_minute[int(now // 60_000_000)].add(delay, count)
                if self.is_warm:
                    self.open_candle.add(delay, count)

    def _scored(self, score: Score, now: float) -> None:
        if self.is_warm:
            closed_at = score.opened_at + INTERVALS[score.interval]
            self.score.add(now - closed_at - self.lateness - self.offset)
