"""What the trades of a ledger come to: earned before and after costs, the costs at which nothing is left, and how sure that is.

Money is exact, in 10⁻¹⁶ of the quote currency; bp are of a trade's value at its entry. Bounds are 95 %, by the bootstrap over
whole days (`ml.evaluation.bootstrap`). Of few trades or days there are none: an interval of a handful would be a number made up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ml.backtest.booking import Trade
from ml.backtest.costs import BP
from ml.evaluation import bootstrap
from quantstream.core.rolling import Floats
from quantstream.core.time import DAY

FEWEST_TRADES = 50  # before their earnings say anything
FEWEST_BLOCKS = 10  # days, or quarters of days, that they are drawn by
Bounds = tuple[float, float]


@dataclass(frozen=True)
class Figures:
    """Of all trades together. None is what cannot be said of so few of them."""

    trades: int
    blocks: str  # how many days, or quarters of days, they were decided on
    gross: int
    fees: int
    slippage: int
    turnover: int  # of both sides
    net_bp: float | None = None  # mean of the trades
    gross_bp: float | None = None
    net_bounds: Bounds | None = None
    gross_bounds: Bounds | None = None
    break_even_bp: Fraction | None = (
        None  # costs of a side that would leave nothing, exact; below zero: it loses before costs
    )
    break_even_bounds: Bounds | None = None
    hit_rate: float | None = None  # share of the trades that earned something after costs
    drawdown: int = 0  # deepest fall of what was earned after costs, trades counted as they end
    days: float = 0.0  # from the first entry to the last exit
    exposure: float | None = None  # share of that time with a trade open
    mean_open: float | None = None  # trades open, in the mean over that time
    most_open: int = 0  # trades open at once

    @property
    def net(self) -> int:
        """What is left after costs."""
        return self.gross - self.fees - self.slippage

    @property
    def is_enough(self) -> bool:
        """Whether there are trades and days enough to tell anything of an edge."""
        return self.net_bounds is not None

    @property
    def is_edge(self) -> bool:
        """Whether it surely earned something after costs."""
        return self.net_bounds is not None and self.net_bounds[0] > 0


def figures_of(trades: Sequence[Trade]) -> Figures:
    """Return the figures of some trades, in any order."""
    blocks = bootstrap.blocks_of(_times(trades, lambda trade: trade.decision.decided_at))
    sums = [sum(each) for each in zip(*((t.gross, t.fees, t.slippage, t.turnover) for t in trades), strict=True)]
    if not trades:
        return Figures(0, "no days", 0, 0, 0, 0)
    gross, fees, slippage, turnover = sums
    earned = [np.array([trade.in_bp(money(trade)) for trade in trades]) for money in (_net, _gross)]
    is_enough = len(trades) >= FEWEST_TRADES and blocks.count >= FEWEST_BLOCKS
    ones, values = np.ones(len(trades)), np.array([float(trade.turnover) for trade in trades])
    sums_of = ((earned[0], ones), (earned[1], ones), (BP * np.array([float(trade.gross) for trade in trades]), values))
    bounds = [_bounds(above, below, blocks) if is_enough else None for above, below in sums_of]
    days, exposure, mean_open, most_open = _exposure(trades)
    return Figures(
        *(len(trades), str(blocks), gross, fees, slippage, turnover),
        *(float(earned[0].mean()), float(earned[1].mean()), bounds[0], bounds[1]),
        break_even_bounds=bounds[2],
        break_even_bp=Fraction(gross * BP, turnover),
        hit_rate=sum(trade.net > 0 for trade in trades) / len(trades),
        drawdown=_drawdown(trades),
        days=days,
        exposure=exposure,
        mean_open=mean_open,
        most_open=most_open,
    )


def _net(trade: Trade) -> int:
    return trade.net


def _gross(trade: Trade) -> int:
    return trade.gross


def _times(trades: Sequence[Trade], of: Callable[[Trade], int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array([of(trade) for trade in trades], dtype=np.int64)


def _bounds(above: Floats, below: Floats, blocks: bootstrap.Blocks) -> Bounds:
    """The bounds of a ratio of two sums over the trades."""
    total, count = (np.bincount(blocks.of_row, each) for each in (above, below))
    return bootstrap.interval(blocks.of_row, lambda weight: float(weight @ total) / max(float(weight @ count), 1.0))


def _drawdown(trades: Sequence[Trade]) -> int:
    """The deepest fall from a highest point, which the beginning is, too."""
    at_end = sorted(
        trades, key=lambda trade: (trade.position.exited_at, trade.decision.symbol, trade.decision.opened_at)
    )
    earned = highest = deepest = 0
    for trade in at_end:
        earned += trade.net
        highest = max(highest, earned)
        deepest = max(deepest, highest - earned)
    return deepest


def _exposure(trades: Sequence[Trade]) -> tuple[float, float | None, float | None, int]:
    """Days from the first entry to the last exit; of them the share with a trade open, the mean number open and the most."""
    entered = np.sort(_times(trades, lambda trade: trade.position.entered_at))
    exited = np.sort(_times(trades, lambda trade: trade.position.exited_at))
    at = np.unique(np.concatenate([entered, exited]))
    still = np.searchsorted(entered, at, side="right") - np.searchsorted(exited, at, side="right")
    span, lengths = int(at[-1] - at[0]), np.diff(at)
    if not span:
        return 0.0, None, None, 0
    open_time, weighted = int(lengths[still[:-1] > 0].sum()), int((lengths * still[:-1]).sum())
    return span / DAY, open_time / span, weighted / span, int(still.max())
