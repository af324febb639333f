"""Candles to features: all rows for training, the last few of all symbols at once for the live scorer, the same numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from quantstream.core.rolling import Floats
from quantstream.features.definitions import DEFINITIONS, NAMES, WARMUP
from quantstream.features.grid import Grid, grid_of, grid_of_whole, together
from quantstream.features.series import STEP_US, Series, opened_at_us

TOGETHER = 16  # symbols in one pass: more do not fit a core's cache


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
    values = _evaluated(grid)[place - len(grid.at)]
    return pd.DataFrame(values, index=index, columns=list(NAMES))


def newest(histories: Sequence[Series], rows: int = 1, names: Sequence[str] = NAMES) -> Floats:
    """Return features at the newest candle of each symbol and the `rows - 1` places before: (symbols, rows, names).

    A place without a sound candle is NaN, as are places before the first one. Symbols do not influence each other.
    Raises: DataRejected as `grid_of`.
    """
    result = np.full((len(histories), rows, len(names)), np.nan)
    for places, grid in grids(histories, rows):
        result[places, rows - grid.rows :] = _evaluated(grid, names)
    return result


def grids(histories: Sequence[Series], rows: int) -> Iterator[tuple[list[int], Grid]]:
    """Yield grids of the newest `rows` places and all that features read before them, and which of the symbols they hold.

    A history of less than `rows` places gives as many as it has. Raises: DataRejected as `grid_of`.
    """
    alike: dict[tuple[int, int, bool], list[tuple[int, Grid]]] = {}
    for i, series in enumerate(histories):
        if len(series):
            grid, is_whole = _grid(series, rows)
            alike.setdefault((grid.size, grid.rows, is_whole), []).append((i, grid))
    for found in alike.values():
        for start in range(0, len(found), TOGETHER):
            some = found[start : start + TOGETHER]
            yield [i for i, _ in some], together([grid for _, grid in some])


def _grid(series: Series, rows: int) -> tuple[Grid, bool]:
    """One symbol's grid, and whether nothing is missing in it."""
    size = min(len(series), WARMUP + rows)
    if series.is_whole(size):
        return grid_of_whole(series, size, min(rows, size)), True
    first = series.at[-1] - (WARMUP + rows - 1) * STEP_US
    begin = max(int(np.searchsorted(series.at, first, side="right")) - 1, 0)
    grid = grid_of(series.tail(len(series) - begin))
    return replace(grid, wanted=min(rows, grid.size)), False


def _evaluated(grid: Grid, names: Sequence[str] = NAMES) -> Floats:
    """Return (…, rows, names)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        definitions = [DEFINITIONS[name] for name in names]
        columns = [one.formula(grid.tail(one.back))[..., -grid.rows :] for one in definitions]
    values = np.stack(columns, axis=-1)
    values[~np.isfinite(grid.ago(grid.close))] = np.nan
    return values
