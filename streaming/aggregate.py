"""Candles from the trades topic: closed candles, open-candle snapshots and offsets in one Kafka transaction.

A restart restores each partition's builders from the compacted snapshot topic, which the same transaction wrote as the
offsets: state and position can never disagree. Snapshots go to the partition number their trades came from.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import gcd

from quantstream.candles import CandleBuilder
from quantstream.errors import BadRecord
from quantstream.kafka import (
    BATCH,
    OFFSET_BEGINNING,
    Message,
    Partition,
    Reader,
    Writer,
    contents,
    header_texts,
    next_offsets,
)
from quantstream.market import SECOND, Candle, Trade
from quantstream.metrics import Health, Metrics
from quantstream.topics import (
    CANDLES,
    HEADER_RECEIVED_AT,
    OPEN_CANDLES,
    TRADES,
    OpenCandles,
    Topic,
    candle_fields,
    decode,
    encode,
)
from streaming.binance import parse_record
from streaming.columns import Columns, Parser, join
from streaming.runs import Group, Known, Run, groups, runs
from streaming.tradelog import put_aside

log = logging.getLogger(__name__)
LINGER = 0.02  # seconds to collect what comes when little is waiting: what a commit costs is then shared by some trades
BUSY = 1.0  # seconds of work in one transaction when much is waiting
BUSY_SHARE, MOST_BUSY = 20, 5.0  # times what the last commit took, but no more than so many seconds
SHARE = 3  # times what the last commit took is spent on collecting at least, so that committing never eats the core
MAX_ROWS = 100_000  # records taken into the builders at once: enough trades of each of 2,000 symbols, in 20 MB
FEWEST = 3  # trades: shorter runs are quicker one by one


@dataclass(frozen=True)
class Route:
    """The topics that an aggregator reads and writes; as many partitions of each."""

    trades: Topic = TRADES
    candles: Topic = CANDLES
    open_candles: Topic = OPEN_CANDLES


@dataclass(frozen=True)
class Closed:
    """Candles that the record in one row of a batch closed or revised."""

    row: int
    partition: int
    candles: list[Candle]


class Aggregator:
    """The builders of the partitions that this process holds: pure, no Kafka."""

    def __init__(self, intervals: Sequence[str], lateness: int) -> None:
        """`lateness` in µs."""
        self.intervals, self.lateness = tuple(intervals), lateness
        self.parser = Parser()
        self.builders: dict[int, dict[str, CandleBuilder]] = {}
        self.touched: set[tuple[int, str]] = set()
        self.grid = gcd(*CandleBuilder("", self.intervals).lengths.values())  # no window's edge lies between

    def take(self, partition: int, symbol: str, raw: bytes) -> list[Candle]:
        """Take one record of the trades topic; return the candles it closed or revised.

        Raises: BadRecord.
        """
        item = parse_record(raw, symbol)
        builder = self._builder(partition, symbol)
        return builder.add(item) if isinstance(item, Trade) else builder.heartbeat(item)

    def take_batch(self, columns: Columns) -> list[Closed]:
        """Take a batch in and return what it closed or revised, in the order of the records."""
        closed: list[Closed] = []
        for row, (key, item) in columns.items.items():
            if columns.code[row] < 0 and not isinstance(item, BadRecord):
                self._item(columns, row, key, item, closed)
        plain = columns.at > 0
        plain[[row for row in columns.items if not isinstance(columns.items[row][1], BadRecord)]] = True
        rows = (plain & (columns.code >= 0)).nonzero()[0]
        known = {group: self._known(group) for group in groups(columns, rows)}
        found = {group: each for group, each in known.items() if each is not None}
        for run in runs(columns, rows, found, self.grid, self.lateness):
            self._run(columns, run, closed)
        return sorted(closed, key=lambda each: each.row)

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

    def _known(self, group: Group) -> Known | None:
        builder = self.builders.get(group[0], {}).get(self.parser.symbols.names[group[1]])
        return Known(builder.state.ids.last_id, builder.state.latest_at) if builder else None

    def _builder(self, partition: int, symbol: str) -> CandleBuilder:
        builders = self.builders.setdefault(partition, {})
        builder = builders.get(symbol)
        if builder is None:
            builder = builders[symbol] = CandleBuilder(symbol, self.intervals, self.lateness)
        self.touched.add((partition, symbol))
        return builder

    def _run(self, columns: Columns, run: Run, closed: list[Closed]) -> None:
        symbol = self.parser.symbols.names[run.group[1]]
        builder = self._builder(run.group[0], symbol)
        if len(run.rows) >= FEWEST and run.slices:
            if builder.add_run(run.slices, run.last_at, run.latest_at):
                return
            first, last = run.slices[0].first_trade_id, run.slices[-1].last_trade_id
            if builder.state.ids.take_again(first, last, len(run.rows)):
                return
        for row in run.rows.tolist():
            if columns.at[row]:
                candles = builder.add(columns.trade(row, symbol))
                if candles:
                    closed.append(Closed(row, run.group[0], candles))
            else:
                self._item(columns, row, *columns.items[row], closed)

    def _item(self, columns: Columns, row: int, key: str, item: Trade | int | BadRecord, closed: list[Closed]) -> None:
        if isinstance(item, BadRecord):
            return
        partition = int(columns.partition[row])
        builder = self._builder(partition, key)
        candles = builder.add(item) if isinstance(item, Trade) else builder.heartbeat(item)
        if candles:
            closed.append(Closed(row, partition, candles))


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
        self.waiting: list[Columns] = []
        self.received_at = ""  # of the last record, as its header says
        self.in_transaction = False
        self.linger, self.busy = LINGER, BUSY

    def start(self) -> None:
        """Join the group."""
        self.writer.release(self.reader, self.route.trades)
        self.reader.subscribe([self.route.trades], self._assigned, self._revoked)

    def turn(self) -> None:
        """Read what is waiting, then commit what came of it.

        Raises: Unavailable; the process then ends and its successor restores the committed state.
        """
        messages = self.reader.poll(self.commit_s, 1)
        begun = time.monotonic()
        while messages:
            self._read(messages)
            left = (self.busy if len(messages) == BATCH else self.linger) - (time.monotonic() - begun)
            messages.clear()  # they hold the client's buffers
            messages = self.reader.poll(min(left, self.linger)) if left > 0 else []
        self.commit()
        self.health.beat()
        self.metrics.lag.set(self.reader.lag())

    def commit(self) -> None:
        """Write the snapshots and commit candles, snapshots and offsets together; nothing when nothing was read."""
        if not self.offsets:
            return
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
        columns = self.aggregator.parser.parse(values, keys, partitions)
        self.offsets |= next_offsets(messages, partitions)
        self.received_at = header_texts(messages[-1]).get(HEADER_RECEIVED_AT, "")
        bad = 0
        for row, (_, item) in columns.items.items():
            if isinstance(item, BadRecord):
                bad += 1
                self._put_aside(messages[row], values[row], item)
        self.handled.inc(len(columns) - bad)
        self.waiting.append(columns)
        if sum(map(len, self.waiting)) >= MAX_ROWS:
            self._take()

    def _take(self) -> None:
        if not self.waiting:
            return
        waiting, self.waiting = self.waiting, []
        for closed in self.aggregator.take_batch(join(waiting)):
            self._emit(closed)
        self.health.beat()

    def _put_aside(self, message: Message, raw: bytes, error: BadRecord) -> None:
        self._begin()
        self.metrics.dead.inc()
        source = f"aggregate {message.topic()}-{message.partition()}@{message.offset()}"
        put_aside(self.writer, source, str(error), raw, self.now())

    def _emit(self, closed: Closed) -> None:
        self._begin()
        for candle in closed.candles:
            self.writer.send(self.route.candles, candle.symbol, encode(candle), partition=closed.partition)
            self.closed.inc()
            self.market_time.set(candle.closed_at / SECOND)
            self.metrics.candle_closed_at.labels(candle.symbol).set(candle.closed_at / SECOND)

    def _begin(self) -> None:
        if not self.in_transaction:
            self.writer.begin()
            self.in_transaction = True

    def _assigned(self, partitions: list[Partition]) -> None:
        for _, partition in partitions:
            self.health.beat()
            found = list(read_snapshots(self.snapshots, partition, self.route.open_candles))
            self.aggregator.restore(partition, found)
            log.info("partition taken", extra={"partition": partition, "symbols": len({s.state.symbol for s in found})})
        self.health.ready()

    def _revoked(self, partitions: list[Partition]) -> None:
        self.commit()
        for _, partition in partitions:
            self.aggregator.forget(partition)


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
