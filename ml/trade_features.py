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

    __slots__ = ("deviation", "gap", "last_at", "last_log", "move", "quantity", "quote", "ring", "run", "side", "size")

    def __init__(self) -> None:
        self.ring: deque[tuple[int, int, int, int, int, int]] = deque()
        self.quote = self.quantity = self.deviation = self.move = self.size = self.gap = 0
        self.last_log = self.last_at = self.run = 0
        self.side = False

    def push(self, trade: Trade) -> tuple[float, ...]:
        price, quantity = trade.price, max(trade.quantity, 1)
        level = int(log(price) * SCALE)
        known = len(self.ring)
        vwap = int(log(self.quote / self.quantity) * SCALE) if known else level
        deviation, move = level - vwap, level - self.last_log if known else 0
        size = int(log(quantity) * SCALE)
        gap = max(trade.traded_at - self.last_at, 0) if known else 0
        side = not trade.buyer_is_maker
        self.run = min(self.run + 1, MEMORY) if known and side == self.side else 1
        row = self._row(known, deviation, move, size, gap)
        self._take(price * quantity, quantity, abs(deviation), abs(move), size, gap)
        self.last_log, self.last_at, self.side = level, trade.traded_at, side
        return row

    def _row(self, known: int, deviation: int, move: int, size: int, gap: int) -> tuple[float, ...]:
        if known < FEWEST:
            return NOTHING
        return (
            deviation / (NORMAL * max(self.deviation / known, FLOOR)),
            move / (NORMAL * max(self.move / known, FLOOR)),
            (size - self.size / known) / SCALE,  # log of the size over the geometric mean of sizes
            log((gap + 1) / (self.gap / known + 1)),
            log1p(self.run),
        )

    def _take(self, *entry: int) -> None:
        self.ring.append(entry)  # type: ignore[arg-type]
        quote, quantity, deviation, move, size, gap = entry
        if len(self.ring) > MEMORY:
            old = self.ring.popleft()
            quote, quantity, deviation = quote - old[0], quantity - old[1], deviation - old[2]
            move, size, gap = move - old[3], size - old[4], gap - old[5]
        self.quote += quote
        self.quantity += quantity
        self.deviation += deviation
        self.move += move
        self.size += size
        self.gap += gap


class TradeFeatures:
    """The features of each trade as it comes, for any number of symbols."""

    def __init__(self) -> None:
        self._symbols: dict[str, _Symbol] = {}

    def push(self, trade: Trade) -> tuple[float, ...]:
        """Take a trade in and return its features (`NAMES`), measured against the trades of its symbol before it.

        All zero until the symbol has shown `FEWEST` trades.
        """
        state = self._symbols.get(trade.symbol)
        if state is None:
            state = self._symbols[trade.symbol] = _Symbol()
        return state.push(trade)

    def market(self, symbol: str) -> tuple[float, float]:
        """Return the rolling VWAP (10⁻⁸) of a symbol seen before, and σ: the larger of those that prices are measured in."""
        state = self._symbols[symbol]
        mean = max(state.deviation, state.move) / len(state.ring)
        return state.quote / state.quantity, NORMAL * max(mean, FLOOR) / SCALE


def rows(trades: Iterable[Trade]) -> Floats:
    """Return (trades, names) of trades in order of time, as the live detector would see them."""
    state = TradeFeatures()
    return np.array([state.push(trade) for trade in trades], dtype=np.float64).reshape(-1, len(NAMES))
