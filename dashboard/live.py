"""The newest of every topic, kept by one background thread for all browsers of this process.

It reads without a group (assign), so the page never takes a partition from a stage, and keeps a bounded number of everything,
so that it may run for months.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dashboard.background import Background
from quantstream.core.candle import Candle
from quantstream.core.errors import BadRecord
from quantstream.kafka import OFFSET_BEGINNING, Reader, Record, partition_counts, record
from quantstream.messages.payloads import Anomaly, DeadRecord, Event, OpenCandles, Score, decode
from quantstream.messages.topics import ANOMALIES, CANDLES, DEAD, EVENTS, OPEN_CANDLES, SCORES
from quantstream.settings import Kafka

log = logging.getLogger(__name__)
# How many records before its end a partition is read from at the start; None: from its beginning.
LOOK_BACK = ((CANDLES, 3000), (SCORES, 1500), (ANOMALIES, 1000), (EVENTS, 500), (DEAD, 200), (OPEN_CANDLES, None))
KEPT_CANDLES = 1000  # of a symbol and interval: covers the lake's delay many times over
KEPT_SCORES = 50
KEPT_ANOMALIES = 200
KEPT_EVENTS = 300
POLL = 0.25  # seconds
SILENCE = 3.0  # seconds without a record before the broker is asked whether it is there
RETRY = 2.0  # seconds


@dataclass
class SymbolTail:
    """The newest of one symbol."""

    candles: dict[str, dict[int, Candle]] = field(default_factory=lambda: defaultdict(dict))  # interval → opened_at →
    building: dict[str, list[Candle]] = field(default_factory=dict)  # interval → in time order
    latest_at: int = 0  # exchange time of the newest trade or heartbeat, µs
    scores: dict[str, deque[Score]] = field(default_factory=lambda: defaultdict(lambda: deque(maxlen=KEPT_SCORES)))
    anomalies: deque[Anomaly] = field(default_factory=lambda: deque(maxlen=KEPT_ANOMALIES))

    def add_candle(self, candle: Candle) -> None:
        """Keep a closed candle if it is the newest revision."""
        candles = self.candles[candle.interval]
        known = candles.get(candle.opened_at)
        if known is None or candle.revision >= known.revision:
            candles[candle.opened_at] = candle
        if len(candles) > KEPT_CANDLES:
            del candles[min(candles)]


class Tail(Background):
    """Reads the topics' ends for ever and answers what it holds; every answer is a copy."""

    def __init__(self, kafka: Kafka, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__("tail", RETRY)
        self.kafka = kafka
        self.trouble = "connecting to Kafka"  # one sentence, empty when all is well
        self._clock = clock
        self._forget()
        self._lock = threading.Lock()

    def _forget(self) -> None:
        self.dead_total = 0  # dead letters in the topic, those from before this process too
        self._next: dict[tuple[str, int], int] = {}  # (topic, partition) → next offset
        self._symbols: dict[str, SymbolTail] = {}
        self._events: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self._dead: deque[DeadRecord] = deque(maxlen=KEPT_EVENTS)

    def symbols(self) -> list[str]:
        """Return the symbols seen."""
        with self._lock:
            return sorted(self._symbols)

    def candles(self, symbol: str, interval: str) -> tuple[list[Candle], list[Candle]]:
        """Return the closed candles and those being built, each in time order."""
        with self._lock:
            tail = self._symbols.get(symbol, SymbolTail())
            closed = tail.candles.get(interval, {})
            return [closed[at] for at in sorted(closed)], list(tail.building.get(interval, ()))

    def score(self, symbol: str, interval: str) -> Score | None:
        """Return the newest score of the newest candle."""
        with self._lock:
            scores = self._symbols.get(symbol, SymbolTail()).scores.get(interval, ())
            return max(scores, key=lambda s: (s.opened_at, s.revision, s.scored_at), default=None)

    def scores(self, symbol: str, interval: str) -> list[Score]:
        """Return the newest scores in the order they were made."""
        with self._lock:
            return list(self._symbols.get(symbol, SymbolTail()).scores.get(interval, ()))

    def anomalies(self, symbol: str = "") -> list[Anomaly]:
        """Return the flagged trades of one symbol, or of all, newest first."""
        with self._lock:
            tails = [self._symbols.get(symbol, SymbolTail())] if symbol else list(self._symbols.values())
            found = [anomaly for tail in tails for anomaly in tail.anomalies]
        return sorted(found, key=lambda a: a.traded_at, reverse=True)

    def events(self) -> list[Event]:
        """Return the operational events, newest first."""
        with self._lock:
            return sorted(self._events, key=lambda e: e.at, reverse=True)

    def dead(self) -> list[DeadRecord]:
        """Return the newest records nobody could parse, newest first."""
        with self._lock:
            return list(reversed(self._dead))

    def latest_at(self, symbol: str = "") -> int:
        """Return the exchange's clock as last heard (µs): of one symbol, or the furthest of all; 0 before any."""
        with self._lock:
            if symbol:
                return self._symbols.get(symbol, SymbolTail()).latest_at
            return max((tail.latest_at for tail in self._symbols.values()), default=0)

    def take(self, records: Sequence[Record]) -> None:
        """Take records in; of a compacted topic only the newest of each key is decoded."""
        newest: dict[str, Record] = {}
        with self._lock:
            for new in records:
                self._next[new.topic, new.partition] = new.offset + 1
                if new.topic == OPEN_CANDLES.name:
                    newest[new.key] = new
                else:
                    self._take(new)
            for new in newest.values():
                self._take(new)

    def _take(self, new: Record) -> None:
        if not new.value:  # a tombstone
            return
        try:
            _TAKERS[new.topic](self, new.value)
        except BadRecord as error:
            log.warning("record left out", extra={"topic": new.topic, "reason": str(error)})

    def _symbol(self, name: str) -> SymbolTail:
        return self._symbols.setdefault(name, SymbolTail())

    def _candle(self, raw: bytes) -> None:
        candle = decode(raw, Candle)
        tail = self._symbol(candle.symbol)
        tail.add_candle(candle)
        tail.latest_at = max(tail.latest_at, candle.closed_at)

    def _building(self, raw: bytes) -> None:
        snapshot = decode(raw, OpenCandles)
        tail = self._symbol(snapshot.state.symbol)
        tail.latest_at = max(tail.latest_at, snapshot.state.latest_at)
        candles = snapshot.built()
        tail.building = {interval: [] for interval in tail.building}
        for candle in sorted(candles, key=lambda c: c.opened_at):
            tail.building.setdefault(candle.interval, []).append(candle)

    def _score(self, raw: bytes) -> None:
        score = decode(raw, Score)
        self._symbol(score.symbol).scores[score.interval].append(score)

    def _anomaly(self, raw: bytes) -> None:
        anomaly = decode(raw, Anomaly)
        self._symbol(anomaly.symbol).anomalies.append(anomaly)

    def _event(self, raw: bytes) -> None:
        self._events.append(decode(raw, Event))

    def _dead_record(self, raw: bytes) -> None:
        self.dead_total += 1
        self._dead.append(decode(raw, DeadRecord))

    def turn(self) -> None:
        """Follow the topics until stopped.

        Raises: Unavailable when the broker goes away.
        """
        reader = Reader(self.kafka)
        try:
            self._follow(reader)
        finally:
            reader.close()

    def _follow(self, reader: Reader) -> None:
        """Read from near the end until stopped, or until a topic appears that was not there."""
        counts = partition_counts(self.kafka, timeout=SILENCE)
        missing = [topic.name for topic, _ in LOOK_BACK if topic.name not in counts]
        reader.assign(self._starts(reader, counts))
        self.trouble = f"these topics are not there yet: {', '.join(missing)}" if missing else ""
        heard = self._clock()
        while not self.is_stopping:
            messages = reader.poll(POLL)
            now = self._clock()
            if messages:
                self.take([record(message) for message in messages])
                heard = now
            elif now - heard > SILENCE:
                there = partition_counts(self.kafka, timeout=SILENCE)
                if set(there) & set(missing):
                    return
                heard = self._clock()

    def _starts(self, reader: Reader, counts: dict[str, int]) -> dict[tuple[str, int], int]:
        """Return where to read from: where it stopped, or near the end when that place is gone or was never reached."""
        ends = {
            (topic.name, part): reader.ends(topic.name, part)
            for topic, _ in LOOK_BACK
            for part in range(counts.get(topic.name, 0))
        }
        if any(part in ends and self._next[part] > ends[part][1] for part in self._next):
            with self._lock:
                self._forget()  # another log under the same name: the broker was reset
        starts = {}
        for topic, look_back in LOOK_BACK:
            for part in range(counts.get(topic.name, 0)):
                low, high = ends[topic.name, part]
                fresh = OFFSET_BEGINNING if look_back is None else max(low, high - look_back)
                known = self._next.get((topic.name, part))
                starts[topic.name, part] = fresh if known is None else max(low, known)
                if topic is DEAD and (topic.name, part) not in self._next:
                    self.dead_total = fresh - low
        return starts


_TAKERS: dict[str, Callable[[Tail, bytes], None]] = {
    topic.name: taker
    for topic, taker in (
        (CANDLES, Tail._candle),
        (OPEN_CANDLES, Tail._building),
        (SCORES, Tail._score),
        (ANOMALIES, Tail._anomaly),
        (EVENTS, Tail._event),
        (DEAD, Tail._dead_record),
    )
}
