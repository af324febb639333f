"""Features of one symbol's closed five-minute candles: one implementation, used by training and by the live scorer.

Live must equal batch exactly, so every feature looks back over a finite window and its sums are added up in an order that
depends on the window alone (a tree anchored at the window's end), never on where the array starts: no running sums, no
exponential memory. Candles are laid on a regular time grid first, so that a window is a stretch of time.

A value is NaN where it cannot be known: the history does not reach back over the whole window, or candles are missing in it
(windows up to 4 h need every candle, longer ones 90 %). Nothing is filled in. Prices and volumes enter as ratios only, so
their unit and size do not matter. A missing column of taker volume gives an imbalance of 0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from quantstream.errors import DataRejected
from quantstream.windows import Floats, lag, window_max, window_mean, window_quantile

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

    def rms(self, window: int) -> Floats:
        """Root mean square of the last `window` returns."""
        return np.sqrt(window_mean(self.returns**2, window, unknown=1))

    @cached_property
    def rms_1d(self) -> Floats:
        """The unit in which moves are measured, never zero."""
        return np.maximum(self.rms(DAY), RMS_FLOOR)


def _log_rms(window: int) -> Callable[[Grid], Floats]:
    return lambda grid: np.log(np.maximum(grid.rms(window), RMS_FLOOR))


def _log_threshold(grid: Grid) -> Floats:
    return np.log(np.maximum(abnormal_threshold(grid), RMS_FLOOR))


def abnormal_threshold(grid: Grid, trailing: int = MONTH) -> Floats:
    """Return the 90th percentile of the one-hour RMS return over the trailing candles: beyond it a move is abnormal."""
    return window_quantile(grid.rms(HOUR), trailing, ABNORMAL_QUANTILE, unknown=HOUR, rows=grid.wanted)


def _momentum(window: int) -> Callable[[Grid], Floats]:
    return lambda grid: np.log(grid.close / lag(grid.close, window)) / (grid.rms_1d * np.sqrt(window))


def _log_parkinson(grid: Grid) -> Floats:
    squares = np.log(grid.high / grid.low) ** 2 / (4 * np.log(2))
    return np.log(np.maximum(np.sqrt(window_mean(squares, HOUR)), RMS_FLOOR))


def _log_garman_klass(grid: Grid) -> Floats:
    body = np.log(grid.close / grid.open) ** 2
    squares = 0.5 * np.log(grid.high / grid.low) ** 2 - (2 * np.log(2) - 1) * body
    return np.log(np.maximum(np.sqrt(np.maximum(window_mean(squares, 6 * HOUR), 0)), RMS_FLOOR))


def _log_range(grid: Grid) -> Floats:
    return np.log1p(np.log(grid.high / grid.low) / grid.rms_1d)


def _log_move(grid: Grid) -> Floats:
    return np.log1p(np.abs(grid.returns) / grid.rms_1d)


def _jump_share(grid: Grid) -> Floats:
    size = np.abs(grid.returns)
    bipower = window_mean(size * lag(size, 1), HOUR, unknown=2) * np.pi / 2
    square = window_mean(grid.returns**2, HOUR, unknown=1)
    return np.clip(_ratio(square - bipower, square), 0, 1)


def _down_share(grid: Grid) -> Floats:
    square = grid.returns**2
    down = np.where(np.isnan(square), np.nan, np.where(grid.returns < 0, square, 0.0))
    return _ratio(window_mean(down, 6 * HOUR, unknown=1), window_mean(square, 6 * HOUR, unknown=1), 0.5)


def _seasonal_rms(grid: Grid) -> Floats:
    """Log RMS return of the coming hour of the day, over the last seven days."""
    hour = window_mean(grid.returns**2, HOUR, unknown=1)
    past = np.stack([lag(hour, DAY * day - HOUR) for day in range(1, 8)])
    known = np.isfinite(past)
    total, count = np.zeros(past.shape[1]), np.zeros(past.shape[1])
    for day in range(7):
        total += np.where(known[day], past[day], 0.0)
        count += known[day]
    count[: WEEK + 1] = 0  # earlier rows do not see the whole week
    mean = np.where(count >= 4, total / np.maximum(count, 1), np.nan)
    return np.log(np.maximum(np.sqrt(mean), RMS_FLOOR))


def _relative_volume(window: int) -> Callable[[Grid], Floats]:
    def definition(grid: Grid) -> Floats:
        usual = window_mean(grid.volume, DAY)
        return np.log(
            _ratio(window_mean(grid.volume, window), usual, 1.0) + 0.01
        )  # a candle without trades is not -inf

    return definition


def _imbalance(window: int) -> Callable[[Grid], Floats]:
    def definition(grid: Grid) -> Floats:
        buys = np.where(np.isfinite(grid.taker_buy_volume), grid.taker_buy_volume, grid.volume / 2)
        return _ratio(window_mean(2 * buys - grid.volume, window), window_mean(grid.volume, window))

    return definition


def _vwap_distance(grid: Grid) -> Floats:
    typical = (grid.high + grid.low + grid.close) / 3
    vwap = _ratio(window_mean(typical * grid.volume, DAY), window_mean(grid.volume, DAY), np.nan)
    vwap = np.where(window_mean(grid.volume, DAY) == 0, grid.close, vwap)
    distance: Floats = np.log(grid.close / vwap) / (grid.rms_1d * np.sqrt(DAY))
    return distance


def _bollinger(grid: Grid) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the last 20 log closes, both relative to the newest."""
    gaps = [np.log(lag(grid.close, back) / grid.close) for back in range(20)]
    mean = sum(gaps, np.zeros(len(grid.close))) / 20
    return mean, np.sqrt(sum(((gap - mean) ** 2 for gap in gaps), np.zeros(len(grid.close))) / 20)


