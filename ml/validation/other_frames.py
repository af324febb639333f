"""Stored trades and scores, and the features of candles, as frames that are validated."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from ml.validation.candle_frames import Frames, days_of
from ml.validation.expected.decimals import plain, units
from quantstream import features

SINCE = ("usually_up", "tail_lean", "round_trip_cost")  # columns that a lake of before lacks until it is migrated
NO_DAYS = pd.DataFrame({"day": []})


def trade_frames(stored: pa.Table, skips: bool = False) -> Frames:
    """Return the frames of one symbol's stored trades; `skips`: of futures the aggregates' own ids are without gaps."""
    rows = stored.sort_by([("id", "ascending")])
    at = rows["traded_at"].cast(pa.int64()).to_numpy()
    frame = pd.DataFrame({name: plain(rows[name]) for name in rows.column_names if name not in ("date", "received_at")})
    frame["traded_at"], frame["day"], frame["by_id"] = at, pd.Categorical(days_of(at)), skips
    frame["received_at"] = (
        rows["received_at"].cast(pa.int64()).to_pandas() if "received_at" in rows.column_names else np.nan
    )
    frame["close_units"] = units(rows["price"])
    return Frames(frame, NO_DAYS)


def score_frames(stored: pa.Table) -> Frames:
    """Return the frames of one symbol's stored scores."""
    rows = stored.sort_by([("opened_at", "ascending"), ("revision", "ascending")])
    at = rows["opened_at"].cast(pa.int64()).to_numpy()
    frame = rows.drop_columns(["date"] if "date" in rows.column_names else []).to_pandas()
    frame["opened_at"], frame["day"] = at, days_of(at)
    absent = dict.fromkeys(set(SINCE) - set(frame.columns), np.nan)
    return Frames(frame.assign(**absent), NO_DAYS)


def feature_frames(candles: pd.DataFrame) -> Frames:
    """Return the frames of the features of one symbol's candles (columns as `Lake.candle_frame`)."""
    if not len(candles):
        empty = pd.DataFrame({name: np.zeros(0) for name in ("opened_at", *features.NAMES)}).assign(day=[])
        return Frames(empty, NO_DAYS.assign(unknown_share=[]))
    found = features.compute(candles)
    at = features.opened_at_us(candles)
    rows = found.reset_index(drop=True).assign(opened_at=at, day=days_of(at))
    is_warm = at >= at[0] + features.WARMUP * features.STEP_US
    is_unknown = rows[list(features.NAMES)].isna().any(axis=1) & is_warm
    share = is_unknown.groupby(rows["day"], sort=True).mean()
    days = pd.DataFrame({"day": share.index.astype(str), "unknown_share": share.to_numpy()})
    return Frames(rows, days)
