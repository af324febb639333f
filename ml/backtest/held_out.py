"""What acting on a signal would have earned on held-out candles: what `python -m ml evaluate` says beside its probabilities.

Only candles are there, so fills are `candle_fills`': an order that takes a second enters at the open after the next one,
five minutes late; where no time passes, at the next open, which nobody gets. A market's fill lies between the two, nearer
the second, so both are told. *Following* the expected move's sign on every candle asks what the probabilities are worth;
*acting* where it beats a round trip at some costs, or as the model itself does, asks what a user would have got.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd

from ml.backtest import booking
from ml.backtest.booking import Decision, Trade
from ml.backtest.candle_fills import CandleTape, fill_on_candles
from ml.backtest.costs import BP, FEES_BP, TAKER, Costs
from ml.backtest.figures import Bounds, Figures, figures_of
from ml.backtest.fills import USUAL, Order, Position, Rules
from ml.backtest.ledger import NOTIONAL
from ml.backtest.ledger_report import values
from ml.backtest.stored_scores import HORIZON
from ml.backtest.verdicts import edge
from ml.data import labels
from ml.data.dataset import Dataset, Rows
from ml.models import signal
from quantstream import features
from quantstream.core.decimals import UNIT
from quantstream.core.rolling import Floats

PROMPT = Rules(latency=0)
RULE = (
    "on five-minute candles: entered at the open of the first candle that opens 1 s or more after the scored one's close (five "
    "minutes late; without latency: at the next open), left at the target once a high or low goes through it, at the open after "
    "a candle that touches the stop (of a candle that does both the stop counts), or at the open an hour after the close"
)


def ledger_figures(
    data: Dataset, rows: Rows, said: Mapping[str, Floats], candles: Mapping[str, pd.DataFrame], cost: float
) -> tuple[dict[str, float], dict[str, Any]]:
    """Return what goes among the pooled figures of a signal's judgement, and the whole account in words and values.

    `said` holds of each row the model's action as `side` (1, 0, −1) and `edge`, its expected log return before costs;
    `candles` are each symbol's, as `ml.training.trial` reads them; `cost` is a round trip's, a share of the price. What
    cannot be said of so few trades is left out of the one, None in the other.
    """
    follow = np.sign(said["edge"])
    late, prompt = (_trades(data, rows, follow, candles, rules) for rules in (USUAL, PROMPT))
    own = Costs((Fraction(cost) / 2 * BP).limit_denominator(1000))
    following, at_once = (figures_of(list(_at(found, own))) for found in (late, prompt))
    acted = _trades(data, rows, said["side"], candles, USUAL)
    schemes = {"": (figures_of(list(_at(acted, own))), own)}
    for name, fee in FEES_BP.items():
        schemes[f"_{name}"] = figures_of(list(_beyond(late, said["edge"], Costs(fee)))), Costs(fee)
    pooled = {
        **_sure("break_even_bp", following.break_even_bp, following.break_even_bounds),
        **_sure("break_even_bp_no_latency", at_once.break_even_bp, at_once.break_even_bounds),
    }
    for name, (one, _) in schemes.items():
        pooled[f"ledger_trades{name}"] = float(one.trades)
        pooled |= _sure(f"ledger_net_bp{name}", one.net_bp, one.net_bounds)
    unfilled = (follow != 0) & np.array([one is None for one in late], dtype=bool)
    account = {"rule": RULE, "unfilled": int(unfilled.sum()), "following": _account(following, own)}
    return pooled, account | {name.lstrip("_") or "as_acted": _account(*each) for name, each in schemes.items()}


def _account(found: Figures, costs: Costs) -> dict[str, Any]:
    return {"verdict": _told(found, costs), **values(found)}


def _told(found: Figures, costs: Costs) -> str:
    return edge(found, costs) if found.trades else "Nothing was acted on, so nothing was earned and nothing paid"


def _sure(name: str, value: float | Fraction | None, bounds: Bounds | None) -> dict[str, float]:
    """A figure with its bounds; nothing where there are too few trades for any."""
    if value is None or bounds is None:
        return {}
    return {name: float(value), f"{name}_low": bounds[0], f"{name}_high": bounds[1]}


def _beyond(trades: Sequence[Trade | None], edge: Floats, costs: Costs) -> Iterator[Trade]:
    """The trades whose expected move beats a round trip at some costs, at those costs."""
    needed = float(2 * costs.side_bp / BP)
    return _at([one if size > needed else None for one, size in zip(trades, np.abs(edge), strict=True)], costs)


def _at(trades: Sequence[Trade | None], costs: Costs) -> Iterator[Trade]:
    """The same trades at other costs."""
    for one in trades:
        if one is not None:
            row = booking.book(one.decision, one.position, one.prices, costs, NOTIONAL)
            assert isinstance(row, Trade)
            yield row


def _trades(
    data: Dataset, rows: Rows, side: Floats, candles: Mapping[str, pd.DataFrame], rules: Rules
) -> list[Trade | None]:
    """Return the trade of each row at a taker's costs; None where there is none to be had."""
    width = labels.barrier(np.exp(data.matrix(rows, (signal.UNIT,))[:, 0]))
    tapes = {symbol: tape_of_frame(frame) for symbol, frame in candles.items()}
    found: list[Trade | None] = [None] * len(rows)
    for place in np.flatnonzero(side):
        symbol, at = data.symbols[data.symbol[rows[place]]], int(data.opened_at[rows[place]])
        close = at + features.STEP_US
        one = Decision(symbol, at, close, close, close + HORIZON, "", "", int(side[place]), float(width[place]))
        position = fill_on_candles(Order(one.side, close, one.ends_at, one.width), tapes[symbol], rules)
        if isinstance(position, Position):
            row = booking.book(one, position, "5m candles", TAKER, NOTIONAL)
            found[place] = row if isinstance(row, Trade) else None
    return found


def tape_of_frame(candles: pd.DataFrame) -> CandleTape:
    """Return a frame of five-minute candles (floats) as a tape, to the nearest 10⁻⁸; candles with holes in them are left out."""
    names = ("open", "high", "low")
    is_sound = np.isfinite(candles[list(names)].to_numpy()).all(axis=1)
    kept = candles[is_sound]
    opened, high, low = (np.round(kept[name].to_numpy() * UNIT).astype(np.int64) for name in names)
    traded = kept["volume"].to_numpy() > 0
    at = features.opened_at_us(candles)[is_sound]
    return CandleTape(at, opened, high, low, traded, features.STEP_US)
