"""The builders of the partitions that one process holds, fed by the batch: pure, no Kafka."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import gcd
from operator import attrgetter

import numpy as np

from quantstream.candles import CandleBuilder
from quantstream.errors import BadRecord
from quantstream.market import Candle, Trade
from quantstream.topics import OpenCandles, candle_fields
from streaming.binance import parse_record
from streaming.columns import Columns, Parser
from streaming.digits import Ints
from streaming.runs import AT_ONCE, Group, Known, Run, runs

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

    def take_batch(self, columns: Columns) -> list[Closed]:
        """Take a batch in and return what it closed or revised, in the order of the records."""
        closed: list[Closed] = []
        for row, (key, item) in columns.items.items():
            if columns.code[row] < 0 and not isinstance(item, BadRecord):
                self._item(columns, row, key, item, closed)
        plain = columns.at > 0
        plain[[row for row in columns.items if not isinstance(columns.items[row][1], BadRecord)]] = True
        rows = (plain & (columns.code >= 0)).nonzero()[0]
        for part in _parts(columns, rows):
            found = runs(columns, part, self._known, self.grid, self.lateness)
            for (partition, code), of_one in groupby(found, attrgetter("group")):
                builder = self._builder(partition, self.parser.symbols.names[code])
                for run in of_one:
                    self._run(columns, run, builder, closed)
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

    def _run(self, columns: Columns, run: Run, builder: CandleBuilder, closed: list[Closed]) -> None:
        if len(run.rows) >= FEWEST and run.slices:
            whole = builder.add_run(run.slices, run.last_at, run.latest_at, run.due >= 0)
            if whole is not None:
                if whole:
                    closed.append(Closed(run.due, run.group[0], whole))
                return
            first, last = run.slices[0].first_trade_id, run.slices[-1].last_trade_id
            if builder.state.ids.take_again(first, last, len(run.rows)):
                return
        for row in run.rows.tolist():
            if columns.at[row]:
                candles = builder.add(columns.trade(row, builder.state.symbol))
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


def _parts(columns: Columns, rows: Ints) -> list[Ints]:
    """Return the rows, those of each partition apart when they are many: no builder takes from two, and they lie closer."""
    if len(rows) <= AT_ONCE:
        return [rows]
    partition = columns.partition[rows]
    return [rows[partition == number] for number in np.flatnonzero(np.bincount(partition)).tolist()]
