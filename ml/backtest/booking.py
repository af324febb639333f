"""A row of the ledger: a score's action, its fills, and what they earned, exactly: net = gross − fees − slippage.

Each action is a trade of its own, of the same value at its entry, whether or not others of its symbol are still open: so the rows
say what the scores are worth, and not what money was free at the time. How much was open at once the figures tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ml.backtest.costs import BP, Costs, charged
from ml.backtest.fills import Position, Unfilled
from quantstream.core.decimals import UNIT


class Decision(NamedTuple):
    """A score that said Buy or Sell; times in µs."""

    symbol: str
    opened_at: int  # of the candle that was scored
    scored_at: int  # the scorer's clock
    decided_at: int  # when one could know of it, by the market's time
    ends_at: int  # the end of what it spoke of
    version: str
    role: str  # champion, challenger
    side: int  # 1 Buy, −1 Sell
    width: float  # of its barriers, as a log return; NaN where that is not known

    @property
    def action(self) -> str:
        """Buy or Sell."""
        return "Buy" if self.side > 0 else "Sell"


@dataclass(frozen=True, slots=True)
class Trade:
    """A trade that was filled; money in 10⁻¹⁶ of the quote currency, exact."""

    decision: Decision
    position: Position
    quantity: int  # 10⁻⁸
    fees: int
    slippage: int  # half the spread on each side with it
    prices: str  # what the fills were found in: trades, 1m candles, 5m candles

    @property
    def opened_value(self) -> int:
        """What it was worth at its entry."""
        return self.quantity * self.position.entry

    @property
    def turnover(self) -> int:
        """The values of both sides."""
        return self.quantity * (self.position.entry + self.position.exit)

    @property
    def gross(self) -> int:
        """What the prices earned."""
        return self.decision.side * self.quantity * (self.position.exit - self.position.entry)

    @property
    def net(self) -> int:
        """What is left after costs."""
        return self.gross - self.fees - self.slippage

    def in_bp(self, money: int) -> float:
        """Return money in basis points of the value at the entry."""
        return money * BP / self.opened_value


class Missed(NamedTuple):
    """An action without a trade, and why."""

    decision: Decision
    why: Unfilled


Row = Trade | Missed


def book(decision: Decision, position: Position, prices: str, costs: Costs, notional: int) -> Row:
    """Return the row of a filled action; `notional` is its value at the entry, in 10⁻⁸ of the quote currency."""
    quantity = notional * UNIT // position.entry
    if not quantity:
        return Missed(decision, Unfilled.NOTHING_BOUGHT)
    values = quantity * position.entry, quantity * position.exit
    fees, slippage = (sum(charged(value, rate) for value in values) for rate in (costs.fee_bp, costs.slip_bp))
    return Trade(decision, position, quantity, fees, slippage, prices)
