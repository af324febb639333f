"""Value at risk over years of candles, told each hour with what was known then, beside what a simple mind would have said."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.value_at_risk.backtests.judged_hours import PLAIN, Columns, JudgedHours, came, empty, put
from ml.value_at_risk.loss_tail import Risk, risks
from ml.value_at_risk.observations import HAR, HORIZONS, NAMES, Horizon, Observations, observe
from ml.value_at_risk.symbol_risk import DAYS, Fitted, fit, risk_at
from quantstream.core.errors import DataRejected
from quantstream.core.rolling import Floats
from quantstream.core.time import DAY, HOUR


def told(symbol: str, candles: pd.DataFrame, start: int, end: int) -> dict[str, JudgedHours]:
    """Return by horizon what would have been said at each full hour of `[start, end)` (µs), and what came of it.

    Raises: DataRejected as `observe`. An hour of which nothing can be said is NaN.
    """
    seen = observe(candles)
    hours = np.arange(start, end, HOUR)
    columns = {one.name: empty(hours, in_trial=True) for one in HORIZONS}
    for day in np.unique(hours // DAY * DAY).tolist():
        places = np.flatnonzero(hours // DAY * DAY == day)
        try:
            fitted = fit(symbol, seen, day)
        except DataRejected:
            continue
        for horizon in HORIZONS:
            _fill(columns[horizon.name], seen, fitted, horizon, symbol, hours, places)
    return {name: JudgedHours(symbol, hours, each) for name, each in columns.items()}


def _fill(
    columns: Columns,
    seen: Observations,
    fitted: Fitted,
    horizon: Horizon,
    symbol: str,
    hours: npt.NDArray[np.int64],
    places: npt.NDArray[np.intp],
) -> None:
    plain = _plain(seen, horizon, fitted.fitted_at)
    weights, smear = _har(seen, horizon, fitted.fitted_at)
    for place in places.tolist():
        row = seen.place(int(hours[place]))
        if row is None:
            continue
        now = risk_at(symbol, seen, fitted, int(hours[place]))
        columns["sigma"][place] = now.sigma[horizon.name]
        columns["har"][place] = np.sqrt(smear * np.exp(_design(seen.known[row : row + 1]) @ weights)[0])
        came(columns, place, seen, horizon, row)
        put(columns, place, {"long": now.long(horizon.name), "short": now.short(horizon.name)})
        put(columns, place, plain, PLAIN)


def _plain(seen: Observations, horizon: Horizon, at: int) -> dict[str, dict[float, Risk]]:
    """Historical simulation: the risks of the past's own moves, whatever the volatility."""
    moves = np.expm1(seen.returns[horizon.name][_past(seen, horizon, at)])
    return {"long": risks(-moves), "short": risks(moves)}


def _har(seen: Observations, horizon: Horizon, at: int) -> tuple[Floats, float]:
    """HAR (Corsi 2009): least squares on the logs, and what the mean of the levels is above it (smearing: Duan 1983)."""
    rows = _past(seen, horizon, at)
    design, actual = _design(seen.known[rows]), seen.variances[horizon.name][rows]
    weights = np.asarray(np.linalg.lstsq(design, np.log(actual), rcond=None)[0], dtype=np.float64)
    return weights, float(np.mean(actual / np.exp(design @ weights)))


def _past(seen: Observations, horizon: Horizon, at: int) -> npt.NDArray[np.intp]:
    began = seen.closed_at
    known = np.isfinite(seen.returns[horizon.name]) & np.isfinite(seen.known).all(axis=1)
    known &= np.isfinite(seen.variances[horizon.name])
    known &= (began >= at - DAYS * DAY) & (began + horizon.micros <= at) & (began % HOUR == 0)
    return np.flatnonzero(known)


def _design(known: Floats) -> Floats:
    terms = known[:, [NAMES.index(name) for name in HAR]]
    return np.column_stack([np.ones(len(terms)), terms])
