"""Where the price stands, where it has been going, who trades how much, and what time it is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from quantstream.core.rolling import Floats
from quantstream.features import releases
from quantstream.features.grid import DAY, HOUR, RMS_FLOOR, Grid, ratio
from quantstream.features.series import STEP_US
from quantstream.features.volatility import Formula

A_LITTLE = 0.01  # of the usual volume: a candle without trades is not minus infinity


def momentum(window: int) -> Formula:
    """The move over the window in σ of such a move."""
    return lambda grid: np.log(grid.ago(grid.close) / grid.ago(grid.close, window)) / (grid.rms_1d * np.sqrt(window))


def relative_volume(window: int) -> Formula:
    """Volume of the window over the usual of the last day."""
    return lambda grid: np.log(ratio(grid.mean(grid.volume, window), grid.usual_volume, 1.0) + A_LITTLE)


def seasonal_volume(grid: Grid) -> Floats:
    """Volume of the last hour over the usual of this hour of the day in the last 14 days."""
    usual = grid.same_hour_mean(_hour_volume, 14, ahead=0, reach=14 * DAY + HOUR - 1)
    return np.log(ratio(_hour_volume(grid), usual, 1.0) + A_LITTLE)


def _hour_volume(grid: Grid) -> Floats:
    return grid.mean(grid.volume, HOUR)


def imbalance(window: int) -> Formula:
    """Takers' buying less their selling over all volume; 0 where takers are unknown."""

    def formula(grid: Grid) -> Floats:
        buys = np.where(np.isfinite(grid.taker_buy_volume), grid.taker_buy_volume, grid.volume / 2)
        return ratio(grid.mean(2 * buys - grid.volume, window), grid.mean(grid.volume, window))

    return formula


def vwap_distance(grid: Grid) -> Floats:
    """The close above the day's volume-weighted price, in σ of a day."""
    typical = (grid.high + grid.low + grid.close) / 3
    vwap = ratio(grid.mean(typical * grid.volume, DAY), grid.usual_volume, np.nan)
    close = grid.ago(grid.close)
    vwap = np.where(grid.usual_volume == 0, close, vwap)
    distance: Floats = np.log(close / vwap) / (grid.rms_1d * np.sqrt(DAY))
    return distance


def bollinger_position(grid: Grid) -> Floats:
    """±1 at the bands of two standard deviations."""
    mean, deviation = grid.bands
    return ratio(-mean, 2 * deviation)


def bollinger_width(grid: Grid) -> Floats:
    """Deviation of the bands against the day's volatility."""
    return np.log(np.maximum(grid.bands[1], RMS_FLOOR)) - np.log(grid.rms_1d)


def range_position(grid: Grid) -> Floats:
    """0 at the day's low, 1 at its high."""
    known = np.isfinite(grid.mean(grid.close, DAY))
    top = grid.top(np.where(np.isfinite(grid.high), grid.high, -np.inf), DAY)
    bottom = -grid.top(np.where(np.isfinite(grid.low), -grid.low, -np.inf), DAY)
    return np.where(known, ratio(grid.ago(grid.close) - bottom, top - bottom, 0.5), np.nan)


def season(period_us: int, wave: Callable[[Floats], Floats]) -> Formula:
    """A wave of the time at the candle's close."""
    return lambda grid: wave(2 * np.pi * ((grid.opened_at + STEP_US) % period_us) / period_us)


def local_season(period_us: int, wave: Callable[[Floats], Floats]) -> Formula:
    """A wave of New York's time at the candle's close: its mornings move against UTC twice a year."""
    return lambda grid: wave(2 * np.pi * (releases.new_york(grid.opened_at + STEP_US) % period_us) / period_us)


def weekend(grid: Grid) -> Floats:
    """1 where the middle of the coming hour lies on a weekend in New York."""
    middle = grid.opened_at + STEP_US + releases.HOUR_US // 2
    return releases.is_weekend(releases.new_york(middle)).astype(np.float64)


def release_next(kind: str) -> Formula:
    """1 where a release is scheduled within the coming hour, its first instant included."""

    def formula(grid: Grid) -> Floats:
        closed_at = grid.opened_at + STEP_US
        return releases.between(kind, closed_at, closed_at + releases.HOUR_US).astype(np.float64)

    return formula


def release_past(kind: str) -> Formula:
    """1 where a release was scheduled within the hour just over."""

    def formula(grid: Grid) -> Floats:
        closed_at = grid.opened_at + STEP_US
        return releases.between(kind, closed_at - releases.HOUR_US, closed_at).astype(np.float64)

    return formula
