"""Candles from the trades topic: closed candles, open-candle snapshots and offsets in one Kafka transaction.

A restart restores each partition's builders from the compacted snapshot topic, which the same transaction wrote as the
offsets: state and position can never disagree. Snapshots go to the partition number their trades came from. When partitions move
while a transaction is being committed, it is aborted, and what is still held goes on from what is committed, as after a restart.
"""

from __future__ import annotations

import gc
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from quantstream.core.accounts import Account, Accounts
from quantstream.core.errors import BadRecord
from quantstream.core.time import SECOND
from quantstream.decode.tally import Tally
from quantstream.kafka import (
    OFFSET_BEGINNING,
    TRANSACTION_PATIENCE,
    Message,
    Partition,
    PartitionedStage,
    Reader,
    Writer,
    contents,
    header_texts,
    next_offsets,
)
from quantstream.kafka.dead_letters import dead_letter
from quantstream.messages.payloads import OpenCandles, decode, encode
from quantstream.messages.topics import CANDLES, DEAD, HEADER_RECEIVED_AT, OPEN_CANDLES, TRADES, Topic
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics
from streaming.aggregate.aggregator import Aggregator, Closed

log = logging.getLogger(__name__)
LINGER = 0.02  # seconds to collect what comes when little is waiting: what a commit costs is then shared by some trades
BUSY = 3.0  # seconds of work in one transaction when much is waiting; 2,000 snapshots are then a hundredth of it
BUSY_SHARE, MOST_BUSY = 100, 5.0  # times what the last commit took, but no more than so many seconds
SHARE = 3  # times what the last commit took is spent on collecting at least, so that committing never eats the core
AT_ONCE = 5_000  # records read at once: what is computed of them stays in the processor's cache
COLLECT_AFTER = (
    50_000  # objects, not 700: messages come and go by the thousand, and Python's collector looked through each
)


@dataclass(frozen=True)
class Route:
    """The topics that an aggregator reads and writes; all but that of dead letters with as many partitions."""

    trades: Topic = TRADES
    candles: Topic = CANDLES
    open_candles: Topic = OPEN_CANDLES
    dead: Topic = DEAD


