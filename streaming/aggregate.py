"""Candles from the trades topic: closed candles, open-candle snapshots and offsets in one Kafka transaction.

A restart restores each partition's builders from the compacted snapshot topic, which the same transaction wrote as the
offsets: state and position can never disagree. Snapshots go to the partition number their trades came from. When partitions move
while a transaction is being committed, it is aborted, and what is still held goes on from what is committed, as after a restart.
"""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from quantstream.errors import BadRecord, Outrun
from quantstream.kafka import (
    OFFSET_BEGINNING,
    Message,
    Partition,
    Reader,
    Writer,
    contents,
    header_texts,
    next_offsets,
)
from quantstream.market import SECOND
from quantstream.metrics import Health, Metrics
from quantstream.topics import (
    CANDLES,
    DEAD,
    HEADER_RECEIVED_AT,
    OPEN_CANDLES,
    TRADES,
    OpenCandles,
    Topic,
    decode,
    encode,
)
from streaming.aggregator import Aggregator, Closed
from streaming.packed import Collected
from streaming.tradelog import put_aside

log = logging.getLogger(__name__)
LINGER = 0.02  # seconds to collect what comes when little is waiting: what a commit costs is then shared by some trades
BUSY = 3.0  # seconds of work in one transaction when much is waiting; 2,000 snapshots are then a hundredth of it
BUSY_SHARE, MOST_BUSY = 100, 5.0  # times what the last commit took, but no more than so many seconds
SHARE = 3  # times what the last commit took is spent on collecting at least, so that committing never eats the core
AT_ONCE = 5_000  # records read at once: what is computed of them stays in the processor's cache
COLLECT_AFTER = (
    50_000  # objects, not 700: messages come and go by the thousand, and Python's collector looked through each
)
MAX_ROWS = 500_000  # records taken into the builders at once: enough trades of each of 2,000 symbols, in 25 MB


@dataclass(frozen=True)
class Route:
    """The topics that an aggregator reads and writes; all but that of dead letters with as many partitions."""

    trades: Topic = TRADES
    candles: Topic = CANDLES
    open_candles: Topic = OPEN_CANDLES
    dead: Topic = DEAD


