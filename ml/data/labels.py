"""What happened after a candle, known only later: the targets that models learn.

Each label of a row looks at most `HORIZON[label]` candles ahead, so that a split by time can purge the rows whose label
reaches over the boundary. Unknown (the future is not there, or a candle of it is missing) is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from quantstream.core.rolling import Floats
from quantstream.core.time import INTERVALS
from quantstream.features import (
    DAY,
    HOUR,
    MONTH,
    RMS_FLOOR,
    STEP_US,
    Grid,
    Series,
    abnormal_threshold,
    grid_of,
    grids,
    opened_at_us,
)
from quantstream.messages.models import HORIZONS

RETURNS = {f"return_{horizon}": INTERVALS[horizon] // STEP_US for horizon in HORIZONS}  # label → candles ahead
HORIZON = {**RETURNS, "action": HOUR, "abnormal": HOUR, "log_rms_next_1h": HOUR}
SELL, HOLD, BUY = 0, 1, 2
MIN_BARRIER = (
    0.002  # log return; what usual costs would eat is no target. One's own costs do not move what models learn
)


def compute(
    candles: pd.DataFrame, trailing: int = MONTH, rows: int | None = None, names: Sequence[str] = tuple(HORIZON)
) -> pd.DataFrame:
    """Return the labels of one symbol's candles, one row each with the candles' own index.

    Columns: forward log returns `return_5m`, `return_15m`, `return_1h`; `action` (0 Sell, 1 Hold, 2 Buy) by triple barrier;
    `abnormal` (0 or 1): the RMS of the next 12 returns exceeds the 90th percentile of that quantity over the `trailing`
    candles up to this one (30 days unless the history is shorter); `log_rms_next_1h`: the log of the RMS itself.
    With `rows` only that many of the last are returned, the same numbers, faster; with `names` only some columns.
    Raises: DataRejected as `features.grid_of`.
    """
    grid = grid_of(candles)
    index = candles.index if rows is None else candles.index[-rows:]
    at = opened_at_us(candles)
    place = (at - grid.at[:1])[len(at) - len(index) :] // STEP_US
    if rows is not None and len(place):
        grid = replace(grid, wanted=int(place[-1] - place[0]) + 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = {name: _values(name, grid, trailing) for name in names}
    return pd.DataFrame({name: column[place - len(grid.at)] for name, column in columns.items()}, index=index)


def newest(histories: Sequence[Series], rows: int, names: Sequence[str]) -> Floats:
    """Return the labels of the last `rows` places of each symbol, as far as they are known: (symbols, rows, names).

    Raises: DataRejected as `features.grid_of`.
    """
    result = np.full((len(histories), rows, len(names)), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        for places, grid in grids(histories, rows):
            values = [_values(name, grid, MONTH) for name in names]
            result[places, rows - grid.rows :] = np.stack(values, axis=-1)
    return result


def _values(name: str, grid: Grid, trailing: int) -> Floats:
    """One label on the last places of the grid: all, or those that are wanted."""
    if name in RETURNS:
        close = grid.ago(grid.close)
        return np.log(lead(close, RETURNS[name]) / close)
    if name == "action":
        return action(grid.tail(DAY))
    if name == "abnormal":
        return abnormal(grid.tail(trailing + HOUR - 1), trailing)
    return np.log(np.maximum(lead(grid.tail(HOUR).rms(HOUR), HOUR), RMS_FLOOR))


def ends_at(opened_at: npt.NDArray[np.int64], label: str) -> npt.NDArray[np.int64]:
    """Return when each row's label is known: the close of the last candle it looks at, µs."""
    return opened_at + (1 + HORIZON[label]) * STEP_US


def lead(values: Floats, count: int) -> Floats:
    """Return the values `count` positions later, NaN past the end."""
    moved = np.full(values.shape, np.nan)
    moved[..., : max(values.shape[-1] - count, 0)] = values[..., count:]
    return moved


def barrier(rms_1d: Floats) -> Floats:
    """Return the barriers' distance as a log return: one standard deviation of an hour's move, `MIN_BARRIER` at least."""
    width: Floats = np.maximum(rms_1d * np.sqrt(HOUR), MIN_BARRIER)
    return width


def action(grid: Grid) -> Floats:
    """Return which barrier the next hour touches first: the upper (Buy), the lower (Sell), neither or both at once (Hold).

    Triple barrier as in López de Prado, Advances in Financial Machine Learning, ch. 3.
    """
    width = barrier(grid.rms_1d)
    close, highs, lows = grid.ago(grid.close), grid.ago(grid.high), grid.ago(grid.low)
    outcome = np.full(close.shape, float(HOLD))
    is_open = np.ones(close.shape, dtype=bool)
    unknown = np.isnan(width)
    for ahead in range(1, HOUR + 1):
        high, low = np.log(lead(highs, ahead) / close), np.log(lead(lows, ahead) / close)
        unknown |= np.isnan(high)
        up, down = high >= width, low <= -width
        outcome[is_open & up & ~down] = BUY
        outcome[is_open & down & ~up] = SELL
        is_open &= ~(up | down)
    outcome[unknown] = np.nan
    return outcome


def abnormal(grid: Grid, trailing: int = MONTH) -> Floats:
    """Return 1 where the coming hour's RMS return exceeds the trailing 90th percentile known now, else 0."""
    coming, threshold = lead(grid.rms(HOUR), HOUR), abnormal_threshold(grid, trailing, HOUR)
    return np.where(np.isnan(coming) | np.isnan(threshold), np.nan, (coming > threshold).astype(np.float64))
