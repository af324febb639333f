"""How much prices move: realised, range-based, jump-robust and seasonal volatility, all as logs.

Logs because volatility is close to log-normal (Andersen et al. 2003): differences of these are ratios of volatilities.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from quantstream.core.rolling import Floats, lag, window_mean
from quantstream.features.grid import DAY, HOUR, MONTH, RMS_FLOOR, WEEK, Grid, abnormal_threshold, log_root, ratio

Formula = Callable[[Grid], Floats]
USUAL = (
    MONTH - 5 * HOUR
)  # candles that a value is held against: with six hours it reads back no farther than the threshold


def log_rms(window: int) -> Formula:
    """Realised volatility: RMS return."""
    return lambda grid: np.log(np.maximum(grid.rms(window), RMS_FLOOR))


def log_threshold(grid: Grid) -> Floats:
    """Beyond this an hour is abnormal."""
    return np.log(np.maximum(abnormal_threshold(grid), RMS_FLOOR))


def log_quantile(quantile: float) -> Formula:
    """How loud the month's hours were: with the threshold, the shape of their distribution."""
    return lambda grid: np.log(np.maximum(abnormal_threshold(grid, quantile=quantile), RMS_FLOOR))


def unusual_parkinson(window: int) -> Formula:
    """Range-based volatility in standard deviations of its own month: what is unusual means the same in every regime."""

    def formula(grid: Grid) -> Floats:
        asked = None if grid.wanted is None else grid.rows
        read = None if asked is None else asked + USUAL - 1
        logs = log_root(window_mean(grid.parkinson, window, 0, read))
        unknown = max(window - 1 - (grid.size - logs.shape[-1]), 0)
        mean = window_mean(logs, USUAL, unknown, asked)
        variance = window_mean(logs**2, USUAL, unknown, asked) - mean**2
        return ratio(logs[..., logs.shape[-1] - grid.rows :] - mean, np.sqrt(np.maximum(variance, 0)))

    return formula


def log_parkinson(window: int) -> Formula:
    """Range-based volatility, five times as efficient as the close-to-close one."""
    return lambda grid: log_root(grid.mean(grid.parkinson, window))


def log_garman_klass(window: int) -> Formula:
    """Range and body."""

    def formula(grid: Grid) -> Floats:
        return log_root(grid.mean(2 * np.log(2) * grid.parkinson - (2 * np.log(2) - 1) * grid.bodies, window))

    return formula


def log_rogers_satchell(window: int) -> Formula:
    """Range-based, blind to drift."""
    return lambda grid: log_root(grid.mean(grid.rogers_satchell, window))


def log_yang_zhang(window: int) -> Formula:
    """Jumps between candles, open to close, and Rogers–Satchell in the mix of least variance."""

    def formula(grid: Grid) -> Floats:
        mix = 0.34 / (1.34 + (window + 1) / (window - 1))
        jump = grid.mean(np.log(grid.open / lag(grid.close, 1)) ** 2, window, unknown=1)
        body = grid.mean(grid.bodies, window)
        return log_root(jump + mix * body + (1 - mix) * grid.mean(grid.rogers_satchell, window))

    return formula


def log_bipower(window: int) -> Formula:
    """Volatility that a single jump hardly moves."""
    return lambda grid: log_root(grid.mean(grid.pairs, window, unknown=2) * np.pi / 2)


def log_mean_move(window: int) -> Formula:
    """Realised absolute variation."""
    return lambda grid: np.log(np.maximum(grid.mean(grid.moves, window, unknown=1), RMS_FLOOR))


def log_max_move(window: int) -> Formula:
    """The largest move of the window, where the window itself is known."""

    def formula(grid: Grid) -> Floats:
        known = np.isfinite(grid.mean(grid.moves, window, unknown=1))
        largest = grid.top(np.where(np.isfinite(grid.moves), grid.moves, 0.0), window)
        return np.where(known, np.log(np.maximum(largest, RMS_FLOOR)), np.nan)

    return formula


def log_span(window: int) -> Formula:
    """From the lowest low to the highest high."""

    def formula(grid: Grid) -> Floats:
        known = np.isfinite(grid.mean(grid.close, window))
        top = grid.top(np.where(np.isfinite(grid.high), grid.high, -np.inf), window)
        bottom = -grid.top(np.where(np.isfinite(grid.low), -grid.low, -np.inf), window)
        return np.where(known, np.log(np.maximum(np.log(top / bottom), RMS_FLOOR)), np.nan)

    return formula


def log_range(grid: Grid) -> Floats:
    """The candle's range in daily σ."""
    return np.log1p(np.log(grid.ago(grid.high) / grid.ago(grid.low)) / grid.rms_1d)


def log_move(grid: Grid) -> Floats:
    """The candle's move in daily σ."""
    return np.log1p(grid.ago(grid.moves) / grid.rms_1d)


def jump_share(grid: Grid) -> Floats:
    """What bipower variation leaves of the realised variance."""
    bipower = grid.mean(grid.pairs, HOUR, unknown=2) * np.pi / 2
    square = grid.mean(grid.squares, HOUR, unknown=1)
    return np.clip(ratio(square - bipower, square), 0, 1)


def down_share(grid: Grid) -> Floats:
    """Realised semivariance of falls over realised variance."""
    square = grid.squares
    down = np.where(np.isnan(square), np.nan, np.where(grid.returns < 0, square, 0.0))
    return ratio(grid.mean(down, 6 * HOUR, unknown=1), grid.mean(square, 6 * HOUR, unknown=1), 0.5)


def seasonal_rms(grid: Grid) -> Floats:
    """RMS return of the coming hour of the day, over the last seven days."""
    return log_root(grid.same_hour_mean(_hour_squares, 7, ahead=HOUR, reach=WEEK))


def seasonal_range(grid: Grid) -> Floats:
    """Mean log range volatility of the coming hour of the day, over the last 28 days: an outlier counts once."""
    return grid.same_hour_mean(_hour_range, 28, ahead=HOUR, reach=28 * DAY - 1)


def weekly_range(grid: Grid) -> Floats:
    """Mean log range volatility of the coming hour of the week, over the last four: Sundays are not like Mondays."""
    return grid.same_hour_mean(_hour_range, 28, ahead=HOUR, reach=28 * DAY - 1, every=7)


def seasonal_turn(grid: Grid) -> Floats:
    """How much louder the coming hour of the day usually is than the one just over."""
    reach = 28 * DAY + HOUR - 1
    coming = grid.same_hour_mean(_hour_range, 28, ahead=HOUR, reach=reach)
    return coming - grid.same_hour_mean(_hour_range, 28, ahead=0, reach=reach)


def _hour_squares(grid: Grid) -> Floats:
    return grid.mean(grid.squares, HOUR, unknown=1)


def _hour_range(grid: Grid) -> Floats:
    return log_root(grid.mean(grid.parkinson, HOUR))
