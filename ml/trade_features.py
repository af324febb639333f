"""Features of a single trade against the trades just before it: O(1) per trade, exact sums over a finite memory.

One class serves the live detector and training. Everything is measured against the past only, and the past is a ring of
integers, so that what a trade looks like depends on the last `MEMORY` trades of its symbol and on nothing else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import log, log1p

import numpy as np

from quantstream.market import Trade
from quantstream.windows import Floats

NAMES = ("vwap_deviation", "tick_move", "relative_size", "inter_arrival", "side_run")
MEMORY = 512  # trades: some seconds of a busy symbol, hours of a quiet one
FEWEST = 64  # before so many trades are known, nothing is strange
SCALE = 10**12  # logs are kept as integers of 10⁻¹²: sums of them are exact, adding and taking away again
FLOOR = 20_000_000  # 0.2 bp in that scale: the bounce of one tick is not a deviation
NORMAL = 1.2533  # times the mean absolute value is a normal's standard deviation, and one outlier hardly moves it
NOTHING = (0.0,) * len(NAMES)


class _Symbol:
    """The ring of one symbol's last trades and the exact sums over it."""

    __slots__ = ("deviation", "gap", "last_at", "last_log", "maker", "move", "quantity", "quote", "ring", "run", "size")

    def __init__(self) -> None:
        self.ring: deque[tuple[int, int, int, int, int, int]] = deque()
        self.quote = self.quantity = self.deviation = self.move = self.size = self.gap = 0
        self.last_log = self.last_at = self.run = 0
        self.maker = False

    def extend(
        self, prices: Iterable[int], quantities: Iterable[int], times: Iterable[int], makers: Iterable[bool]
    ) -> list[tuple[float, ...]]:
        """Take trades in, oldest first, and return the features of each; locals hold the state meanwhile, for speed."""
        found: list[tuple[float, ...]] = []
        ring, quote, amount = self.ring, self.quote, self.quantity
        deviations, moves, sizes, gaps = self.deviation, self.move, self.size, self.gap
        last_log, last_at, run, last_maker = self.last_log, self.last_at, self.run, self.maker
        known = len(ring)
        for price, quantity, at, maker in zip(prices, quantities, times, makers, strict=True):
            quantity = quantity or 1
            level, size = int(log(price) * SCALE), int(log(quantity) * SCALE)
            deviation = level - int(log(quote / amount) * SCALE) if known else 0
            move = level - last_log if known else 0
            gap = at - last_at if known and at > last_at else 0
            run = min(run + 1, MEMORY) if known and maker == last_maker else 1
            sums = deviations, moves, sizes, gaps
            found.append(_row(known, deviation, move, size, gap, run, *sums) if known >= FEWEST else NOTHING)
            deviation, move, value = abs(deviation), abs(move), price * quantity
            ring.append((value, quantity, deviation, move, size, gap))
            if known == MEMORY:
                old = ring.popleft()
                value, quantity, deviation = value - old[0], quantity - old[1], deviation - old[2]
                move, size, gap = move - old[3], size - old[4], gap - old[5]
            else:
                known += 1
            quote, amount = quote + value, amount + quantity
            deviations, moves, sizes, gaps = deviations + deviation, moves + move, sizes + size, gaps + gap
            last_log, last_at, last_maker = level, at, maker
        self.quote, self.quantity = quote, amount
        self.deviation, self.move, self.size, self.gap = deviations, moves, sizes, gaps
        self.last_log, self.last_at, self.run, self.maker = last_log, last_at, run, last_maker
        return found


def _row(
    known: int,
    deviation: int,
    move: int,
    size: int,
    gap: int,
    run: int,
    deviations: int,
    moves: int,
    sizes: int,
    gaps: int,
) -> tuple[float, ...]:
    """Return the features of a trade against the sums over the `known` trades before it."""
    return (
        deviation / (NORMAL * max(deviations / known, FLOOR)),
        move / (NORMAL * max(moves / known, FLOOR)),
        (size - sizes / known) / SCALE,  # log of the size over the geometric mean of sizes
        log((gap + 1) / (gaps / known + 1)),
        log1p(run),
    )


class TradeFeatures:
    """The features of each trade as it comes, for any number of symbols."""

    def __init__(self) -> None:
        self._symbols: dict[str, _Symbol] = {}

    def push(self, trade: Trade) -> tuple[float, ...]:
        """Take a trade in and return its features (`NAMES`), measured against the trades of its symbol before it.

        All zero until the symbol has shown `FEWEST` trades.
        """
        return self.extend(trade.symbol, [trade.price], [trade.quantity], [trade.traded_at], [trade.buyer_is_maker])[0]

    def extend(
        self,
        symbol: str,
        prices: Iterable[int],
        quantities: Iterable[int],
        times: Iterable[int],
        makers: Iterable[bool],
    ) -> list[tuple[float, ...]]:
        """Take many trades of a symbol in, oldest first, and return the features of each, as `push` would."""
        state = self._symbols.get(symbol)
        if state is None:
            state = self._symbols[symbol] = _Symbol()
        return state.extend(prices, quantities, times, makers)

    def forget(self, symbol: str) -> None:
        """Drop what was remembered of a symbol."""
        self._symbols.pop(symbol, None)

    def market(self, symbol: str) -> tuple[float, float]:
        """Return the rolling VWAP (10⁻⁸) of a symbol seen before, and σ: the larger of those that prices are measured in."""
        state = self._symbols[symbol]
        mean = max(state.deviation, state.move) / len(state.ring)
        return state.quote / state.quantity, NORMAL * max(mean, FLOOR) / SCALE


def rows(trades: Iterable[Trade]) -> Floats:
    """Return (trades, names) of trades in order of time, as the live detector would see them."""
    state = TradeFeatures()
    return np.array([state.push(trade) for trade in trades], dtype=np.float64).reshape(-1, len(NAMES))
