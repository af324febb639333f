"""The builders of the partitions that one process holds, fed by the batch: pure, no Kafka."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from quantstream.core.accounts import Account
from quantstream.core.candle import Candle
from quantstream.core.candle_builder import CandleBuilder
from quantstream.decode.columns import Parser, TradeColumns
from quantstream.decode.window_sums import PartialSums
from quantstream.messages.payloads import OpenCandles


class Closed(NamedTuple):
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
        lengths = CandleBuilder("", self.intervals).lengths.values()
        self.sums = PartialSums(self.parser.symbols.names, lengths, self._builder)

    def take(self, columns: TradeColumns) -> list[Closed]:
        """Take a batch in and return what it closed or revised, in the order of the records."""
        return [Closed(row, int(columns.partition[row]), candles) for row, candles in self.sums.add(columns)]

    def snapshots(self) -> Iterable[tuple[int, OpenCandles]]:
        """Return the state of every symbol touched since the last call, with its partition.

        What was only added up so far, a builder takes when its turn has come: all that it holds is in the processor's cache then.
        """
        homes, names = self.sums.homes.tolist(), self.sums.names
        untold = {(homes[code], names[code]): (code, numbers) for code, numbers in self.sums.drain()}
        for key in sorted(self.touched.union(untold)):
            if key in untold:
                self.sums.tell(*untold[key])
            builder = self.builders[key[0]][key[1]]
            builder.state.settle()
            yield key[0], OpenCandles.of(builder.state, builder.open_candles())
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
        self.sums.forget(partition)
        self.builders[partition] = {
            symbol: CandleBuilder(symbol, self.intervals, self.lateness, state) for symbol, state in states.items()
        }

    def forget(self, partition: int) -> None:
        """Drop a partition that another process took over."""
        self.sums.forget(partition)
        self.builders.pop(partition, None)
        self.touched = {key for key in self.touched if key[0] != partition}

    def _builder(self, partition: int, symbol: str) -> CandleBuilder:
        builders = self.builders.setdefault(partition, {})
        builder = builders.get(symbol)
        if builder is None:
            builder = builders[symbol] = CandleBuilder(symbol, self.intervals, self.lateness)
        self.touched.add((partition, symbol))
        return builder
