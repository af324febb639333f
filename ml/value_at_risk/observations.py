"""One symbol's candles as value at risk sees them: what is known at each close, and what came in the hour and day after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.data.labels import lead
from quantstream import features
from quantstream.core import time
from quantstream.core.rolling import Floats
from quantstream.features import DAY, HOUR, RMS_FLOOR, STEP_US

HAR = ("log_rms_1h", "log_rms_6h", "log_rms_24h", "log_rms_7d")  # Corsi 2009
SEASON = (
    *("hour_sin", "hour_cos", "half_day_sin", "half_day_cos", "week_sin", "week_cos"),
    *("new_york_hour_sin", "new_york_hour_cos", "new_york_half_day_sin", "new_york_half_day_cos"),
    "new_york_weekend_1h",
)
RANGES = ("log_parkinson_15m", "log_parkinson_1h", "log_parkinson_6h", "log_parkinson_24h")
NAMES = (*HAR, *RANGES, *SEASON)
# Slopes of the log variance of the coming hour and day in `NAMES`: fitted on BTC, ETH, SOL, XRP and BNB together, 2021-01 to
# 2022-12 (23,000 and 11,000 windows), each symbol's level its own. They are where a symbol's own regression starts from.
USUAL = {
    "1h": (
        *(0.276, -0.084, 0.215, 0.135, 0.551, -0.003, 0.728, -0.097),
        *(-0.076, -0.1, 0.044, 0.262, -0.046, 0.043, -0.007, 0.066, 0.123, 0.097, 0.045),
    ),
    "1d": (
        *(-0.035, 0.229, 0.804, 0.232, 0.255, 0.142, 0.159, -0.314),
        *(-0.06, 0.08, 0.032, -0.033, -0.232, -0.038, 0.116, 0.099, 0.017, -0.055, -0.06),
    ),
}
WARMUP = max(features.DEFINITIONS[name].back for name in NAMES)  # candles before the first row that all of them need


@dataclass(frozen=True)
class Horizon:
    """How far ahead risk is told, and how often a window of that length is taken from the past."""

    name: str
    candles: int
    every: int  # candles from the start of one window of the past to the next: they overlap

    @property
    def micros(self) -> int:
        """Its length in µs."""
        return self.candles * STEP_US


HORIZONS = (Horizon("1h", HOUR, 3), Horizon("1d", DAY, HOUR))


@dataclass(frozen=True)
class Observations:
    """A symbol's rows on the regular grid, one for each candle; times are those of the closes, µs."""

    closed_at: npt.NDArray[np.int64]  # (rows,)
    close: Floats  # (rows,)
    known: Floats  # (rows, NAMES): features at the close
    returns: Mapping[str, Floats]  # by horizon: the log return that came, NaN while it is not known
    variances: Mapping[str, Floats]  # by horizon: the sum of the squared five-minute returns that came

    def place(self, at: int) -> int | None:
        """Return the row whose candle closed at a time (µs), None where there is none or something is not known of it."""
        if not len(self.closed_at):
            return None
        place, rest = divmod(at - int(self.closed_at[0]), STEP_US)
        if rest or not 0 <= place < len(self.closed_at):
            return None
        is_known = np.isfinite(self.close[place]) and np.isfinite(self.known[place]).all()
        return int(place) if is_known else None


def observe(candles: pd.DataFrame) -> Observations:
    """Return what is seen of one symbol's candles (columns as `Lake.candle_frame`).

    A row of features reads `WARMUP` candles before it, and a number is NaN where it is not known. Raises: DataRejected as
    `features.grid_of`.
    """
    grid = features.grid_of(candles)
    known = features.newest([features.series_of(candles)], grid.size, NAMES)[0]
    with np.errstate(invalid="ignore", divide="ignore"):
        returns = {one.name: np.log(lead(grid.close, one.candles) / grid.close) for one in HORIZONS}
        variances = {one.name: _variance(grid, one.candles) for one in HORIZONS}
    return Observations(grid.at + time.SCORED_LENGTH, grid.close, known, returns, variances)


def _variance(grid: features.Grid, candles: int) -> Floats:
    """The sum of the squares that follow each row; of windows with a gap as of their mean, where nine in ten are known."""
    return np.asarray(np.maximum(lead(grid.rms(candles), candles), RMS_FLOOR) ** 2 * candles)