class AggregateStage:
    """Moves an `Aggregator` over Kafka: a transaction soon when little is waiting, a large one when much is."""

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
        route: Route = Route(),
    ) -> None:
        """`snapshots` reads the compacted topic without a group; `now` is the wall clock, µs."""
        self.aggregator, self.reader, self.snapshots, self.writer = aggregator, reader, snapshots, writer
        self.metrics, self.health, self.commit_s, self.now, self.route = metrics, health, commit_s, now, route
        self.handled = metrics.records.labels("handled")
        self.closed = metrics.records.labels("candle")
        self.market_time = metrics.gauge("market_time_seconds", "latest event time, seconds since the epoch")
        self.offsets: dict[Partition, int] = {}
        self.waiting = Collected(MAX_ROWS + AT_ONCE)
        self.received_at = ""  # of the last record, as its header says
        self.in_transaction = False
        self.held: set[int] = set()  # partitions
        self.left: set[int] = set()  # partitions given up in this turn
        self.is_behind = False  # what was read since the last commit does not count: go back to it
        self.linger, self.busy = LINGER, BUSY

    def start(self) -> None:
        """Join the group."""
        gc.set_threshold(COLLECT_AFTER)
        self.writer.release(self.reader, self.route.trades)
        self.reader.subscribe([self.route.trades], self._assigned, self._revoked, self._lost)

    def turn(self) -> None:
        """Read what is waiting, then commit what came of it.

        Raises: Unavailable; the process then ends and its successor restores the committed state.
        """
        self.left.clear()
        messages = self.reader.poll(self.commit_s, 1)
        begun = time.monotonic()
        while messages and not self.is_behind:
            self._read(messages)
            left = (self.busy if len(messages) == AT_ONCE else self.linger) - (time.monotonic() - begun)
            messages.clear()  # they hold the client's buffers
            messages = self.reader.poll(min(left, self.linger), AT_ONCE) if left > 0 else []
        self.commit()
        if self.is_behind:
            self._go_back()
        self.health.beat()
        self.metrics.lag.set(self.reader.lag())

    def commit(self) -> None:
        """Write the snapshots and commit candles, snapshots and offsets together; nothing when nothing was read.

        Raises: Unavailable.
        """
        if not self.offsets or self.is_behind:
            return
        try:
            self._commit()
        except Outrun as error:
            log.warning("partitions moved during a transaction", extra={"reason": str(error)})
            self._abandon()

    def _commit(self) -> None:
        begun = time.monotonic()
        self._take()
        self._begin()
        for partition, snapshot in self.aggregator.snapshots():
            self.writer.send(self.route.open_candles, snapshot.state.symbol, encode(snapshot), partition=partition)
        self.writer.commit(self.reader, self.offsets)
        self.offsets.clear()
        self.in_transaction = False
        took = time.monotonic() - begun
        self.linger = min(max(LINGER, SHARE * took), max(self.commit_s, LINGER))
        self.busy = min(max(BUSY, BUSY_SHARE * took), MOST_BUSY)
        if self.received_at.isdigit():
            self.metrics.delay.observe(max(0.0, (self.now() - int(self.received_at)) / SECOND))

    def _read(self, messages: list[Message]) -> None:
        values, keys, partitions = contents(messages)
        if not self.held.issuperset(partitions):  # some were given up while these were collected
            messages = [message for message in messages if message.partition() in self.held]
            if not messages:
                return
            values, keys, partitions = contents(messages)
        columns = self.aggregator.parser.parse(values, keys, partitions)
        self.offsets |= next_offsets(messages, partitions)
        self.received_at = header_texts(messages[-1]).get(HEADER_RECEIVED_AT, "")
        bad = 0
        for row, (_, item) in columns.items.items():
            if isinstance(item, BadRecord):
                bad += 1
                self._put_aside(messages[row], values[row], item)
        self.handled.inc(len(columns) - bad)
        self.waiting.add(columns)
        if len(self.waiting) >= MAX_ROWS:
            self._take()

    def _take(self) -> None:
        if not self.waiting:
            return
        self._emit(self.aggregator.take_batch(self.waiting.take()))
        self.health.beat()

    def _put_aside(self, message: Message, raw: bytes, error: BadRecord) -> None:
        self._begin()
        self.metrics.dead.inc()
        source = f"aggregate {message.topic()}-{message.partition()}@{message.offset()}"
        put_aside(self.writer, source, str(error), raw, self.now(), self.route.dead)

    def _emit(self, closed: list[Closed]) -> None:
        if not closed:
            return
        self._begin()
        for each in closed:
            for candle in each.candles:
                self.writer.send(self.route.candles, candle.symbol, encode(candle), partition=each.partition)
                self.metrics.candle_closed_at.values[candle.symbol] = candle.closed_at / SECOND
        self.closed.inc(sum(len(each.candles) for each in closed))
        self.market_time.set(closed[-1].candles[-1].closed_at / SECOND)

    def _begin(self) -> None:
        if not self.in_transaction:
            self.writer.begin()
            self.in_transaction = True

    def _assigned(self, partitions: list[Partition]) -> None:
        numbers = {partition for _, partition in partitions}
        for partition in sorted(numbers):
            symbols = self._restore(partition)
            log.info("partition taken", extra={"partition": partition, "symbols": symbols})
        self.held |= numbers
        if numbers & self.left:  # records of it from before may still be handed over
            self._abandon()
        self.health.ready()

    def _restore(self, partition: int) -> int:
        """Take a partition's state from its snapshots; return of how many symbols."""
        self.health.beat()
        self.aggregator.forget(partition)
        self.aggregator.restore(partition, read_snapshots(self.snapshots, partition, self.route.open_candles))
        return len(self.aggregator.builders[partition])

    def _revoked(self, partitions: list[Partition]) -> None:
        self.commit()
        self._give_up(partitions)
        if not self.writer.is_lost:
            self.writer.release(self.reader, self.route.trades)  # its next holder finds snapshots as new as the offsets

    def _lost(self, partitions: list[Partition]) -> None:
        self._abandon()
        self._give_up(partitions)

    def _give_up(self, partitions: list[Partition]) -> None:
        for _, partition in partitions:
            self.held.discard(partition)
            self.left.add(partition)
            self.aggregator.forget(partition)

    def _abandon(self) -> None:
        """Undo what was read since the last commit."""
        if self.in_transaction:
            self.writer.abort()
        self.in_transaction, self.is_behind = False, True
        self.offsets.clear()
        self.waiting.clear()

    def _go_back(self) -> None:
        """Restore what is held from what is committed, and read on from there."""
        for partition in sorted(self.held):
            self._restore(partition)
        if self.held:
            self.reader.go_back([(self.route.trades.name, partition) for partition in sorted(self.held)])
        self.is_behind = False


def read_snapshots(reader: Reader, partition: int, topic: Topic = OPEN_CANDLES) -> Iterable[OpenCandles]:
    """Yield the committed snapshots of one partition, oldest first.

    Raises: Unavailable.
    """
    low, high = reader.ends(topic.name, partition)
    if high <= low:
        return
    reader.assign({(topic.name, partition): OFFSET_BEGINNING})
    position = low
    while position < high:  # the last offsets may be transaction markers, which are never delivered
        for message in reader.poll(0.5):
            yield decode(message.value() or b"", OpenCandles)
        position = reader.positions().get((topic.name, partition), position)
