"""Whether a fill knew what it could not: prices from before the order could arrive, or after the exit, must change nothing.

Each is filled once more on prices that are spoilt there, doubled and halved; a row that comes out otherwise looked ahead, or
behind the latency.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ml.backtest.candle_fills import CandleTape, fill_on_candles
from ml.backtest.fills import Exit, Order, Position, Rules, Tape, Unfilled, Units, fill

Places = npt.NDArray[np.bool_]
AROUND = 50  # trades or candles before the order and after the horizon that are spoilt
FACTORS = (2.0, 0.5)
AnyTape = TypeVar("AnyTape", Tape, CandleTape)
Filler = Callable[[Order, AnyTape, Rules], Position | Unfilled]


def faults(order: Order, tape: Tape, rules: Rules, filler: Filler[Tape] = fill) -> list[str]:
    """Return what is wrong with the fill of an order on trades: nothing, or a sentence for each way of spoiling that matters."""
    some = _around(order, tape.at)
    tape = replace(tape, at=tape.at[some], price=tape.price[some], breaks=tape.breaks[some])
    found = filler(order, tape, rules)
    if not isinstance(found, Position):
        return []
    early = tape.at < order.decided_at + rules.latency
    late = tape.at > found.exited_at

    def spoilt(part: Places, factor: float) -> Tape:
        return replace(tape, price=_times(tape.price, part, factor))

    return _differences(found, lambda part, factor: filler(order, spoilt(part, factor), rules), early, late)


def faults_on_candles(
    order: Order, tape: CandleTape, rules: Rules, filler: Filler[CandleTape] = fill_on_candles
) -> list[str]:
    """Return the same of a fill on candles: of the candle whose open closes a trade, all but the open is later, too."""
    some = _around(order, tape.at)
    columns = {name: getattr(tape, name)[some] for name in ("at", "open", "high", "low", "has_trades")}
    tape = replace(tape, **columns)
    found = filler(order, tape, rules)
    if not isinstance(found, Position):
        return []
    early = tape.at < order.decided_at + rules.latency
    begins = found.exited_at - (tape.length if found.reason is Exit.TARGET else 0)
    late = tape.at > begins
    inside = late if found.reason is Exit.TARGET else tape.at >= begins

    def spoilt(part: Places, factor: float) -> CandleTape:
        within = inside if part is late else part
        high, low = (_times(values, within, factor) for values in (tape.high, tape.low))
        return replace(tape, open=_times(tape.open, part, factor), high=high, low=low)

    return _differences(found, lambda part, factor: filler(order, spoilt(part, factor), rules), early, late)


def _differences(
    found: Position, again: Callable[[Places, float], Position | Unfilled], early: Places, late: Places
) -> list[str]:
    said = []
    for when, part in (("before the order could arrive", early), ("after the exit", late)):
        if any(again(part, factor) != found for factor in FACTORS):
            said.append(f"other prices {when} make another trade of it")
    return said


def _around(order: Order, at: Units) -> slice:
    first, end = (int(place) for place in np.searchsorted(at, (order.decided_at, order.ends_at)))
    return slice(max(first - AROUND, 0), end + AROUND)


def _times(prices: Units, part: Places, factor: float) -> Units:
    return np.where(part, (prices * factor).astype(np.int64), prices)
