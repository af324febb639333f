"""Candles to features: all rows for training, the last few for the live scorer, the same numbers to the last bit."""

from __future__ import annotations

import numpy as np
import pandas as pd

from quantstream.features.definitions import DEFINITIONS, WARMUP, Definition
from quantstream.features.grid import STEP_US, Grid, grid_of, opened_at_us
from quantstream.windows import Floats


def compute(candles: pd.DataFrame, rows: int | None = None) -> pd.DataFrame:
    """Return the features (columns `NAMES`) of one symbol's closed candles, one row each with the candles' own index.

    Row i uses rows up to i, at most `WARMUP` five-minute steps back. With `rows` only that many of the last rows are
    returned, the same numbers, faster: the live path. Raises: DataRejected as `grid_of`.
    """
    wanted = None
    index = candles.index
    if rows is not None and len(candles) and "opened_at" in candles.columns:
        at = opened_at_us(candles)
        first = at[max(len(at) - rows, 0)]
        candles = candles.iloc[max(int(np.searchsorted(at, first - WARMUP * STEP_US, side="right")) - 1, 0) :]
        wanted, index = int((at[-1] - first) // STEP_US) + 1, index[-rows:]
    grid = grid_of(candles, wanted)
    place = (opened_at_us(candles)[-len(index) :] - grid.at[:1]) // STEP_US
    with np.errstate(invalid="ignore", divide="ignore"):
        values = {name: _evaluate(definition, grid)[place - len(grid.at)] for name, definition in DEFINITIONS.items()}
    present = np.isfinite(grid.close[place])
    return pd.DataFrame({name: np.where(present, column, np.nan) for name, column in values.items()}, index=index)


def _evaluate(definition: Definition, grid: Grid) -> Floats:
    return definition.formula(grid.tail(definition.back))