class AggregateStage(PartitionedStage):
    """Moves an `Aggregator` over Kafka: a transaction soon when little is waiting, a large one when much is."""

    limit = AT_ONCE

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
        super().__init__(reader, [route.trades], commit_s, metrics, health)
        self.aggregator, self.snapshots, self.writer, self.now, self.route = aggregator, snapshots, writer, now, route
        self.handled = metrics.records.labels("handled")
        self.closed = metrics.records.labels("candle")
        self.market_time = metrics.gauge("market_time_seconds", "latest event time, seconds since the epoch")
        self.lateness = metrics.delays(
            "candle_lateness_seconds", "from the end of a candle's window to its commit, by our clock"
        )
        self.closing = Counter[int]()  # candles in the transaction, by the end of their window
        self.offsets: dict[Partition, int] = {}
        self.tally = Tally(aggregator.parser.symbols)
        self.strangers = Accounts[int]()  # keys that no trade came under
        self.received_at = ""  # of the last record, as its header says
        self.in_transaction = False
        self.pause, self.busy = LINGER, BUSY
        self.behind_until = 0.0  # seconds into the turn, when much was waiting for the last time

    def start(self) -> None:
        """Join the group."""
        gc.set_threshold(COLLECT_AFTER)
        self.writer.release(self.reader, self.route.trades)
        super().start()

    def linger(self, count: int, elapsed: float) -> float:
        """Wait for what comes with the first, longer the more a commit costs, and on and on while much is waiting.

        One short reading does not end a backlog: the broker may be a little late with the next.
        """
        if count == AT_ONCE or elapsed < self.behind_until:  # the latter in a new turn
            self.behind_until = elapsed
        return min(self.busy - elapsed, self.behind_until + self.pause - elapsed, self.pause)

    def take(self, messages: list[Message]) -> None:
        """Add trades up; the builders take their sums before the commit, or when something else happens to a symbol."""
        values, keys, partitions = contents(messages)
        columns = self.aggregator.parser.parse(values, keys, partitions)
        self.offsets |= next_offsets(messages, partitions)
        self.tally.add("read", columns.partition, columns.code, keys)
        self.received_at = header_texts(messages[-1]).get(HEADER_RECEIVED_AT, "")
        bad = 0
        for row, (key, item) in columns.items.items():
            if isinstance(item, BadRecord):
                bad += 1
                self.tally.add_one("dead", int(partitions[row]), key)
                self._dead_letter(messages[row], values[row], item)
        self.handled.inc(len(columns) - bad)
        self._emit(self.aggregator.take(columns))

    def flush(self) -> None:
        """Write the snapshots and commit candles, snapshots and offsets together; nothing when nothing was read."""
        if not self.offsets:
            return
        begun = time.monotonic()
        self._settle()
        self._begin()
        for partition, snapshot in self.aggregator.snapshots():
            self.writer.send(self.route.open_candles, snapshot.state.symbol, encode(snapshot), partition=partition)
        self.writer.commit(self.reader, self.offsets)
        self.offsets.clear()
        self.in_transaction = False
        self._count_closed()
        took = time.monotonic() - begun
        self.pause = min(max(LINGER, SHARE * took), max(self.wait_s, LINGER))
        self.busy = min(max(BUSY, BUSY_SHARE * took), MOST_BUSY)
        if self.received_at.isdigit():
            self.metrics.delay.observe(max(0.0, (self.now() - int(self.received_at)) / SECOND))

    def discard(self) -> None:
        """Abort what is not committed."""
        if self.in_transaction:
            self.writer.abort()
        self.in_transaction = False
        self.offsets.clear()
        self.closing.clear()
        self.tally.clear()

    def accounts(self) -> Iterator[tuple[str, Account]]:
        """Yield each symbol's account, those of keys that are no symbols last."""
        for builders in self.aggregator.builders.values():
            for symbol, builder in builders.items():
                yield symbol, builder.state.settle()
        yield from self.strangers

    def restore(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Take the state of partitions from their snapshots, which are as new as the offsets that are committed.

        The offsets are asked for first: once they are stable, no predecessor's transaction can move them any more, and its
        snapshots are read up to the last one written, in whatever transaction that was.
        """
        begin = self.resume(self.reader.committed(partitions, self.health.beat))
        for _, partition in sorted(partitions):
            self.health.beat()
            snapshots = read_snapshots(self.snapshots, partition, self.route.open_candles, self.health.beat)
            self.aggregator.restore(partition, snapshots)
        return begin

    def forget(self, partitions: Sequence[Partition]) -> None:
        """Drop the builders of partitions."""
        for _, partition in partitions:
            self.aggregator.forget(partition)
            self.strangers.forget(partition)

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """Wait until the last commit is written everywhere: the next holder finds snapshots as new as the offsets."""
        if not self.writer.is_lost:
            self.writer.release(self.reader, self.route.trades)

    def _settle(self) -> None:
        """Put what was read into the accounts; what became of it, the builders have counted."""
        for partition, symbol, more in self.tally.drain():
            account = self.aggregator.account(partition, symbol, more.dead > 0)
            if account is None:
                self.strangers.add(partition, symbol, more)
            else:  # nothing else is counted here
                account.read += more.read
                account.dead += more.dead

    def _dead_letter(self, message: Message, raw: bytes, error: BadRecord) -> None:
        self._begin()
        self.metrics.dead.inc()
        source = f"aggregate {message.topic()}-{message.partition()}@{message.offset()}"
        dead_letter(self.writer, source, str(error), raw, self.now(), self.route.dead)

    def _emit(self, closed: list[Closed]) -> None:
        if not closed:
            return
        self._begin()
        for each in closed:
            for candle in each.candles:
                self.writer.send(self.route.candles, candle.symbol, encode(candle), partition=each.partition)
                self.metrics.candle_closed_at.values[candle.symbol] = candle.closed_at / SECOND
        self.closing.update(candle.closed_at for each in closed for candle in each.candles if candle.revision == 0)
        self.closed.inc(sum(len(each.candles) for each in closed))
        self.market_time.set(closed[-1].candles[-1].closed_at / SECOND)

    def _count_closed(self) -> None:
        """Note how long after their windows' end the candles of this transaction can be read."""
        for closed_at, count in self.closing.items():
            self.lateness.observe(max(0.0, (self.now() - closed_at) / SECOND), count)
        self.closing.clear()

    def _begin(self) -> None:
        if not self.in_transaction:
            self.writer.begin()
            self.in_transaction = True


def read_snapshots(
    reader: Reader, partition: int, topic: Topic = OPEN_CANDLES, working: Callable[[], None] = lambda: None
) -> Iterator[OpenCandles]:
    """Yield the committed snapshots of one partition, oldest first, until no transaction is open that was begun before the call.

    `working` is called after each look that got on, however many it takes, and while a predecessor's transaction may still be
    open; a broker that brings nothing for longer is not work. Raises: Unavailable.
    """
    low, _ = reader.ends(topic.name, partition)
    high = reader.written_end(topic.name, partition)
    if high <= low:
        return
    reader.assign({(topic.name, partition): OFFSET_BEGINNING})
    position, got_on_at = low, time.monotonic()
    while position < high:  # the last offsets may be transaction markers, which are never delivered
        messages, before = reader.poll(0.5, AT_ONCE), position
        for message in messages:
            yield decode(message.value() or b"", OpenCandles)
        position = reader.positions().get((topic.name, partition), position)
        if messages or position != before:
            got_on_at = time.monotonic()
            working()
        elif time.monotonic() - got_on_at < TRANSACTION_PATIENCE:
            working()
