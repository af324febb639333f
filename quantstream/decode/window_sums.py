"""Trades into candle builders, thousands at a time: a compiled loop adds plain ones up, builders take the sums.

Each symbol has a row of numbers: the sums of its trades since its builder last took them, all within a stretch of time that no
window's edge divides, and the bounds (`quantstream.core.partial_sums.Bounds`) within which a trade changes nothing but such
sums. What lies beyond them goes to the builder itself, one by one, after the sums before it. So the candles are those of adding
trade by trade, whatever the log holds; property tests say so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import gcd
from typing import Any

import numpy as np

from quantstream.core.candle import Candle
from quantstream.core.candle_builder import CandleBuilder
from quantstream.core.errors import BadRecord
from quantstream.core.partial_sums import Window
from quantstream.core.trade import Trade
from quantstream.decode.columns import TradeColumns
from quantstream.decode.compiled import BYTES, INT, NUMBERS, loop, part
from quantstream.decode.symbol_index import NOWHERE, SymbolNumbers

# A symbol's numbers: its bounds, what was added, the sums as in a `Window`; sums of products have two words, the low one first.
NEXT_ID, KNOWN_FROM, FROM_AT, DUE_AT = range(4)
LATEST_AT, LAST_AT, RECORDS, DUPLICATES = range(4, 8)
OPENED_AT, OPEN, HIGH, LOW, CLOSE, VOLUME, QUOTE, _QUOTE_TOP, COUNT, TAKER, TAKER_QUOTE, _TAKER_TOP, FIRST, LAST = (
    range(8, 22)
)
ADDS, KNOWN, AFTER_SUMS, ALONE = 1, 0, -1, -2
WIDTH = 24  # three cache lines
ROOM = 1 << 62  # what a volume may come to
WORD = 1 << 64
HALF, LOW_HALF = np.uint64(32), np.uint64(0xFFFFFFFF)
BuilderOf = Callable[[int, str], CandleBuilder]  # of a partition's symbol; made when it comes first


@part(NUMBERS, INT, INT, INT)
def _add_product(state: Any, field: int, price: int, quantity: int) -> Any:
    """Add price × quantity to a sum of two words: products of half words fit a word (Knuth, volume 2, 4.3.1)."""
    one, other = np.uint64(price), np.uint64(quantity)
    low, cross = (one & LOW_HALF) * (other & LOW_HALF), (one >> HALF) * (other & LOW_HALF)
    back = (one & LOW_HALF) * (other >> HALF)
    middle = (low >> HALF) + (cross & LOW_HALF) + (back & LOW_HALF)
    top = (one >> HALF) * (other >> HALF) + (cross >> HALF) + (back >> HALF) + (middle >> HALF)
    before = np.uint64(state[field])
    after = before + one * other
    state[field] = np.int64(after)
    state[field + 1] += np.int64(top) + (1 if after < before else 0)
    return 0


@part(NUMBERS, INT, INT, INT, INT, INT, INT, INT)
def _add(state: Any, of: int, first: int, last: int, price: int, quantity: int, at: int, maker: int) -> int:
    """Add a trade to the sums that begin at the place `of`, as `Window.add` does."""
    if state[of + RECORDS] == 0:
        for field in range(VOLUME, FIRST):
            state[of + field] = 0
        state[of + OPEN] = state[of + HIGH] = state[of + LOW] = state[of + CLOSE] = price
        state[of + FIRST], state[of + LAST], state[of + LATEST_AT] = first, last, at
    if first < state[of + FIRST]:
        state[of + FIRST], state[of + OPEN] = first, price
    if last > state[of + LAST]:
        state[of + LAST], state[of + CLOSE] = last, price
    state[of + HIGH] = max(state[of + HIGH], price)
    state[of + LOW] = min(state[of + LOW], price)
    state[of + RECORDS] += 1
    state[of + COUNT] += last - first + 1
    state[of + VOLUME] += quantity
    _add_product(state, of + QUOTE, price, quantity)
    if not maker:
        state[of + TAKER] += quantity
        _add_product(state, of + TAKER_QUOTE, price, quantity)
    state[of + LATEST_AT] = max(state[of + LATEST_AT], at)
    state[of + LAST_AT] = at
    return 0


@part(NUMBERS, INT, INT, INT, INT, INT, INT)
def _fits(state: Any, of: int, first: int, last: int, at: int, quantity: int, grid: int) -> int:
    """Tell whether a trade only adds to the sums, was known before, does so after the sums are taken, or none of these."""
    if first != state[of + NEXT_ID]:
        return KNOWN if last < state[of + NEXT_ID] and first >= state[of + KNOWN_FROM] else ALONE
    if at < state[of + FROM_AT] or state[of + DUE_AT] == 0:
        return ALONE
    if at >= state[of + DUE_AT]:
        return AFTER_SUMS
    if state[of + RECORDS] == 0:
        state[of + OPENED_AT] = at - at % grid
        return ADDS
    is_inside = state[of + OPENED_AT] <= at < state[of + OPENED_AT] + grid
    return ADDS if is_inside and state[of + VOLUME] + quantity < ROOM else AFTER_SUMS


@loop(*[NUMBERS] * 8, BYTES, BYTES, NUMBERS, NUMBERS, INT, INT, INT)
def add_up(
    partition: Any,
    code: Any,
    number: Any,
    first: Any,
    last: Any,
    price: Any,
    quantity: Any,
    at: Any,
    maker: Any,
    by_id: Any,
    homes: Any,
    state: Any,
    row: int,
    count: int,
    grid: int,
) -> int:
    """Add trades from a row on to the sums of their symbols; return how far it came: a row, or `~row` of one for a builder alone.

    `homes` has the partition of each symbol, by its code. A row that is returned as it is fits once the sums before it are taken.
    """
    for each in range(row, count):
        symbol = code[each]
        if at[each] == 0 or symbol < 0 or homes[symbol] != partition[each]:
            return ~each
        of, begin, end = symbol * WIDTH, first[each], last[each]
        if by_id[each]:
            begin = end = number[each]
        fits = _fits(state, of, begin, end, at[each], quantity[each], grid)
        if fits < 0:
            return each if fits == AFTER_SUMS else ~each
        if fits == KNOWN:
            state[of + DUPLICATES] += 1
        else:
            _add(state, of, first[each], last[each], price[each], quantity[each], at[each], maker[each])
            state[of + NEXT_ID] = end + 1
    return count


class PartialSums(SymbolNumbers):
    """The sums of symbols whose builders have not taken them yet."""

    def __init__(self, names: Sequence[str], lengths: Iterable[int], builder_of: BuilderOf) -> None:
        """`names` are those of the codes; `lengths` of the windows in µs."""
        super().__init__(names, WIDTH, slice(RECORDS, DUPLICATES + 1))
        self.grid, self.builder_of = gcd(*lengths), builder_of  # no window's edge lies between

    def add(self, columns: TradeColumns) -> Iterator[tuple[int, list[Candle]]]:
        """Take a batch in; yield the rows that closed or revised candles, with these."""
        self.grow()
        each, row, count = columns, 0, len(columns)
        ids, values = (each.id, each.first, each.last), (each.price, each.quantity, each.at, each.maker, each.by_id)
        further = add_up.over(each.partition, each.code, *ids, *values, self.homes, self.state)
        while (row := further(row, count, self.grid)) != count:
            if row < 0 and self._begin(columns, ~row):
                row = ~row
                continue
            place, is_alone = max(row, ~row), row < 0
            candles = self._one(columns, place) if is_alone else self._before(columns, place)
            if candles:
                yield place, candles
            row = place + is_alone

    def _begin(self, columns: TradeColumns, row: int) -> bool:
        """Tell whether a row holds the first trade there is of a symbol, and sums may begin with it; if so, they do."""
        partition, code, at = int(columns.partition[row]), int(columns.code[row]), int(columns.at[row])
        if at == 0 or code < 0 or self.homes[code] != NOWHERE:
            return False
        builder = self.builder_of(partition, self.names[code])
        if not builder.begin(int((columns.id if columns.by_id[row] else columns.first)[row]), at):
            return False
        self.homes[code] = partition
        self._bound(code, builder)
        return True

    def _before(self, columns: TradeColumns, row: int) -> list[Candle]:
        """Have a builder take its symbol's sums, unless the trade in a row fits them still, and close what that makes due."""
        code, at = int(columns.code[row]), int(columns.at[row])
        mine = self.state[code]
        is_due = at >= mine[DUE_AT]
        if not is_due or mine[OPENED_AT] != at - at % self.grid:
            self.take(code)
        if not is_due:
            return []
        builder = self.builder_of(int(self.homes[code]), self.names[code])
        candles = builder.reach(at)
        _, _, mine[FROM_AT], mine[DUE_AT] = builder.bounds()  # ids are the sums' to say, as long as they are not taken
        return candles

    def _bound(self, code: int, builder: CandleBuilder) -> None:
        mine = self.state[code]
        mine[NEXT_ID], mine[KNOWN_FROM], mine[FROM_AT], mine[DUE_AT] = builder.bounds()

    def _one(self, columns: TradeColumns, row: int) -> list[Candle]:
        """Give one record to its builder, after the sums of what came before it."""
        partition, code = int(columns.partition[row]), int(columns.code[row])
        symbol, item = columns.item(row, self.names)
        if isinstance(item, BadRecord):
            return []
        builder, is_home = self.builder_of(partition, symbol), self.is_home(partition, code)
        if is_home:
            self.take(code)
        candles = builder.add(item) if isinstance(item, Trade) else builder.heartbeat(item)
        if is_home:
            self._bound(code, builder)
        return candles

    def tell(self, code: int, of: list[int]) -> None:
        """Have a builder take its symbol's sums."""
        builder = self.builder_of(int(self.homes[code]), self.names[code])
        builder.state.ids.duplicates += of[DUPLICATES]
        if of[RECORDS]:
            quote = of[QUOTE] % WORD + (of[QUOTE + 1] << 64)
            taker_quote = of[TAKER_QUOTE] % WORD + (of[TAKER_QUOTE + 1] << 64)
            prices = of[OPEN], of[HIGH], of[LOW], of[CLOSE]
            sums = of[VOLUME], quote, of[COUNT], of[TAKER], taker_quote
            window = Window(of[OPENED_AT], *prices, *sums, of[FIRST], of[LAST])
            builder.add_sums(window, of[RECORDS], of[NEXT_ID] - 1, of[LAST_AT], of[LATEST_AT])
