"""The builders of the partitions that one process holds, fed by the batch: pure, no Kafka."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import gcd

import numpy as np

from quantstream.binance.wire import parse_record
from quantstream.core.accounts import Account
from quantstream.core.candle import Candle
from quantstream.core.candle_builder import CandleBuilder
from quantstream.core.errors import BadRecord
from quantstream.core.trade import Trade
from quantstream.decode.columns import Batch, Item, Parser
from quantstream.decode.runs import NOTHING, Group, Known, Run, runs
from quantstream.messages.payloads import OpenCandles

FEWEST = 3  # trades: shorter runs are quicker one by one


@dataclass(frozen=True)
class Closed:
    """Candles that the record in one row of a batch closed or revised."""

    row: int
    partition: int
    candles: list[Candle]


class Aggregator:
    """Trades in, closed candles out; the state of every symbol can be taken out and put back at any trade."""

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

    def take_batch(self, batch: Batch) -> list[Closed]:
        """Take a batch in and return what it closed or revised, in the order of the records."""
        closed: list[Closed] = []
        apart = [row for row, (_, item) in batch.items.items() if batch.code[row] < 0 or isinstance(item, BadRecord)]
        for row in apart:
            self._item(batch, row, *batch.items[row], closed)
        rows = np.delete(np.arange(len(batch)), apart) if apart else np.arange(len(batch))
        builders: dict[Group, CandleBuilder] = {}

        def known(group: Group) -> Known:
            builder = builders[group] = self._builder(group[0], self.parser.symbols.names[group[1]])
            state = builder.state
            return (state.ids.last_id, state.latest_at) if state.latest_at else NOTHING

        for run in runs(batch, rows, known, self.grid, self.lateness):
            self._run(batch, run, builders[run.group], closed)
        return sorted(closed, key=lambda each: each.row)

    def snapshots(self) -> Iterable[tuple[int, OpenCandles]]:
        """Return the state of every symbol touched since the last call, with its partition."""
        for partition, symbol in sorted(self.touched):
            builder = self.builders[partition][symbol]
            builder.state.settle()
            yield partition, OpenCandles.of(builder.state, builder.open_candles())
        self.touched.clear()

    def account(self, partition: int, symbol: str, is_news: bool = True) -> Account | None:
        """Return the account that is kept with a symbol's state, to count what was read; None for a key without trades.

        Without `is_news` the symbol is known to be touched: whatever was read of it has gone to its builder.
        """
        builders = self.builders.get(partition)
        builder = builders.get(symbol) if builders else None
        if builder is None:
            return None
        if is_news:
            self.touched.add((partition, symbol))
        return builder.state.account

    def restore(self, partition: int, snapshots: Iterable[OpenCandles]) -> None:
        """Continue a partition from its snapshots, the newest of each symbol last."""
        states = {snapshot.state.symbol: snapshot.state for snapshot in snapshots}
        for state in states.values():
            if not state.account.read:  # a snapshot of before there were accounts
                state.settle().open()
        self.builders[partition] = {
            symbol: CandleBuilder(symbol, self.intervals, self.lateness, state) for symbol, state in states.items()
        }

    def forget(self, partition: int) -> None:
        """Drop a partition that another process took over."""
        self.builders.pop(partition, None)
        self.touched = {key for key in self.touched if key[0] != partition}

    def _builder(self, partition: int, symbol: str) -> CandleBuilder:
        builders = self.builders.setdefault(partition, {})
        builder = builders.get(symbol)
        if builder is None:
            builder = builders[symbol] = CandleBuilder(symbol, self.intervals, self.lateness)
        self.touched.add((partition, symbol))
        return builder

    def _run(self, batch: Batch, run: Run, builder: CandleBuilder, closed: list[Closed]) -> None:
        if run.stretch and len(run.rows) >= FEWEST:
            whole = builder.add_stretch(run.stretch)
            if whole is not None:
                if whole:
                    closed.append(Closed(run.due, run.group[0], whole))
                return
            first, last = run.stretch.slices[0].first_trade_id, run.stretch.slices[-1].last_trade_id
            if builder.state.ids.take_again(first, last, len(run.rows)):
                return
        for row in run.rows.tolist():
            if row in batch.items:
                self._item(batch, row, *batch.items[row], closed)
                continue
            candles = builder.add(batch.trade(row, builder.state.symbol))
            if candles:
                closed.append(Closed(row, run.group[0], candles))

    def _item(self, batch: Batch, row: int, key: str, item: Item, closed: list[Closed]) -> None:
        if isinstance(item, BadRecord):
            return
        partition = int(batch.partition[row])
        builder = self._builder(partition, key)
        candles = builder.add(item) if isinstance(item, Trade) else builder.heartbeat(item)
        if candles:
            closed.append(Closed(row, partition, candles))
