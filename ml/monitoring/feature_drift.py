"""Features of the newest day held against those that a version was fitted on: the table `features` at the version it names."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from ml.data.feature_table.reading import load_some
from ml.models import anomaly, forecast, risk, signal
from ml.monitoring.drift import Reference, Shift, quantiles, shifts
from quantstream import features
from quantstream.core.errors import DataRejected, Misconfigured
from quantstream.core.rolling import Floats
from quantstream.core.time import DAY, SCORED, micros, utc
from quantstream.lake.reads import Reads
from quantstream.lake.store import Lake

READ_BY = {"forecast": forecast.NAMES, "signal": signal.NAMES, "risk": risk.NAMES, "anomaly": anomaly.NAMES}
REACH = 60 * DAY  # µs before what a version last knew: longer ago is another market
LEAD = (features.WARMUP + features.DAY) * features.STEP_US


def feature_shifts(lake: Lake, version: int, symbols: Sequence[str], known_until: int, until: datetime) -> list[Shift]:
    """Return which features of the day before `until` are not as in the days before `known_until` (µs), the farthest first.

    Raises: DataRejected when features or candles are not there any more, Unavailable.
    """
    try:
        fitted = load_some(lake, version, symbols, known_until - REACH, known_until)
    except Misconfigured as error:
        raise DataRejected(str(error)) from error
    is_near = fitted.opened_at >= known_until - REACH
    rows = np.flatnonzero(is_near & (fitted.opened_at < known_until)).astype(np.intp)
    if not len(rows):
        raise DataRejected(f"features version {version} has no rows before {utc(known_until)}")
    reference = Reference.of(features.NAMES, fitted.opened_at[rows], fitted.matrix(rows, features.NAMES))
    return shifts(reference, quantiles(newest_features(lake, fitted.symbols, until)))


def newest_features(lake: Reads, symbols: Sequence[str], until: datetime) -> Floats:
    """Return the features of the candles of the day before `until`: (rows, features.NAMES).

    Raises: DataRejected when there are no candles, Unavailable.
    """
    end = micros(until)
    found = []
    for symbol in symbols:
        candles = lake.candle_frame([symbol], SCORED, utc(end - LEAD), until)
        if len(candles) and features.opened_at_us(candles)[-1] >= end - DAY:
            found.append(features.newest([features.series_of(candles)], features.DAY, features.NAMES)[0])
    if not found:
        raise DataRejected(f"there are no candles of {', '.join(symbols)} in the day before {until:%Y-%m-%d %H:%M} UTC")
    return np.concatenate(found)
