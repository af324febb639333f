"""One symbol's trades in order of id, into the candle builder: says which ids are missing and makes sure that the order holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np

from quantstream.core.candle import NO_TRADE_ID, Candle
from quantstream.core.candle_builder import CandleBuilder
from quantstream.core.trade import Trade
from quantstream.core.trade_ids import MAX_GAPS, Gap
from quantstream.decode.arrays import Ints
from quantstream.decode.columns import TradeColumns
from quantstream.decode.window_sums import PartialSums
from streaming.offline.external_sort import Rows, columns_of, is_plain, trade_of
from streaming.offline.plausible import FAR, TOLERANCE
from streaming.offline.row_account import Account

ALL = 1 << 62  # gaps: offline none is forgotten while a window may lack its trades
KEPT_WINDOWS = 3  # closed ones that a trade may still come to: times run against ids by a minute at most


class Disorder(Exception):
    """Rows are not in order, or one of them cannot be where it is: they have to be sorted before they can be judged."""


class OrderedSymbol:
    """The builder of one symbol and where its trades stand."""

    def __init__(self, symbol: str, intervals: Sequence[str], lateness: int, account: Account, is_sorted: bool) -> None:
        """`is_sorted` says that all was put in order before; else what is not is a `Disorder`."""
        self.builder = CandleBuilder(symbol, intervals, lateness, max_gaps=ALL)
        self.account, self.is_sorted = account, is_sorted
        self.id, self.last, self.last_at, self.latest_at = NO_TRADE_ID, NO_TRADE_ID, 0, 0

    def go_on(self, closes: Mapping[str, int], at: int, number: int, last_id: int) -> None:
        """Go on at `at` (µs) after trades that ended with the row `number` and the trade `last_id`; see `CandleBuilder.go_on`."""
        self.builder.go_on(closes, at, last_id)
        self.id, self.last, self.last_at, self.latest_at = number, last_id, at, at

    def probe(self) -> OrderedSymbol:
        """Return one that stands where this one does, for `pass_over`."""
        found = OrderedSymbol(self.builder.state.symbol, (), 0, self.account, is_sorted=False)
        found.id, found.last, found.last_at, found.latest_at = self.id, self.last, self.last_at, self.latest_at
        return found

    def pass_over(self, trades: TradeColumns | Trade) -> None:
        """Go on behind trades without building of them, to see that they are in order. Raises: Disorder."""
        if isinstance(trades, Trade):
            self._check_one(trades)
            self.id, self.last, self.last_at = trades.id, trades.last_trade_id, trades.traded_at
            self.latest_at = max(self.latest_at, trades.traded_at)
            return
        before, earlier = np.append(self.last, trades.last[:-1]), np.append(self.last_at, trades.at[:-1])
        self._check(trades.first, before, trades.at, earlier)
        self.id, self.last, self.last_at = int(trades.id[-1]), int(trades.last[-1]), int(trades.at[-1])
        self.latest_at = max(self.latest_at, int(trades.at.max()))

    def block(self, columns: TradeColumns) -> Iterator[Candle]:
        """Take trades in order of id in, yield the candles that they close. Raises: Disorder."""
        first, last, at = columns.first, columns.last, columns.at
        before = np.concatenate([[self.last], last[:-1]])
        earlier = np.concatenate([[self.last_at], at[:-1]])
        jumps = np.flatnonzero(first != before + 1)
        if not self.is_sorted:
            self._check(first, before, at, earlier)
        bounds: list[tuple[int, bool]] = [(0, False)]
        for number, row in enumerate(jumps.tolist()):
            is_next = int(columns.id[row]) == (int(columns.id[row - 1]) if row else self.id) + 1
            if before[row] == NO_TRADE_ID:
                continue
            if not is_next:
                self._lose(int(before[row]), int(first[row]), int(earlier[row]), int(at[row]))
            if is_next or number % MAX_GAPS == MAX_GAPS - 1:
                bounds.append((row, is_next))
        self.id, self.last, self.last_at = int(columns.id[-1]), int(last[-1]), int(at[-1])
        self.latest_at = max(self.latest_at, int(at.max()))
        yield from self._parts(columns, bounds)

    def _parts(self, columns: TradeColumns, bounds: list[tuple[int, bool]]) -> Iterator[Candle]:
        if len(bounds) == 1:
            yield from add_columns(self.builder, columns)
        else:
            ends = [row for row, _ in bounds[1:]] + [len(columns)]
            for (start, is_next), end in zip(bounds, ends, strict=True):
                if (
                    is_next
                ):  # its number says that nothing is missing before it: the ids between are of no trade of the market
                    self.builder.state.ids.last_id = int(columns.first[start]) - 1
                if start < end:
                    yield from add_columns(self.builder, columns.between(start, end))
                self._forget()
        self._forget()

    def rows(self, rows: Rows) -> Iterator[Candle]:
        """Take sorted rows in: those that fit columns as blocks, the others one by one."""
        plain = is_plain(rows)
        edges = np.flatnonzero(np.diff(plain)) + 1
        for start, end in pairwise([0, *edges.tolist(), len(rows)]):
            if start < end and plain[start]:
                yield from self.block(columns_of(rows[start:end]))
                continue
            for row in rows[start:end]:
                if row["is_void"]:
                    self.void(int(row["first"]), int(row["last"]), int(row["at"]))
                else:
                    yield from self.trade(trade_of(row, self.builder.state.symbol))

    def trade(self, trade: Trade) -> list[Candle]:
        """Take one trade in, return the candles that it closes. Raises: Disorder."""
        first, at = trade.first_trade_id, trade.traded_at
        if not self.is_sorted:
            self._check_one(trade)
        if self.last != NO_TRADE_ID and first != self.last + 1:
            if trade.id == self.id + 1:
                self.builder.state.ids.last_id = first - 1
            else:
                self._lose(self.last, first, self.last_at, at)
        self.id, self.last, self.last_at = trade.id, trade.last_trade_id, at
        self.latest_at = max(self.latest_at, at)
        candles = self.builder.add(trade)
        self._forget()
        return candles

    def void(self, first: int, last: int, at: int) -> None:
        """Take note of ids that something else used up. Raises: Disorder."""
        if self.last == NO_TRADE_ID:
            return
        if first <= self.last:
            if self.is_sorted:
                return
            raise Disorder
        ids = self.builder.state.ids
        if first != self.last + 1:
            self._lose(self.last, first, self.last_at, at)
            ids.open_gaps.append(Gap(self.last + 1, first - 1, min(self.last_at, at), at))
        self.last = ids.last_id = last

    def _check_one(self, trade: Trade) -> None:
        first, at = trade.first_trade_id, trade.traded_at
        if first <= self.last or at < self.latest_at - TOLERANCE:
            raise Disorder
        if first == self.last + 1 and self.last != NO_TRADE_ID and at - self.last_at > FAR:
            raise Disorder

    def _check(self, first: Ints, before: Ints, at: Ints, earlier: Ints) -> None:
        latest = np.maximum.accumulate(np.concatenate([[self.latest_at], at]))[:-1]
        if (first <= before).any() or (at < latest - TOLERANCE).any():
            raise Disorder
        if len(leaps := np.flatnonzero(at - earlier > FAR)) and (first[leaps] == before[leaps] + 1).any():
            raise Disorder

    def _lose(self, before: int, first: int, after: int, at: int) -> None:
        self.account.lose(self.builder.state.symbol, Gap(before + 1, first - 1, min(after, at), at))

    def _forget(self) -> None:
        """Drop the gaps that no window can lack trades of any more."""
        ids = self.builder.state.ids
        if len(ids.open_gaps) > 1:
            next_open = self.builder.state.next_open
            oldest = min(
                next_open[interval] - KEPT_WINDOWS * length for interval, length in self.builder.lengths.items()
            )
            ids.open_gaps = [gap for gap in ids.open_gaps if gap.before >= oldest]


def add_columns(builder: CandleBuilder, columns: TradeColumns) -> Iterator[Candle]:
    """Take a block of one symbol's trades in, summed up wherever they follow one another; the same as one by one."""
    sums = PartialSums([builder.state.symbol], builder.lengths.values(), lambda *_: builder)
    for _, candles in sums.add(columns):
        yield from candles
    sums.settle()
