"""One symbol's risk at a time: the volatility that is expected, and how past moves compared with what was expected of them.

Filtered historical simulation (Barone-Adesi et al. 1999; Hull & White 1998): past returns divided by the volatility that the
regression gave them, times the one of now. All of it is a function of the candles of `DAYS` days before the day's beginning and
of the newest ones, so whoever has the candles gets the same numbers, to the last bit, and nothing is stored or trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.value_at_risk import gamma_regression
from ml.value_at_risk.gamma_regression import GammaRegression
from ml.value_at_risk.loss_tail import Risk, risks
from ml.value_at_risk.observations import HORIZONS, USUAL, WARMUP, Horizon, Observations, observe
from quantstream.core.errors import DataRejected
from quantstream.core.rolling import Floats
from quantstream.core.time import DAY
from quantstream.features import RMS_FLOOR, STEP_US

DAYS = 180  # of rows that it learns from
FEWEST_DAYS = 21  # of them: fewer days do not say how a day may end
LEAD = DAYS * DAY + WARMUP * STEP_US + STEP_US  # µs: how far before the day's beginning candles are read
VERSION = "1"  # of all that follows from the candles; raised when any number changes


@dataclass(frozen=True)
class Shocks:
    """Past log returns over the volatility expected of them, less their mean, by when each window began (µs): (windows,)."""

    at: npt.NDArray[np.int64]
    values: Floats


@dataclass(frozen=True)
class Fitted:
    """What one day's forecasts share: of each horizon the regression and the shocks, from candles before the day began."""

    fitted_at: int  # µs
    regressions: Mapping[str, GammaRegression]
    shocks: Mapping[str, Shocks]


@dataclass(frozen=True)
class SymbolRisk:
    """What is expected of one symbol at a close: σ of the log return of each horizon, and the shocks it may meet."""

    symbol: str
    at: int  # µs
    close: float
    sigma: Mapping[str, float]
    shocks: Mapping[str, Shocks]

    def moves(self, horizon: str) -> Floats:
        """Return the relative price moves that the past's shocks would make now: (windows,)."""
        return np.asarray(np.expm1(self.sigma[horizon] * self.shocks[horizon].values))

    def long(self, horizon: str) -> dict[float, Risk]:
        """Return by level what who holds it may lose, as a share of the price."""
        return risks(-self.moves(horizon))

    def short(self, horizon: str) -> dict[float, Risk]:
        """Return by level what who has sold it short may lose, as a share of the price."""
        return risks(self.moves(horizon))


def day_of(at: int) -> int:
    """Return when the day (UTC) of a time began, µs."""
    return at - at % DAY


def fit(symbol: str, seen: Observations, at: int) -> Fitted:
    """Return what follows from the candles before a day's beginning (µs).

    Raises: DataRejected when they are too few, or do not move.
    """
    regressions, shocks = {}, {}
    for horizon in HORIZONS:
        rows = _rows(seen, horizon, at)
        _expect_enough(symbol, len(rows) * horizon.every * STEP_US, seen, rows, horizon)
        known, variance = seen.known[rows], seen.variances[horizon.name][rows]
        regressions[horizon.name] = found = gamma_regression.fit(known, variance, np.array(USUAL[horizon.name]))
        values = seen.returns[horizon.name][rows] / np.sqrt(found.predict(known))
        shocks[horizon.name] = Shocks(seen.closed_at[rows], values - values.mean())
    return Fitted(at, regressions, shocks)


def _rows(seen: Observations, horizon: Horizon, at: int) -> npt.NDArray[np.intp]:
    """Rows of windows that began on the horizon's own step of time and were over at a time, all of whose numbers are known."""
    began = seen.closed_at
    is_whole = np.isfinite(seen.returns[horizon.name]) & np.isfinite(seen.variances[horizon.name])
    is_whole &= np.isfinite(seen.known).all(axis=1) & (began % (horizon.every * STEP_US) == 0)
    return np.flatnonzero(is_whole & (began >= at - DAYS * DAY) & (began + horizon.micros <= at))


def _expect_enough(symbol: str, learnt: int, seen: Observations, rows: npt.NDArray[np.intp], horizon: Horizon) -> None:
    if learnt < FEWEST_DAYS * DAY:
        raise DataRejected(
            f"{symbol}: {learnt / DAY:.1f} days of its candles can be learnt from, {FEWEST_DAYS} are needed, the week before "
            "and the day after not counted: no value at risk; load more history (QUANTSTREAM_HISTORY_DAYS)"
        )
    floor = RMS_FLOOR**2 * horizon.candles
    if np.mean(seen.variances[horizon.name][rows] <= floor) > 0.5:
        raise DataRejected(f"{symbol}: its price stood still for most of the last {DAYS} days: no value at risk")


def risk_at(symbol: str, seen: Observations, fitted: Fitted, at: int) -> SymbolRisk:
    """Return what is expected at a close (µs) of the day that it was fitted for.

    Raises: DataRejected when the candle that closed then, or what it is held against, is not known.
    """
    place = seen.place(at)
    if place is None:
        raise DataRejected(
            f"{symbol}: candles before {np.datetime64(at, 'us')} are missing, so its volatility is not known"
        )
    known = seen.known[place : place + 1]
    sigma = {name: float(np.sqrt(regression.predict(known)[0])) for name, regression in fitted.regressions.items()}
    return SymbolRisk(symbol, at, float(seen.close[place]), sigma, fitted.shocks)


def symbol_risk(symbol: str, candles: pd.DataFrame, at: int) -> SymbolRisk:
    """Return what is expected at a time (µs) from candles that reach `LEAD` before its day. Raises: DataRejected."""
    seen = observe(candles)
    return risk_at(symbol, seen, fit(symbol, seen, day_of(at)), at)
