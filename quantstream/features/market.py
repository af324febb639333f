"""Where the price stands, where it has been going, who trades how much, and what time it is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from quantstream.features.grid import DAY, HOUR, RMS_FLOOR, STEP_US, Grid, ratio
from quantstream.features.volatility import Formula, same_hour_mean
from quantstream.windows import Floats, lag, window_max, window_mean

BAND = 20  # candles of the Bollinger Bands
A_LITTLE = 0.01  # of the usual volume: a candle without trades is not minus infinity


def momentum(window: int) -> Formula:
    """The move over the window in σ of such a move."""
    return lambda grid: np.log(grid.close / lag(grid.close, window)) / (grid.rms_1d * np.sqrt(window))


def relative_volume(window: int) -> Formula:
    """Volume of the window over the usual of the last day."""

    def formula(grid: Grid) -> Floats:
        usual = window_mean(grid.volume, DAY)
        return np.log(ratio(window_mean(grid.volume, window), usual, 1.0) + A_LITTLE)

    return formula


def seasonal_volume(grid: Grid) -> Floats:
    """Volume of the last hour over the usual of this hour of the day in the last 14 days."""
    hour = window_mean(grid.volume, HOUR)
    usual = same_hour_mean(hour, 14, ahead=0, reach=14 * DAY + HOUR - 1)
    return np.log(ratio(hour, usual, 1.0) + A_LITTLE)


def imbalance(window: int) -> Formula:
    """Takers' buying less their selling over all volume; 0 where takers are unknown."""

    def formula(grid: Grid) -> Floats:
        buys = np.where(np.isfinite(grid.taker_buy_volume), grid.taker_buy_volume, grid.volume / 2)
        return ratio(window_mean(2 * buys - grid.volume, window), window_mean(grid.volume, window))

    return formula


def vwap_distance(grid: Grid) -> Floats:
    """The close above the day's volume-weighted price, in σ of a day."""
    typical = (grid.high + grid.low + grid.close) / 3
    vwap = ratio(window_mean(typical * grid.volume, DAY), window_mean(grid.volume, DAY), np.nan)
    vwap = np.where(window_mean(grid.volume, DAY) == 0, grid.close, vwap)
    distance: Floats = np.log(grid.close / vwap) / (grid.rms_1d * np.sqrt(DAY))
    return distance


def _bollinger(grid: Grid) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the last 20 log closes, both relative to the newest."""
    gaps = [np.log(lag(grid.close, back) / grid.close) for back in range(BAND)]
    mean = sum(gaps, np.zeros(len(grid.close))) / BAND
    return mean, np.sqrt(sum(((gap - mean) ** 2 for gap in gaps), np.zeros(len(grid.close))) / BAND)


def bollinger_position(grid: Grid) -> Floats:
    """±1 at the bands of two standard deviations."""
    mean, deviation = _bollinger(grid)
    return ratio(-mean, 2 * deviation)


def bollinger_width(grid: Grid) -> Floats:
    """Deviation of the bands against the day's volatility."""
    return np.log(np.maximum(_bollinger(grid)[1], RMS_FLOOR)) - np.log(grid.rms_1d)


def range_position(grid: Grid) -> Floats:
    """0 at the day's low, 1 at its high."""
    known = np.isfinite(window_mean(grid.close, DAY))
    top = window_max(np.where(np.isfinite(grid.high), grid.high, -np.inf), DAY)
    bottom = -window_max(np.where(np.isfinite(grid.low), -grid.low, -np.inf), DAY)
    return np.where(known, ratio(grid.close - bottom, top - bottom, 0.5), np.nan)


def season(period_us: int, wave: Callable[[Floats], Floats]) -> Formula:
    """A wave of the time at the candle's close."""
    return lambda grid: wave(2 * np.pi * ((grid.at + STEP_US) % period_us) / period_us)
