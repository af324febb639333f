"""What stored trades must be, in order of their ids: pure rules, a truth for each row."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ml.validation.expected.candle_rules import Truth


def ids_follow(frame: pd.DataFrame) -> Truth:
    """Whether each trade begins with the id after the one before, and ends no earlier than it begins.

    Of aggregates whose trades' ids skip (`by_id`) the own ids count. Columns: id, first_trade_id, last_trade_id, by_id.
    """
    by_id = frame["by_id"].to_numpy(np.bool_)
    own, first, last = (frame[name].to_numpy(np.int64) for name in ("id", "first_trade_id", "last_trade_id"))
    first, last = np.where(by_id, own, first), np.where(by_id, own, last)
    met = first <= last
    met[1:] &= first[1:] == last[:-1] + 1
    return met


def in_order(frame: pd.DataFrame) -> Truth:
    """Whether no trade is older than one with a lower id. Column: traded_at."""
    at = frame["traded_at"].to_numpy(np.int64)
    return np.asarray(at >= np.maximum.accumulate(at), np.bool_) if len(at) else np.zeros(0, np.bool_)


def near_before(frame: pd.DataFrame, farthest: float) -> Truth:
    """Whether a price is within `farthest` (log) of the trade's before or of the one's after it. Column: price."""
    price = np.log(frame["price"].where(frame["price"] > 0).to_numpy(np.float64))
    moved = np.abs(np.diff(price))
    if not len(moved):
        return np.ones(len(price), np.bool_)
    before, after = np.concatenate([[np.inf], moved]), np.concatenate([moved, [np.inf]])
    return np.asarray(~(np.fmin(before, after) > farthest), np.bool_)


def vary(frame: pd.DataFrame, longest: int) -> Truth:
    """Whether fewer than `longest` trades in a row are alike in price, quantity and time. Columns: these."""
    values = frame[["price", "quantity", "traded_at"]].to_numpy(np.float64)
    if not len(values):
        return np.zeros(0, np.bool_)
    begins = np.append(True, (values[1:] != values[:-1]).any(axis=1))
    run = np.cumsum(begins)
    return np.asarray(np.bincount(run)[run] < longest, np.bool_)
