"""Sums, extremes and quantiles over finite windows whose result depends on the window alone, to the last bit.

The live path computes a feature from the last month of candles, training from years of them: both must get the same number.
Running sums and libraries' reductions round differently depending on where the array starts; these do not.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]

STRICT_WINDOW = 48  # up to 4 h of five-minute candles every value must be known
COVERAGE = 0.9  # of a longer window: an outage of 2 h must not silence a symbol for a month


def window_sum(values: Floats, window: int) -> Floats:
    """Return the sum over the `window` values that end at each position; NaN where the window starts before the array.

    Added as a binary tree anchored at the window's end, so the result does not depend on where the array starts.
    """
    return _by_doubling(values, window, np.add)


def window_max(values: Floats, window: int) -> Floats:
    """Return the greatest of the `window` values that end at each position; NaN as in `window_sum`."""
    return _by_doubling(values, window, np.maximum)


def _by_doubling(values: Floats, window: int, join: Callable[[Floats, Floats], Floats]) -> Floats:
    """Join each window's values as a binary tree; arrays end where `values` ends and begin with the first whole window."""
    result: Floats | None = None
    covered, power, length = 0, values, 1
    while window <= len(values):
        if window & length:
            part = power[: len(power) - covered]
            result = part if result is None else join(result[-len(part) :], part[-len(result) :])
            covered += length
        if 2 * length > window:
            break
        power = join(power[length:], power[:-length])
        length *= 2
    whole = np.full(len(values), np.nan)
    if result is not None:
        whole[len(values) - len(result) :] = result
    return whole


def lag(values: Floats, count: int) -> Floats:
    """Return the values `count` positions earlier, NaN before the array's start."""
    if count == 0:
        return values
    moved = np.full(len(values), np.nan)
    moved[count:] = values[:-count]
    return moved


def window_mean(values: Floats, window: int, unknown: int = 0) -> Floats:
    """Return the mean of the known values of each window, NaN where too few are known (see the module's rule).

    `unknown` counts the values at the array's start that are undefined (1 for returns): a window over them is NaN, for it
    would have been another one had the history begun earlier.
    """
    known = np.isfinite(values)
    if known[unknown:].all():  # the usual case: nothing to count
        mean = window_sum(values, window) / window
        mean[: window - 1 + unknown] = np.nan
        return mean
    count = window_sum(known.astype(np.float64), window)
    total = window_sum(np.where(known, values, 0.0), window)
    needed = window if window <= STRICT_WINDOW else COVERAGE * window
    count[: window - 1 + unknown] = np.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count >= needed, total / count, np.nan)


def window_quantile(values: Floats, window: int, quantile: float, unknown: int = 0, rows: int | None = None) -> Floats:
    """Return a linearly interpolated quantile of the known values of each window, NaN as in `window_mean`.

    Order statistics are exact, so the two ways (a skip list over all rows, a partition for the last few) agree to the bit.
    """
    result = np.full(len(values), np.nan)
    first = max(window - 1 + unknown, 0 if rows is None else len(values) - rows)
    if first >= len(values):
        return result
    if rows is not None:
        for i in range(first, len(values)):
            result[i] = _quantile(values[i - window + 1 : i + 1], COVERAGE * window, quantile)
        return result
    rolling = pd.Series(values).rolling(window, min_periods=int(np.ceil(COVERAGE * window)))
    low = rolling.quantile(quantile, interpolation="lower").to_numpy()
    high = rolling.quantile(quantile, interpolation="higher").to_numpy()
    place = quantile * (rolling.count().to_numpy() - 1)
    blended = low + (high - low) * (place - np.floor(place))
    result[first:] = blended[first:]
    return result


def _quantile(window: Floats, needed: float, quantile: float) -> float:
    known = window[np.isfinite(window)]
    if len(known) < needed:
        return float("nan")
    place = quantile * (len(known) - 1)
    low, high = int(np.floor(place)), int(np.ceil(place))
    ordered = np.partition(known, (low, high))
    return float(ordered[low] + (ordered[high] - ordered[low]) * (place - np.floor(place)))