def _bollinger_position(grid: Grid) -> Floats:
    mean, deviation = _bollinger(grid)
    return _ratio(-mean, 2 * deviation)


def _bollinger_width(grid: Grid) -> Floats:
    return np.log(np.maximum(_bollinger(grid)[1], RMS_FLOOR)) - np.log(grid.rms_1d)


def _range_position(grid: Grid) -> Floats:
    known = np.isfinite(window_mean(grid.close, DAY))
    top = window_max(np.where(np.isfinite(grid.high), grid.high, -np.inf), DAY)
    bottom = -window_max(np.where(np.isfinite(grid.low), -grid.low, -np.inf), DAY)
    return np.where(known, _ratio(grid.close - bottom, top - bottom, 0.5), np.nan)


def _season(period_us: int, wave: Callable[[Floats], Floats]) -> Callable[[Grid], Floats]:
    return lambda grid: wave(2 * np.pi * ((grid.at + STEP_US) % period_us) / period_us)


def _ratio(above: Floats, below: Floats, otherwise: float = 0.0) -> Floats:
    """Return a quotient, `otherwise` where the divisor is zero, NaN where either is unknown."""
    safe = np.where(below == 0, 1.0, below)
    return np.where(np.isnan(above), np.nan, np.where(below == 0, otherwise, above / safe))


@dataclass(frozen=True)
class Definition:
    """One feature: version of its formula, how many candles before its own a row reads, and the formula."""

    version: int
    back: int
    formula: Callable[[Grid], Floats]


# A definition that changes its values takes the next version, and with it the hash. `back` is how many candles before its
# own a row reads.
DEFINITIONS: dict[str, Definition] = {
    "momentum_5m": Definition(1, DAY, _momentum(1)),
    "momentum_15m": Definition(1, DAY, _momentum(3)),
    "momentum_1h": Definition(1, DAY, _momentum(HOUR)),
    "momentum_4h": Definition(1, DAY, _momentum(4 * HOUR)),
    "momentum_24h": Definition(1, DAY, _momentum(DAY)),
    "log_rms_1h": Definition(1, HOUR, _log_rms(HOUR)),
    "log_rms_6h": Definition(1, 6 * HOUR, _log_rms(6 * HOUR)),
    "log_rms_24h": Definition(1, DAY, _log_rms(DAY)),
    "log_rms_7d": Definition(1, WEEK, _log_rms(WEEK)),
    "log_threshold_30d": Definition(1, MONTH + HOUR - 1, _log_threshold),
    "log_parkinson_1h": Definition(1, HOUR, _log_parkinson),
    "log_garman_klass_6h": Definition(1, 6 * HOUR, _log_garman_klass),
    "log_range_5m": Definition(1, DAY, _log_range),
    "log_move_5m": Definition(1, DAY, _log_move),
    "jump_share_1h": Definition(1, HOUR + 1, _jump_share),
    "down_share_6h": Definition(1, 6 * HOUR, _down_share),
    "log_seasonal_rms_7d": Definition(1, WEEK + 1, _seasonal_rms),
    "relative_volume_5m": Definition(1, DAY, _relative_volume(1)),
    "relative_volume_1h": Definition(1, DAY, _relative_volume(HOUR)),
    "taker_imbalance_5m": Definition(1, 0, _imbalance(1)),
    "taker_imbalance_1h": Definition(1, HOUR, _imbalance(HOUR)),
    "vwap_distance_24h": Definition(1, DAY, _vwap_distance),
    "bollinger_position": Definition(1, 20, _bollinger_position),
    "bollinger_width": Definition(1, DAY, _bollinger_width),
    "range_position_24h": Definition(1, DAY, _range_position),
    "hour_sin": Definition(1, 0, _season(86_400_000_000, np.sin)),
    "hour_cos": Definition(1, 0, _season(86_400_000_000, np.cos)),
    "week_sin": Definition(1, 0, _season(604_800_000_000, np.sin)),
    "week_cos": Definition(1, 0, _season(604_800_000_000, np.cos)),
}
NAMES = tuple(DEFINITIONS)
WARMUP = max(definition.back for definition in DEFINITIONS.values())  # rows before a row that all its features need
FEATURE_HASH = hashlib.sha256(
    ",".join(f"{name}:{definition.version}" for name, definition in DEFINITIONS.items()).encode()
).hexdigest()[:16]


def opened_at_us(candles: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Return the opening times as µs since the epoch; times without a zone are taken as UTC."""
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
