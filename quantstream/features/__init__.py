"""Features of one symbol's closed five-minute candles: one implementation, used by training and by the live scorer.

Live must equal batch exactly, so every feature looks back over a finite window and its sums are added up in an order that
depends on the window alone (a tree anchored at the window's end), never on where the array starts: no running sums, no
exponential memory. Candles are laid on a regular time grid first, so that a window is a stretch of time.

A value is NaN where it cannot be known: the history does not reach back over the whole window, or candles are missing in it
(windows up to 4 h need every candle, longer ones 90 %). Nothing is filled in. Prices and volumes enter as ratios only, so
their unit and size do not matter. A missing column of taker volume gives an imbalance of 0.
"""

from quantstream.features.computing import compute, grids, newest
from quantstream.features.definitions import DEFINITIONS, FEATURE_HASH, NAMES, WARMUP, Definition
from quantstream.features.grid import (
    ABNORMAL_QUANTILE,
    DAY,
    HOUR,
    MONTH,
    RMS_FLOOR,
    WEEK,
    Grid,
    abnormal_threshold,
    grid_of,
)
from quantstream.features.series import COLUMNS, REQUIRED, STEP_US, Series, opened_at_us, run_of, series_of

__all__ = [
    "ABNORMAL_QUANTILE",
    "COLUMNS",
    "DAY",
    "DEFINITIONS",
    "FEATURE_HASH",
    "HOUR",
    "MONTH",
    "NAMES",
    "REQUIRED",
    "RMS_FLOOR",
    "STEP_US",
    "WARMUP",
    "WEEK",
    "Definition",
    "Grid",
    "Series",
    "abnormal_threshold",
    "compute",
    "grid_of",
    "grids",
    "newest",
    "opened_at_us",
    "run_of",
    "series_of",
]
