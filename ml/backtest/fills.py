"""When and at which price a trade on a score is entered and left, on the market's own trades.

*Entry*: the first trade at or after the decision plus the latency. *Barriers* lie around the entry's price, as far as the
label's (`ml.data.labels.barrier`) in log. *Target*: an order resting at the barrier, filled at its price once a trade goes
**through** it; a trade at that very price may have been somebody else's. *Stop*: a trade that **touches** its barrier sets
it off, and it is filled by the next trade, or by the first after the stop's own latency. *Time*: what neither ended is
closed by the first trade at or after the horizon. The trade of the entry touches nothing. No price before the decision plus
the latency has a part in it, and none after the exit. After López de Prado, Advances in Financial Machine Learning, ch. 3,
but that orders are filled by trades and not by prices.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import exp
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from quantstream.core.time import SECOND

Units = npt.NDArray[np.int64]  # prices in 10⁻⁸, or times in µs
LATENCY = SECOND  # from the score to the order at the exchange
STOP_LATENCY = 0  # a stop rests at the exchange: the next trade fills it


class Exit(StrEnum):
    """What ended a trade."""

    TARGET = "target"
    STOP = "stop"
    TIME = "time"


class Unfilled(StrEnum):
    """Why an action has no trade in the ledger."""

    OPEN = "not over yet: the lake does not reach beyond its hour"
    LATE = "scored so late that its hour was over before an order could arrive"
    UNKNOWN_BARRIER = "no barrier: candles of the day before it are missing"
    QUIET = "nothing was traded between the order and the end of its hour"
    NO_PRICES = "trades and candles of its hour are missing"
    NOTHING_BOUGHT = "the notional buys less than the smallest quantity there is"


class Rules(NamedTuple):
    """How long orders take, in µs."""

    latency: int = LATENCY
    stop_latency: int = STOP_LATENCY


USUAL = Rules()


class Order(NamedTuple):
    """An action that is to be filled."""

    side: int  # 1 buys first, −1 sells first
    decided_at: int  # µs
    ends_at: int  # µs: the horizon
    width: float  # of the barriers, as a log return


class Position(NamedTuple):
    """A trade from its entry to its exit; times in µs, prices in 10⁻⁸."""

    entered_at: int
    entry: int
    exited_at: int
    exit: int
    reason: Exit


@dataclass(frozen=True)
class Tape:
    """Trades of one symbol by time and id. `breaks` counts, up to each trade, how often ids before it are missing."""

    at: Units
    price: Units
    breaks: npt.NDArray[np.intp]

    def is_whole(self, first: int, last: int) -> bool:
        """Whether no trade is missing from just before one place up to another: there must be one before it to tell."""
        return first > 0 and bool(self.breaks[last] == self.breaks[first - 1])


def barriers(order: Order, entry: int) -> tuple[int, int]:
    """Return the prices of target and stop around an entry's price, to the nearest 10⁻⁸."""
    return round(entry * exp(order.side * order.width)), round(entry * exp(-order.side * order.width))


def fill(order: Order, tape: Tape, rules: Rules = USUAL) -> Position | Unfilled:
    """Return the trade that an order comes to on a tape that reaches beyond its horizon; why there is none else.

    `Unfilled.NO_PRICES`: the tape ends too early, or trades are missing in it.
    """
    arrives = order.decided_at + rules.latency
    if arrives >= order.ends_at:
        return Unfilled.LATE
    first, end = (int(place) for place in np.searchsorted(tape.at, (arrives, order.ends_at)))
    if first == len(tape.at):
        return Unfilled.NO_PRICES
    if first == end:
        return Unfilled.QUIET if tape.is_whole(first, first) else Unfilled.NO_PRICES
    entry = int(tape.price[first])
    last, price, reason = _exit(order, tape, rules, (first, end))
    if last == len(tape.at) or not tape.is_whole(first, last):
        return Unfilled.NO_PRICES
    return Position(
        int(tape.at[first]), entry, int(tape.at[last]), int(tape.price[last]) if price is None else price, reason
    )


def _exit(order: Order, tape: Tape, rules: Rules, span: tuple[int, int]) -> tuple[int, int | None, Exit]:
    """Return the place of the trade that fills the exit, its price where that is the order's own, and what it was."""
    first, end = span
    target, stop = barriers(order, int(tape.price[first]))
    path = order.side * tape.price[first + 1 : end]
    through, touched = first_of(path > order.side * target), first_of(path <= order.side * stop)
    if through < touched:
        return first + 1 + through, target, Exit.TARGET
    if touched == len(path):
        return end, None, Exit.TIME
    place = first + 1 + touched
    filled = int(np.searchsorted(tape.at, tape.at[place] + rules.stop_latency))
    return max(place + 1, filled), None, Exit.STOP


def first_of(found: npt.NDArray[np.bool_]) -> int:
    """Return the first place that is true, the length where none is."""
    place = int(found.argmax()) if len(found) else 0
    return place if len(found) and found[place] else len(found)
