"""Fat fingers and other strange trades: every trade's features, one batched verdict of the Isolation Forest, reasons in words.

Features have finite memory, so a restart reads a stretch of committed records again to fill it and then goes on exactly
where it stopped; anomalies and offsets are one transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ml.trade_features import TradeFeatures
from quantstream.errors import BadRecord
from quantstream.kafka import Message, Partition, Reader, Writer, header_texts
from quantstream.market import SECOND, Trade
from quantstream.metrics import Health, Metrics
from quantstream.sequence import Seen
from quantstream.sequence import Sequence as TradeSequence
from quantstream.topics import ANOMALIES, HEADER_RECEIVED_AT, TRADES, Anomaly, encode
from streaming.binance import parse_record

log = logging.getLogger(__name__)
REWIND = 5_000  # committed records of a partition that are read again to refill the features' windows


class TradeModel(Protocol):
    """What detect asks of the anomaly champion."""

    name: str
    version: str
    threshold: float

    def score_trades(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a score in 0..1 per row, higher is stranger."""
        ...

    def explain(self, row: Sequence[float]) -> list[str]:
        """Return the reasons a person can read."""
        ...


class Detector:
    """Features of the symbols this process holds, and the verdict on a batch: no Kafka."""

    def __init__(self) -> None:
        self.features = TradeFeatures()
        self.seen: dict[str, TradeSequence] = {}

    def push(self, trade: Trade) -> tuple[float, ...] | None:
        """Return the trade's features, None for one that was seen before."""
        seen, _ = self.seen.setdefault(trade.symbol, TradeSequence()).take(trade)
        if seen in (Seen.DUPLICATE, Seen.OVERLAP):
            return None
        return self.features.push(trade)

    def judge(self, model: TradeModel, trades: list[Trade], rows: list[tuple[float, ...]], now: int) -> list[Anomaly]:
        """Return the anomalies among a batch. `now` is the wall clock, µs."""
        matrix = np.asarray(rows, dtype=np.float64)
        scores = model.score_trades(matrix)
        return [
            Anomaly(
                symbol=trades[index].symbol,
                trade_id=trades[index].id,
                traded_at=trades[index].traded_at,
                price=trades[index].price,
                quantity=trades[index].quantity,
                buyer_is_maker=trades[index].buyer_is_maker,
                score=float(scores[index]),
                reasons=model.explain(rows[index]),
                model=f"{model.name}/{model.version}",
                detected_at=now,
            )
            for index in np.flatnonzero(scores > model.threshold)
        ]


class DetectStage:
    """Moves a `Detector` over Kafka. Without a champion yet, trades pass by and only fill the windows."""

    def __init__(
        self,
        reader: Reader,
        writer: Writer,
        model: Callable[[], TradeModel | None],
        metrics: Metrics,
        health: Health,
        commit_s: float,
        now: Callable[[], int],
    ) -> None:
        self.detector = Detector()
        self.reader, self.writer, self.model = reader, writer, model
        self.metrics, self.health, self.commit_s, self.now = metrics, health, commit_s, now
        self.handled, self.flagged = metrics.records.labels("handled"), metrics.records.labels("flagged")
        self.unscored = metrics.records.labels("without_model")
        self.new_from: dict[Partition, int] = {}

    def start(self) -> None:
        """Join the group."""
        self.reader.subscribe([TRADES], self._assigned)

    def turn(self) -> None:
        """Read, judge and commit one batch.

        Raises: Unavailable.
        """
        offsets: dict[Partition, int] = {}
        trades: list[Trade] = []
        rows: list[tuple[float, ...]] = []
        messages = self.reader.poll(self.commit_s)
        for message in messages:
            is_new = message.offset() >= self.new_from.get((message.topic(), message.partition()), 0)
            taken = self._take(message)
            if is_new:
                offsets[message.topic(), message.partition()] = message.offset() + 1
                if taken:
                    trades.append(taken[0])
                    rows.append(taken[1])
        if offsets:
            self._commit(trades, rows, offsets, messages[-1])
        self.health.beat()
        self.metrics.lag.set(self.reader.lag())

    def _take(self, message: Message) -> tuple[Trade, tuple[float, ...]] | None:
        try:
            item = parse_record(message.value() or b"", (message.key() or b"").decode(errors="replace"))
        except BadRecord:
            return None  # aggregate reads the same record and puts it aside
        if not isinstance(item, Trade):
            return None
        row = self.detector.push(item)
        return None if row is None else (item, row)

    def _commit(
        self, trades: list[Trade], rows: list[tuple[float, ...]], offsets: dict[Partition, int], last: Message
    ) -> None:
        model = self.model()
        found = self.detector.judge(model, trades, rows, self.now()) if model and rows else []
        self.writer.begin()
        for anomaly in found:
            log.info("anomaly", extra={"symbol": anomaly.symbol, "trade": anomaly.trade_id, "why": anomaly.reasons})
            self.writer.send(ANOMALIES, anomaly.symbol, encode(anomaly))
        self.writer.commit(self.reader, offsets)
        (self.handled if model else self.unscored).inc(len(rows))
        self.flagged.inc(len(found))
        received_at = header_texts(last).get(HEADER_RECEIVED_AT, "")
        if received_at.isdigit():
            self.metrics.delay.observe(max(0.0, (self.now() - int(received_at)) / SECOND))

    def _assigned(self, partitions: list[Partition]) -> dict[Partition, int]:
        begin, new_from = self.reader.rewound(partitions, REWIND)
        self.new_from |= new_from
        self.health.ready()
        return begin
