"""One symbol's candles on the regular time grid: what every feature and label reads.

A window of so many places is then a stretch of time, whatever candles are missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from quantstream.errors import DataRejected
from quantstream.windows import Floats, lag, window_mean, window_quantile

STEP_US = 300_000_000  # five minutes; window lengths below count candles of this length
HOUR, DAY, WEEK, MONTH = 12, 288, 2016, 8640
RMS_FLOOR = 1e-6  # a hundredth of a basis point: the log of a flat market's volatility stays finite
ABNORMAL_QUANTILE = 0.9
COLUMNS = ("open", "high", "low", "close", "volume", "taker_buy_volume")
REQUIRED = ("opened_at", "open", "high", "low", "close", "volume")


@dataclass(frozen=True)
class Grid:
    """One symbol's candles on the regular time grid, NaN where a candle is missing; what the definitions below read."""

    at: npt.NDArray[np.int64]  # opening times, µs
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    taker_buy_volume: Floats
    wanted: int | None = None  # how many places at the end are asked for; None for all

    def tail(self, back: int) -> Grid:
        """The last candles only: those asked for and `back` before them; the whole grid when all are asked for."""
        if self.wanted is None or (size := self.wanted + back) >= len(self.at):
            return self
        if size not in self._tails:
            columns = {name: getattr(self, name)[-size:] for name in ("at", *COLUMNS)}
            self._tails[size] = Grid(**columns, wanted=self.wanted)
        return self._tails[size]

    @cached_property
    def _tails(self) -> dict[int, Grid]:
        return {}

    @cached_property
    def returns(self) -> Floats:
        """Log returns from close to close."""
        return np.log(self.close / lag(self.close, 1))

    @cached_property
    def moves(self) -> Floats:
        """Absolute log returns."""
        return np.abs(self.returns)

    @cached_property
    def parkinson(self) -> Floats:
        """Each candle's variance from its high and low (Parkinson 1980)."""
        squares: Floats = np.log(self.high / self.low) ** 2 / (4 * np.log(2))
        return squares

    def rms(self, window: int) -> Floats:
        """Root mean square of the last `window` returns."""
        return np.sqrt(window_mean(self.returns**2, window, unknown=1))

    @cached_property
    def rms_1d(self) -> Floats:
        """The unit in which moves are measured, never zero."""
        return np.maximum(self.rms(DAY), RMS_FLOOR)


def abnormal_threshold(grid: Grid, trailing: int = MONTH) -> Floats:
    """Return the 90th percentile of the one-hour RMS return over the trailing candles: beyond it a move is abnormal."""
    return window_quantile(grid.rms(HOUR), trailing, ABNORMAL_QUANTILE, unknown=HOUR, rows=grid.wanted)


def ratio(above: Floats, below: Floats, otherwise: float = 0.0) -> Floats:
    """Return a quotient, `otherwise` where the divisor is zero, NaN where either is unknown."""
    safe = np.where(below == 0, 1.0, below)
    return np.where(np.isnan(above), np.nan, np.where(below == 0, otherwise, above / safe))


def log_root(squares: Floats) -> Floats:
    """Return the log of the square root of mean squares, never below the floor."""
    return np.log(np.maximum(np.sqrt(np.maximum(squares, 0)), RMS_FLOOR))


def opened_at_us(candles: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Return the opening times as µs since the epoch; times without a zone are taken as UTC."""
    if (
        str(candles["opened_at"].dtype) == "datetime64[us, UTC]"
    ):  # as the lake and the scorer have it: nothing to convert
        return np.asarray(candles["opened_at"].array.asi8, dtype=np.int64)
    times = pd.DatetimeIndex(pd.to_datetime(candles["opened_at"], utc=True)).as_unit("us")
    return times.asi8.astype(np.int64)


def grid_of(candles: pd.DataFrame, wanted: int | None = None) -> Grid:
    """Return the candles on the regular time grid; `wanted` places at its end are all that is asked for.

    A row whose prices are not finite and above zero, or whose volume is not, counts as missing.
    Raises: DataRejected for missing columns, times off the five-minute grid, or rows out of time order.
    """
    if absent := [name for name in REQUIRED if name not in candles.columns]:
        raise DataRejected(f"candles lack {', '.join(absent)}")
    at = opened_at_us(candles)
    if len(at) and (np.any(at % STEP_US) or np.any(np.diff(at) <= 0)):
        raise DataRejected("candles must be in time order, each once, and open on the five-minute grid")
    place = (at - at[0]) // STEP_US if len(at) else at
    size = int(place[-1]) + 1 if len(at) else 0
    columns = {}
    for name in COLUMNS:
        columns[name] = np.full(size, np.nan)
        if name in candles.columns:
            columns[name][place] = candles[name].to_numpy(dtype=np.float64, na_value=np.nan)
    prices = np.stack([columns[name] for name in ("open", "high", "low", "close")])
    sound = np.all(np.isfinite(prices) & (prices > 0), axis=0) & (columns["volume"] >= 0) & (columns["volume"] < np.inf)
    for values in columns.values():
        values[~sound] = np.nan
    first = int(at[0]) if len(at) else 0
    return Grid(np.arange(size, dtype=np.int64) * STEP_US + first, **columns, wanted=wanted)
