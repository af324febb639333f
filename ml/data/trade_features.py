"""Features of a single trade against the trades just before it: O(1) per trade, exact sums over a finite memory.

One class serves the live detector and training. Everything is measured against the past only, and the past is a ring of
integers, so that what a trade looks like depends on the last `REACH` trades of its symbol and on nothing else.

Fat fingers that came before must not hide the next: what a trade adds to the σ is capped at some times the usual, and so is its
weight in the VWAP (winsorising; Huber 1981). The caps follow from uncapped means, or what a trade looks like would depend on all
that ever was.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from math import exp, log, log1p

import numpy as np

from quantstream.core.rolling import Floats
from quantstream.core.trade import Trade

NAMES = ("vwap_deviation", "tick_move", "relative_size", "inter_arrival", "side_run")
MEMORY = 512  # trades: some seconds of a busy symbol, hours of a quiet one
REACH = (
    4 * MEMORY
)  # a σ of capped deviations, caps of the usual deviation, that from a VWAP, its weights' caps of the usual size
FEWEST = 64  # before so many trades are known, nothing is strange
SCALE = 10**12  # logs are kept as integers of 10⁻¹²: sums of them are exact, adding and taking away again
FLOOR = 20_000_000  # 0.2 bp in that scale: the bounce of one tick is not a deviation
NORMAL = 1.2533  # times the mean absolute value is a normal's standard deviation
MOST = 3  # times the usual deviation or move: what one trade adds to the σ at most
MOST_WEIGHT = 10  # times the usual size: what one trade weighs in the VWAP at most
LOG_WEIGHT = int(log(MOST_WEIGHT) * SCALE)
NOTHING = (0.0,) * len(NAMES)


class _Symbol:
    """The ring of one symbol's last trades and the exact sums over it."""

    __slots__ = ("count", "last_at", "last_log", "maker", "ring", "run", "sums")

    def __init__(self) -> None:
        self.ring: deque[tuple[int, ...]] = deque()  # of each trade what `sums` are the sums of
        self.sums = (0,) * 8  # quote, weight, deviation, move, size, gap, capped deviation, capped move
        self.last_log = self.last_at = self.run = 0
        self.count = 0  # trades so far
        self.maker = False

    def extend(
        self, prices: Iterable[int], quantities: Iterable[int], times: Iterable[int], makers: Iterable[bool]
    ) -> list[tuple[float, ...]]:
        """Take trades in, oldest first, and return the features of each; locals hold the state meanwhile, for speed."""
        found: list[tuple[float, ...]] = []
        ring, known = self.ring, len(self.ring)
        quote, amount, deviations, moves, sizes, gaps, far, fast = self.sums
        last_log, last_at, run, last_maker = self.last_log, self.last_at, self.run, self.maker
        for price, quantity, at, maker in zip(prices, quantities, times, makers, strict=True):
            weight = quantity or 1
            level, size = int(log(price) * SCALE), int(log(weight) * SCALE)
            deviation = move = gap = 0
            if known:
                deviation, move = level - int(log(quote / amount) * SCALE), level - last_log
                gap = at - last_at if at > last_at else 0
                if size - sizes // known > LOG_WEIGHT:
                    weight = int(exp(sizes / known / SCALE) * MOST_WEIGHT)
            run = min(run + 1, MEMORY) if known and maker == last_maker else 1
            is_known = known >= FEWEST
            found.append(_row(known, deviation, move, size, gap, run, far, fast, sizes, gaps) if is_known else NOTHING)
            deviation, move, value = abs(deviation), abs(move), price * weight
            near = min(deviation, MOST * max(deviations // known, FLOOR)) if is_known else deviation
            slow = min(move, MOST * max(moves // known, FLOOR)) if is_known else move
            ring.append((value, weight, deviation, move, size, gap, near, slow))
            if known == MEMORY:
                old = ring.popleft()
                value, weight, deviation, move = value - old[0], weight - old[1], deviation - old[2], move - old[3]
                size, gap, near, slow = size - old[4], gap - old[5], near - old[6], slow - old[7]
            else:
                known += 1
            quote, amount, deviations, moves = quote + value, amount + weight, deviations + deviation, moves + move
            sizes, gaps, far, fast = sizes + size, gaps + gap, far + near, fast + slow
            last_log, last_at, last_maker = level, at, maker
        self.sums = quote, amount, deviations, moves, sizes, gaps, far, fast
        self.last_log, self.last_at, self.run, self.maker = last_log, last_at, run, last_maker
        self.count += len(found)
        return found


def _row(
    known: int,
    deviation: int,
    move: int,
    size: int,
    gap: int,
    run: int,
    far: int,
    fast: int,
    sizes: int,
    gaps: int,
) -> tuple[float, ...]:
    """Return the features of a trade against the sums over the `known` trades before it, deviations and moves capped."""
    return (
        deviation / (NORMAL * max(far / known, FLOOR)),
        move / (NORMAL * max(fast / known, FLOOR)),
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

    def known(self, symbol: str) -> int:
        """Return how many trades of a symbol were taken in; what it looks like depends on its last `REACH`."""
        state = self._symbols.get(symbol)
        return state.count if state else 0

    def forget(self, symbol: str) -> None:
        """Drop what was remembered of a symbol."""
        self._symbols.pop(symbol, None)

    def market(self, symbol: str) -> tuple[float, float]:
        """Return the rolling VWAP (10⁻⁸) of a symbol seen before, and σ: the larger of those that prices are measured in."""
        state = self._symbols[symbol]
        quote, amount, *_, far, fast = state.sums
        return quote / amount, NORMAL * max(max(far, fast) / len(state.ring), FLOOR) / SCALE


def rows(trades: Iterable[Trade]) -> Floats:
    """Return (trades, names) of trades in order of time, as the live detector would see them.

    Where more trades of a symbol are missing than its memory holds, it begins anew: nothing is known of those just before.
    """
    state = TradeFeatures()
    found = []
    for trade, begins in segments(trades):
        if begins:
            state.forget(trade.symbol)
        found.append(state.push(trade))
    return np.array(found, dtype=np.float64).reshape(-1, len(NAMES))


def segments(trades: Iterable[Trade]) -> Iterator[tuple[Trade, bool]]:
    """Yield each trade and whether a segment of its symbol begins with it: more are missing before it than `MEMORY`."""
    last: dict[str, int] = {}
    for trade in trades:
        before = last.get(trade.symbol)
        yield trade, before is None or trade.first_trade_id - before > MEMORY + 1
        last[trade.symbol] = max(trade.last_trade_id, before or 0)
