"""Candles from the trades topic: closed candles, open-candle snapshots and offsets in one Kafka transaction.

A restart restores each partition's builders from the compacted snapshot topic, which the same transaction wrote as the
offsets: state and position can never disagree. Snapshots go to the partition number their trades came from.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence

from quantstream.candles import CandleBuilder
from quantstream.errors import BadRecord
from quantstream.kafka import OFFSET_BEGINNING, Message, Partition, Reader, Writer, header_texts
from quantstream.market import SECOND, Candle, Trade
from quantstream.metrics import Health, Metrics
from quantstream.topics import (
    CANDLES,
    HEADER_RECEIVED_AT,
    OPEN_CANDLES,
    TRADES,
    OpenCandles,
    candle_fields,
    decode,
    encode,
)
from streaming.binance import parse_record
from streaming.tradelog import put_aside

log = logging.getLogger(__name__)


class Aggregator:
    """The builders of the partitions that this process holds: pure, no Kafka."""

    def __init__(self, intervals: Sequence[str], lateness: int) -> None:
        """`lateness` in µs."""
        self.intervals, self.lateness = tuple(intervals), lateness
        self.builders: dict[int, dict[str, CandleBuilder]] = {}
        self.touched: set[tuple[int, str]] = set()

    def take(self, partition: int, symbol: str, raw: bytes) -> list[Candle]:
        """Take one record of the trades topic; return the candles it closed or revised.

        Raises: BadRecord.
        """
        item = parse_record(raw, symbol)
        builders = self.builders.setdefault(partition, {})
        builder = builders.get(symbol)
        if builder is None:
            builder = builders[symbol] = CandleBuilder(symbol, self.intervals, self.lateness)
        self.touched.add((partition, symbol))
        return builder.add(item) if isinstance(item, Trade) else builder.heartbeat(item)

    def snapshots(self) -> Iterable[tuple[int, OpenCandles]]:
        """Return the state of every symbol touched since the last call, with its partition."""
        for partition, symbol in sorted(self.touched):
            builder = self.builders[partition][symbol]
            yield partition, OpenCandles(builder.state, [candle_fields(candle) for candle in builder.open_candles()])
        self.touched.clear()

    def restore(self, partition: int, snapshots: Iterable[OpenCandles]) -> None:
        """Continue a partition from its snapshots, the newest of each symbol last."""
        states = {snapshot.state.symbol: snapshot.state for snapshot in snapshots}
        self.builders[partition] = {
            symbol: CandleBuilder(symbol, self.intervals, self.lateness, state) for symbol, state in states.items()
        }

    def forget(self, partition: int) -> None:
        """Drop a partition that another process took over."""
        self.builders.pop(partition, None)
        self.touched = {key for key in self.touched if key[0] != partition}


class AggregateStage:
    """Moves an `Aggregator` over Kafka, one transaction per commit interval."""

    def __init__(
        self,
        aggregator: Aggregator,
        reader: Reader,
        snapshots: Reader,
        writer: Writer,
        metrics: Metrics,
        health: Health,
        commit_s: float,
        now: Callable[[], int],
    ) -> None:
        """`snapshots` reads the compacted topic without a group; `now` is the wall clock, µs."""
        self.aggregator, self.reader, self.snapshots, self.writer = aggregator, reader, snapshots, writer
        self.metrics, self.health, self.commit_s, self.now = metrics, health, commit_s, now
        self.handled = metrics.records.labels("handled")
        self.closed = metrics.records.labels("candle")
        self.market_time = metrics.gauge("market_time_seconds", "latest event time, seconds since the epoch")
        self.offsets: dict[Partition, int] = {}
        self.in_transaction = False

    def start(self) -> None:
        """Join the group."""
        self.reader.subscribe([TRADES], self._assigned, self._revoked)

    def turn(self) -> None:
        """Read for one commit interval, then commit what came of it.

        Raises: Unavailable; the process then ends and its successor restores the committed state.
        """
        deadline = time.monotonic() + self.commit_s
        while (left := deadline - time.monotonic()) > 0:
            messages = self.reader.poll(left)
            for message in messages:
                self._take(message)
            if not messages:
                break
        self.commit()
        self.health.beat()
        self.metrics.lag.set(self.reader.lag())

    def commit(self) -> None:
        """Write the snapshots and commit candles, snapshots and offsets together; nothing when nothing was read."""
        if not self.offsets:
            return
        self._begin()
        for partition, snapshot in self.aggregator.snapshots():
            self.writer.send(OPEN_CANDLES, snapshot.state.symbol, encode(snapshot), partition=partition)
        self.writer.commit(self.reader, self.offsets)
        self.offsets.clear()
        self.in_transaction = False

    def _take(self, message: Message) -> None:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        symbol, raw = (message.key() or b"").decode(errors="replace"), message.value() or b""
        self.offsets[topic, partition] = offset + 1
        try:
            candles = self.aggregator.take(partition, symbol, raw)
        except BadRecord as error:
            self._begin()
            self.metrics.dead.inc()
            put_aside(self.writer, f"aggregate {topic}-{partition}@{offset}", str(error), raw, self.now())
            return
        self.handled.inc()
        if candles:
            self._emit(partition, candles, message)

    def _emit(self, partition: int, candles: list[Candle], message: Message) -> None:
        self._begin()
        for candle in candles:
            self.writer.send(CANDLES, candle.symbol, encode(candle), partition=partition)
            self.closed.inc()
            self.market_time.set(candle.closed_at / SECOND)
        received_at = header_texts(message).get(HEADER_RECEIVED_AT, "")
        if received_at.isdigit():
            self.metrics.delay.observe(max(0.0, (self.now() - int(received_at)) / SECOND))

    def _begin(self) -> None:
        if not self.in_transaction:
            self.writer.begin()
            self.in_transaction = True

    def _assigned(self, partitions: list[Partition]) -> None:
        for _, partition in partitions:
            self.health.beat()
            found = list(read_snapshots(self.snapshots, partition))
            self.aggregator.restore(partition, found)
            log.info("partition taken", extra={"partition": partition, "symbols": len({s.state.symbol for s in found})})
        self.health.ready()

    def _revoked(self, partitions: list[Partition]) -> None:
        self.commit()
        for _, partition in partitions:
            self.aggregator.forget(partition)


def read_snapshots(reader: Reader, partition: int) -> Iterable[OpenCandles]:
    """Yield the committed snapshots of one partition, oldest first.

    Raises: Unavailable.
    """
    low, high = reader.ends(OPEN_CANDLES.name, partition)
    if high <= low:
        return
    reader.assign({(OPEN_CANDLES.name, partition): OFFSET_BEGINNING})
    position = low
    while position < high:  # the last offsets may be transaction markers, which are never delivered
        for message in reader.poll(0.5):
            yield decode(message.value() or b"", OpenCandles)
        position = reader.positions().get((OPEN_CANDLES.name, partition), position)
