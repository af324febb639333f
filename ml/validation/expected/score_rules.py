"""What features and scores must be: pure rules, a truth for each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ml.validation.expected.candle_rules import Truth


def quantiles_in_order(frame: pd.DataFrame) -> Truth:
    """Whether no quantile of a forecast lies below a lower one, at any horizon. Column: forecasts."""
    return np.array([_is_ordered(one) for one in frame["forecasts"]], np.bool_)


def shares_sum_to_one(frame: pd.DataFrame, within: float) -> Truth:
    """Whether the probabilities of buying, holding and selling sum to one, but for `within`; those that abstain have none.

    Columns: buy, hold, sell.
    """
    shares = frame[["buy", "hold", "sell"]].astype(np.float64).to_numpy()
    is_none = np.isnan(shares).all(axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray(is_none | (np.abs(shares.sum(axis=1) - 1.0) <= within), np.bool_)


def score_or_reason(frame: pd.DataFrame) -> Truth:
    """Whether a score says something or why it does not. Columns: forecasts, action, risk, abstained."""
    says = frame["risk"].notna() | (frame["action"].fillna("") != "") | frame["forecasts"].map(_length).gt(0)
    return np.asarray(says | (frame["abstained"].fillna("") != ""), np.bool_)


def finite(frame: pd.DataFrame) -> Truth:
    """Whether no number of a row is infinite; unknown ones may be. Any columns of numbers."""
    return np.asarray(~np.isinf(frame.to_numpy(np.float64)).any(axis=1), np.bool_)


def _length(value: object) -> int:
    return len(value) if hasattr(value, "__len__") else 0


def _is_ordered(forecasts: Sequence[Mapping[str, Sequence[float]]] | None) -> bool:
    if not _length(forecasts) or forecasts is None:
        return True
    return all(bool(np.all(np.diff(np.asarray(one["log_returns"], np.float64)) >= 0)) for one in forecasts)
