"""Closed candles to scores by the champions, exactly once: scores and offsets are one Kafka transaction."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from quantstream.errors import BadRecord
from quantstream.features import Series
from quantstream.kafka import Message, Partition, Reader, Writer
from quantstream.market import SECOND, Candle
from quantstream.metrics import Health, Metrics
from quantstream.topics import CANDLES, SCORES, Score, decode, encode
from streaming.histories import CandleHistories
from streaming.judging import Judging, ScoreCandles
from streaming.telling import Tell
from streaming.tradelog import put_aside

log = logging.getLogger(__name__)
LINGER = 0.01  # seconds to collect the candles that closed with the first one: they are scored in one pass
REWIND = 2_000  # committed candles of a partition that are read again: the lake may be some seconds behind
Prepare = Callable[[str, Series], bool]


class ScoreStage:
    """Scores each closed candle once; a later revision only corrects the history that the next scores see."""

    def __init__(
        self,
        reader: Reader,
        writer: Writer,
        histories: CandleHistories,
        score: ScoreCandles,
        prepare: Prepare,
        metrics: Metrics,
        health: Health,
        commit_s: float,
        now: Callable[[], int],
        tell: Tell = lambda kind, text, symbol: None,
    ) -> None:
        """`score` judges the newest candle of each history with the champions of that moment; `now` in µs.

        `prepare` does for a symbol what its next candle would have to wait for, and tells whether there was anything to do.
        `tell` tells the operators.
        """
        self.reader, self.writer, self.histories = reader, writer, histories
        self.prepare = prepare
        self.metrics, self.health, self.commit_s, self.now = metrics, health, commit_s, now
        self.new_from: dict[Partition, int] = {}
        self.scored, self.abstained = metrics.records.labels("scored"), metrics.records.labels("abstained")
        self.judging = Judging(histories, score, now, health.beat, tell, metrics.records.labels("failed"))
        self.duration = metrics.histogram("batch_seconds", "from candles read to scores committed")

    def start(self) -> None:
        """Join the group."""
        self.writer.release(self.reader, CANDLES)
        self.reader.subscribe([CANDLES], self._assigned)

    def turn(self) -> None:
        """Read, score and commit what came.

        Raises: Unavailable.
        """
        messages = self.reader.poll(self.commit_s, 1)
        if messages:
            self._handle([*messages, *self.reader.poll(LINGER)])
        else:
            self._get_ready()
        self.health.beat()
        self.metrics.lag.set(self.reader.lag())

    def _get_ready(self) -> None:
        """Do for one symbol, while no candle waits, what its next one would have to wait for."""
        if not self.histories.refresh():
            any(self.prepare(symbol, series) for symbol, series in self.histories.newest())

    def _handle(self, messages: Sequence[Message]) -> None:
        started = time.monotonic()
        offsets: dict[Partition, int] = {}
        batch: dict[str, Candle] = {}
        scores: list[Score] = []
        dead: list[tuple[Message, str]] = []
        for message in messages:
            part = (message.topic(), message.partition())
            is_new = message.offset() >= self.new_from.get(part, 0)
            if is_new:
                offsets[part] = message.offset() + 1
            try:
                candle = decode(message.value() or b"", Candle)
            except BadRecord as error:
                dead += [(message, str(error))] if is_new else []
                continue
            if candle.interval != self.histories.interval:
                continue
            if candle.symbol in batch:  # a second candle of a symbol: the first is judged before it is history
                scores += self._judge(batch, started)
            self.histories.add(candle)
            if is_new and candle.revision == 0:
                batch[candle.symbol] = candle
        scores += self._judge(batch, started)
        if offsets:
            self._commit(scores, dead, offsets, started)

    def _judge(self, batch: dict[str, Candle], started: float) -> Sequence[Score]:
        scores = self.judging(batch, started) if batch else ()
        for candle in batch.values():
            self.metrics.candle_closed_at.values[candle.symbol] = candle.closed_at / SECOND
        batch.clear()
        return scores

    def _commit(
        self,
        scores: Sequence[Score],
        dead: Sequence[tuple[Message, str]],
        offsets: dict[Partition, int],
        started: float,
    ) -> None:
        self.writer.begin()
        for score in scores:
            self.writer.send(SCORES, score.symbol, encode(score))
            (self.abstained if score.abstained else self.scored).inc()
        for message, reason in dead:
            source = f"score {message.topic()}-{message.partition()}@{message.offset()}"
            self.metrics.dead.inc()
            put_aside(self.writer, source, reason, message.value() or b"", self.now())
        self.writer.commit(self.reader, offsets)
        self.duration.observe(time.monotonic() - started)

    def _assigned(self, partitions: list[Partition]) -> dict[Partition, int]:
        begin, new_from = self.reader.rewound(partitions, REWIND)
        self.new_from |= new_from
        self.health.ready()
        return begin
