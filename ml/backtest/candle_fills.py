"""The same fills where only candles are there: later, and coarser, and each such row says so.

*Entry*: the open of the first candle that opens at or after the decision plus the latency, and has trades. *Target*: at the
barrier in the first candle whose high (low, for a sale) goes through it. *Stop*: the open of the next candle with trades
after the one that touched it; of a candle that does both the stop counts. *Time*: the open of the first candle with trades
at or after the horizon. When in a candle a target was reached is not known, so its time is the candle's end. Against trades
it enters up to a candle later.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.backtest.fills import USUAL, Exit, Order, Position, Rules, Unfilled, Units, barriers, first_of


@dataclass(frozen=True)
class CandleTape:
    """Candles of one symbol and length (µs) in order of time; prices in 10⁻⁸. Those that are not complete are left out."""

    at: Units
    open: Units
    high: Units
    low: Units
    has_trades: npt.NDArray[np.bool_]
    length: int

    def traded_from(self, at: int) -> int:
        """Return the place of the first candle with trades that opens at or after a time; their number where there is none."""
        start = int(np.searchsorted(self.at, at))
        return start + first_of(self.has_trades[start:])

    def is_whole(self, since: int, last: int) -> bool:
        """Whether every candle is there from the first that can open at or after a time, up to one by its place."""
        start = -(-since // self.length) * self.length
        return int(np.searchsorted(self.at, start)) + (int(self.at[last]) - start) // self.length == last


def fill_on_candles(order: Order, tape: CandleTape, rules: Rules = USUAL) -> Position | Unfilled:
    """Return the trade that an order comes to, or why there is none, as `fills.fill` does of trades."""
    arrives = order.decided_at + rules.latency
    if arrives >= order.ends_at:
        return Unfilled.LATE
    first = tape.traded_from(arrives)
    if first == len(tape.at) or not tape.is_whole(arrives, first):
        return Unfilled.NO_PRICES
    if tape.at[first] >= order.ends_at:
        return Unfilled.QUIET
    last, price, reason = _exit(order, tape, rules, first)
    if last == len(tape.at) or not tape.is_whole(arrives, last):
        return Unfilled.NO_PRICES
    ended = int(tape.at[last]) + (tape.length if reason is Exit.TARGET else 0)
    return Position(
        int(tape.at[first]), int(tape.open[first]), ended, int(tape.open[last]) if price is None else price, reason
    )


def _exit(order: Order, tape: CandleTape, rules: Rules, first: int) -> tuple[int, int | None, Exit]:
    """Return the place of the candle of the exit, its price where that is not the candle's open, and what it was."""
    entry = int(tape.open[first])
    end = int(np.searchsorted(tape.at, order.ends_at))
    target, stop = barriers(order, entry)
    best, worst = (tape.high, tape.low) if order.side > 0 else (tape.low, tape.high)
    through = first_of(order.side * best[first:end] > order.side * target)
    touched = first_of(order.side * worst[first:end] <= order.side * stop)
    if through < touched:
        return first + through, target, Exit.TARGET
    if first + touched == end:
        return tape.traded_from(order.ends_at), None, Exit.TIME
    return tape.traded_from(int(tape.at[first + touched]) + tape.length + rules.stop_latency), None, Exit.STOP
