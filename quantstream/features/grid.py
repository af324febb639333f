"""Candles on the regular time grid: what every feature and label reads, of one symbol or of many at once.

A window of so many places is then a stretch of time, whatever candles are missing. Time is the last axis; one before it are
symbols. Only the rows that are asked for are computed, from the candles that they look back on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from quantstream.core.errors import DataRejected
from quantstream.core.rolling import Floats, lag, window_max, window_mean, window_quantile
from quantstream.features.series import COLUMNS, PRICES, STEP_US, Series, is_sound, series_of

HOUR, DAY, WEEK, MONTH = 12, 288, 2016, 8640  # candles
RMS_FLOOR = 1e-6  # a hundredth of a basis point: the log of a flat market's volatility stays finite
ABNORMAL_QUANTILE = 0.9
TAILS = (
    DAY + 1,
    WEEK + 1,
    MONTH + HOUR,
)  # how far back a grid is cut: few lengths, so that features share what they have in common
BAND = 20  # candles of the Bollinger Bands
FEWEST_DAYS = 0.5  # of those that a season averages over


Times = npt.NDArray[np.int64]
Cut = slice | npt.NDArray[np.intp]
Block = Callable[[str, Cut], Floats]


@dataclass(frozen=True)
class Grid:
    """Candles on the regular time grid, NaN where one is missing. Rows are the places asked for: all, or the last `wanted`.

    Columns are (time,) or (…, time). What has `ago`, `mean` or `top` in its way is (…, rows), other series are as long as
    the columns.
    """

    at: npt.NDArray[np.int64]  # opening times, µs, at least of the rows
    block: Block  # reads a column, counted from its end
    size: int  # of the columns
    wanted: int | None = None

    @property
    def rows(self) -> int:
        """How many places are asked for."""
        return self.size if self.wanted is None else self.wanted

    def tail(self, back: int) -> Grid:
        """The last candles only: the rows and at least `back` before them; the whole grid when all are asked for."""
        size = self.rows + next((length for length in TAILS if length >= back), back)
        if self.wanted is None or size >= self.size:
            return self
        if size not in self._tails:
            self._tails[size] = Grid(self.at, self.block, size, self.wanted)
        return self._tails[size]

    @cached_property
    def _tails(self) -> dict[int, Grid]:
        return {}

    @cached_property
    def open(self) -> Floats:
        """Opening prices."""
        return self.block("open", slice(-self.size, None))

    @cached_property
    def high(self) -> Floats:
        """Highest prices."""
        return self.block("high", slice(-self.size, None))

    @cached_property
    def low(self) -> Floats:
        """Lowest prices."""
        return self.block("low", slice(-self.size, None))

    @cached_property
    def close(self) -> Floats:
        """Closing prices."""
        return self.block("close", slice(-self.size, None))

    @cached_property
    def volume(self) -> Floats:
        """Volumes."""
        return self.block("volume", slice(-self.size, None))

    @cached_property
    def taker_buy_volume(self) -> Floats:
        """Volumes that takers bought, NaN where unknown."""
        return self.block("taker_buy_volume", slice(-self.size, None))

    def ago(self, values: Floats, count: int = 0) -> Floats:
        """The values of a series `count` places before each row, NaN before the grid's start."""
        size = values.shape[-1]
        if size - count < self.rows:
            return lag(values, count)[..., size - self.rows :]
        return values[..., size - count - self.rows : size - count]

    @property
    def opened_at(self) -> Times:
        """When each row's candle opened, µs."""
        return self.at[..., self.at.shape[-1] - self.rows :]

    def mean(self, values: Floats, window: int, unknown: int = 0) -> Floats:
        """The mean over the window that ends at each row, as `window_mean`."""
        return window_mean(values, window, unknown, self.wanted)

    def top(self, values: Floats, window: int) -> Floats:
        """The greatest value of the window that ends at each row."""
        return window_max(values, window, self.wanted)

    def same_hour_mean(
        self, formula: Callable[[Grid], Floats], days: int, ahead: int, reach: int, every: int = 1
    ) -> Floats:
        """The mean of a formula's values `ahead` of each row's time on `every` so many of the last days, NaN where half lack.

        Added day by day, so the result depends on nothing else. A row reads `reach` places back, and is NaN where there are
        less. For few rows the formula is computed for the hours that it takes and not for all between them.
        """
        size, rows = self.size, self.rows
        back = (
            DAY * np.arange(every, days + 1, every) - ahead
        )  # from a row to the place whose value it takes, on each day
        if rows <= DAY and size - rows >= reach:
            width = reach + rows - int(back[-1])  # what the formula may read of a day
            places = np.arange(-width, 0) - back[:, None]
            patches = Grid(self.at, lambda name, cut: self.block(name, places)[..., cut], width, rows)
            past = formula(patches)
            known = np.isfinite(past)
            total = np.add.accumulate(np.where(known, past, 0.0), axis=-2)[..., -1, :]
            count = known.sum(axis=-2, dtype=np.float64)
        else:
            total, count = _summed(formula(replace(self, wanted=None)), back)
            count[..., :reach] = 0
            total, count = total[..., size - rows :], count[..., size - rows :]
        return np.where(count >= FEWEST_DAYS * len(back), total / np.maximum(count, 1), np.nan)

    @cached_property
    def returns(self) -> Floats:
        """Log returns from close to close."""
        return np.log(self.close / lag(self.close, 1))

    @cached_property
    def squares(self) -> Floats:
        """Squared log returns."""
        squares: Floats = self.returns**2
        return squares

    @cached_property
    def moves(self) -> Floats:
        """Absolute log returns."""
        return np.abs(self.returns)

    @cached_property
    def pairs(self) -> Floats:
        """Absolute log returns times those of a candle before."""
        pairs: Floats = self.moves * lag(self.moves, 1)
        return pairs

    @cached_property
    def bodies(self) -> Floats:
        """Squared logs of close over open."""
        squares: Floats = np.log(self.close / self.open) ** 2
        return squares

    @cached_property
    def parkinson(self) -> Floats:
        """Each candle's variance from its high and low (Parkinson 1980)."""
        squares: Floats = np.log(self.high / self.low) ** 2 / (4 * np.log(2))
        return squares

    @cached_property
    def rogers_satchell(self) -> Floats:
        """Each candle's variance, blind to drift (Rogers & Satchell 1991)."""
        up = np.log(self.high / self.close) * np.log(self.high / self.open)
        down = np.log(self.low / self.close) * np.log(self.low / self.open)
        squares: Floats = up + down
        return squares

    @cached_property
    def usual_volume(self) -> Floats:
        """The mean volume of the last day."""
        return self.mean(self.volume, DAY)

    @cached_property
    def bands(self) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the last 20 log closes, both relative to the newest."""
        close = self.ago(self.close)
        gaps = [np.log(self.ago(self.close, back) / close) for back in range(BAND)]
        mean = sum(gaps, np.zeros(close.shape)) / BAND
        return mean, np.sqrt(sum(((gap - mean) ** 2 for gap in gaps), np.zeros(close.shape)) / BAND)

    def rms(self, window: int) -> Floats:
        """Root mean square of the last `window` returns."""
        return np.sqrt(self.mean(self.squares, window, unknown=1))

    def hourly_rms(self, size: int, rows: int | None) -> Floats:
        """The one-hour RMS return at the last `rows` of the first `size` places, computed once for all that is asked of it."""
        if (size, rows) not in self._hourly:
            self._hourly[size, rows] = np.sqrt(window_mean(self.squares[..., :size], HOUR, 1, rows))
        return self._hourly[size, rows]

    @cached_property
    def _hourly(self) -> dict[tuple[int, int | None], Floats]:
        return {}

    @cached_property
    def rms_1d(self) -> Floats:
        """The unit in which moves are measured, never zero."""
        return np.maximum(self.rms(DAY), RMS_FLOOR)


def _summed(values: Floats, back: npt.NDArray[np.intp]) -> tuple[Floats, Floats]:
    """The sum of the known values so far back of each place, day by day, and their number."""
    total, count = np.zeros(values.shape), np.zeros(values.shape)
    for distance in back.tolist():
        past = lag(values, distance)
        known = np.isfinite(past)
        total += np.where(known, past, 0.0)
        count += known
    return total, count


def abnormal_threshold(
    grid: Grid, trailing: int = MONTH, spared: int = 0, quantile: float = ABNORMAL_QUANTILE
) -> Floats:
    """Return the 90th percentile of the one-hour RMS return over the trailing candles: beyond it a move is abnormal.

    Another `quantile` says how those hours are spread. The last `spared` rows are NaN: nobody asks for them.
    """
    spared = min(spared, grid.rows)
    rows = grid.rows - spared
    size = grid.size - spared
    hourly = grid.hourly_rms(size, None if grid.wanted is None else rows + trailing - 1)
    unknown = max(HOUR - (size - hourly.shape[-1]), 0)
    found = window_quantile(hourly, trailing, quantile, unknown, None if grid.wanted is None else rows)
    return np.concatenate([found, np.full((*found.shape[:-1], spared), np.nan)], axis=-1)


def ratio(above: Floats, below: Floats, otherwise: float = 0.0) -> Floats:
    """Return a quotient, `otherwise` where the divisor is zero, NaN where either is unknown."""
    safe = np.where(below == 0, 1.0, below)
    return np.where(np.isnan(above), np.nan, np.where(below == 0, otherwise, above / safe))


def log_root(squares: Floats) -> Floats:
    """Return the log of the square root of mean squares, never below the floor."""
    return np.log(np.maximum(np.sqrt(np.maximum(squares, 0)), RMS_FLOOR))


def grid_of(candles: pd.DataFrame | Series, wanted: int | None = None) -> Grid:
    """Return the candles on the regular time grid; `wanted` places at its end are all that is asked for.

    A row whose prices are not finite and above zero, or whose volume is not, counts as missing.
    Raises: DataRejected for missing columns, times off the five-minute grid, or rows out of time order.
    """
    series = candles if isinstance(candles, Series) else series_of(candles)
    at = series.at
    if len(at) and (np.any(at % STEP_US) or np.any(np.diff(at) <= 0)):
        raise DataRejected("candles must be in time order, each once, and open on the five-minute grid")
    place = (at - at[0]) // STEP_US if len(at) else at
    size = int(place[-1]) + 1 if len(at) else 0
    columns = {}
    for name in COLUMNS:
        columns[name] = np.full(size, np.nan)
        if name in series.columns:
            columns[name][place] = series.columns[name]
    sound = is_sound([columns[name] for name in PRICES], columns["volume"])
    for values in columns.values():
        values[~sound] = np.nan
    first = int(at[0]) if len(at) else 0
    return Grid(np.arange(size) * STEP_US + first, lambda name, cut: columns[name][..., cut], size, wanted)


def grid_of_whole(series: Series, size: int, wanted: int) -> Grid:
    """Return the last `size` candles of a symbol, all of them sound and none missing, as they are."""
    nothing = np.full(size, np.nan)
    columns = {name: series.columns.get(name, nothing) for name in COLUMNS}
    return Grid(series.at[-wanted:], lambda name, cut: columns[name][cut], size, wanted)


def together(grids: Sequence[Grid]) -> Grid:
    """Return the grids of many symbols, of one size and as many rows, as one: (symbols, time)."""
    rows = grids[0].rows
    at = np.stack([grid.at[len(grid.at) - rows :] for grid in grids])
    return Grid(at, lambda name, cut: np.stack([grid.block(name, cut) for grid in grids]), grids[0].size, rows)
