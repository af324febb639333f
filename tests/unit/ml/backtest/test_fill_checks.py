"""The look-ahead check: silent about the fills that serve, red for every one that cheats."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ml.backtest.candle_fills import CandleTape, fill_on_candles
from ml.backtest.fill_checks import faults, faults_on_candles
from ml.backtest.fills import Exit, Order, Position, Rules, Tape, Unfilled, fill
from quantstream.core.decimals import UNIT
from quantstream.core.time import HOUR, MINUTE, SECOND
from tests.unit.ml.backtest import acted

MARKET = acted.market(hours=4)
TAPE = Tape(MARKET.at, MARKET.price, np.zeros(len(MARKET.at), dtype=np.intp))
RULES = Rules()
ORDERS = [
    Order(side, MARKET.begins + place * 5 * MINUTE + SECOND, MARKET.begins + place * 5 * MINUTE + HOUR, 0.004)
    for place in range(1, 30)
    for side in (1, -1)
]


def minutes() -> CandleTape:
    frame = MARKET.candles.iloc[acted.QUIET :]
    columns = [(frame[name].to_numpy() * UNIT).round().astype(np.int64) for name in ("open", "high", "low")]
    at = MARKET.begins + 5 * MINUTE * np.arange(len(frame), dtype=np.int64)
    return CandleTape(at, *columns, frame["volume"].to_numpy() > 0, 5 * MINUTE)  # type: ignore[call-arg]


def test_the_fills_that_serve_know_nothing_but_what_lies_between_order_and_exit() -> None:
    candles = minutes()
    for filled in (
        [fill(one, TAPE, RULES) for one in ORDERS],
        [fill_on_candles(one, candles, RULES) for one in ORDERS],
    ):
        assert {one.reason for one in filled if isinstance(one, Position)} == set(Exit)
    assert [fault for one in ORDERS for fault in faults(one, TAPE, RULES)] == []
    assert [fault for one in ORDERS for fault in faults_on_candles(one, candles, RULES)] == []


def early(order: Order, tape: Tape, rules: Rules) -> Position | Unfilled:
    """Enter at the trade before the order could arrive."""
    found = fill(order, tape, rules)
    if not isinstance(found, Position):
        return found
    place = int(np.searchsorted(tape.at, order.decided_at + rules.latency))
    return found._replace(entered_at=int(tape.at[place - 1]), entry=int(tape.price[place - 1]))


def hindsight(order: Order, tape: Tape, rules: Rules) -> Position | Unfilled:
    """Leave a second before the end only if the price is higher a trade later."""
    found = fill(order, tape, rules)
    if not isinstance(found, Position):
        return found
    later = int(np.searchsorted(tape.at, found.exited_at, side="right"))
    return found._replace(exit=max(found.exit, int(tape.price[min(later, len(tape.at) - 1)])))


def shifted(order: Order, tape: Tape, rules: Rules) -> Position | Unfilled:
    """Fill on a tape whose prices came one trade too early."""
    return fill(order, replace(tape, price=np.roll(tape.price, -1)), rules)


def test_a_fill_from_before_the_order_is_found() -> None:
    said = [fault for one in ORDERS for fault in faults(one, TAPE, RULES, early)]
    assert len(said) > len(ORDERS) / 2
    assert set(said) == {"other prices before the order could arrive make another trade of it"}


def test_a_fill_that_knows_what_comes_after_its_exit_is_found() -> None:
    for cheat in (hindsight, shifted):
        said = [fault for one in ORDERS for fault in faults(one, TAPE, RULES, cheat)]
        assert len(said) > len(ORDERS) / 3
        assert set(said) == {"other prices after the exit make another trade of it"}


def test_candles_that_are_known_as_they_open_are_found() -> None:
    def knows_the_close(order: Order, tape: CandleTape, rules: Rules) -> Position | Unfilled:
        return fill_on_candles(order, replace(tape, open=np.roll(tape.open, -1)), rules)

    candles = minutes()
    said = [fault for one in ORDERS for fault in faults_on_candles(one, candles, RULES, knows_the_close)]
    assert len(said) > len(ORDERS) / 2
