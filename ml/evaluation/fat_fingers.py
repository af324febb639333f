"""Fat fingers put into real trades, with the truth kept, so that a detector can be judged.

A fat finger is an order typed wrong: a price far from the market, sometimes with a size many times the usual.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp

import msgspec
import numpy as np

from ml.data import trade_features
from ml.evaluation.bootstrap import blocks_of
from ml.evaluation.judgement import Loss
from ml.models.anomaly import AnomalyModel
from quantstream.core.trade import MAX_QUOTE, MAX_UNITS, Trade

EVERY = 200  # trades of a symbol between two of them
SMALLEST, LARGEST = 8.0, 30.0  # σ of the price
FARTHEST = 20.0  # log of a price's multiple: beyond it no trade could be written down
SIZES = (1, 60)  # times the trade's own size
WHOLE = 1.0  # what is missed is compared as a share of all fat fingers: a detector that misses none has no loss to be relative to
FEW = 0.05  # and alarms relative to one in twenty trades: a tolerance of 2 % is 100 alarms in 100,000


def inject(trades: Sequence[Trade], rng: np.random.Generator) -> tuple[list[Trade], list[int]]:
    """Return the trades, some replaced by fat fingers 8 to 30 σ off the rolling VWAP, and the places of those.

    VWAP and σ are those of the trades as they were: those before do not make the next one smaller or larger.
    """
    state = trade_features.TradeFeatures()
    result: list[Trade] = []
    places: list[int] = []
    count: dict[str, int] = {}
    for trade, begins in trade_features.segments(trades):
        if begins:
            state.forget(trade.symbol)
        count[trade.symbol] = 1 if begins else count[trade.symbol] + 1
        if count[trade.symbol] % EVERY == 0:
            vwap, sigma = state.market(trade.symbol)
            state.push(trade)
            offset = sigma * rng.uniform(SMALLEST, LARGEST) * float(rng.choice((-1, 1)))
            price = min(max(int(vwap * exp(min(offset, FARTHEST))), 1), MAX_UNITS)
            quantity = min(trade.quantity * int(rng.choice(SIZES)), MAX_UNITS, MAX_QUOTE // price)
            trade = msgspec.structs.replace(trade, price=price, quantity=quantity)
            places.append(len(result))
        else:
            state.push(trade)
        result.append(trade)
    return result, places


def trial(
    model: AnomalyModel, trades: Sequence[Trade], rng: np.random.Generator
) -> tuple[dict[str, float], dict[str, Loss]]:
    """Return the recall of injected fat fingers and the false alarms among the trades as they were; and both one by one."""
    flagged = model.score_trades(trade_features.rows(trades)) >= model.threshold
    spoilt, places = inject(trades, rng)
    caught = model.score_trades(trade_features.rows(spoilt)[places]) >= model.threshold
    at = np.array([trade.traded_at for trade in trades], dtype=np.int64)
    losses = {
        "missed_fat_fingers": Loss((~caught).astype(float), blocks_of(at[places]), floor=WHOLE),
        "false_alarms": Loss(flagged.astype(float), blocks_of(at), floor=FEW),
    }
    figures = {
        "fat_finger_recall": float(caught.mean()) if len(places) else float("nan"),
        "missed_fat_fingers": float((~caught).sum()),
        "fat_fingers": float(len(places)),
        "false_alarms_per_100k": float(flagged.mean() * 1e5) if len(flagged) else 0.0,
        "trades": float(len(trades)),
    }
    return figures, losses
