"""Sums, extremes and quantiles over finite windows whose result depends on the window alone, to the last bit.

The live path computes a feature from the last month of candles, training from years of them: both must get the same number.
Running sums and libraries' reductions round differently depending on where the array starts; these do not.

Time is the last axis; axes before it (symbols) are independent. With `rows` only that many of the last positions are returned,
the same numbers, at the cost of those alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Join = Callable[[Floats, Floats], Floats]

STRICT_WINDOW = 48  # up to 4 h of five-minute candles every value must be known
COVERAGE = 0.9  # of a longer window: an outage of 2 h must not silence a symbol for a month


def window_sum(values: Floats, window: int, rows: int | None = None) -> Floats:
    """Return the sum over the `window` values that end at each position; NaN where the window starts before the array.

    Added as a binary tree anchored at the window's end, so the result does not depend on where the array starts.
    """
    return _joined(values, window, np.add, rows)


def window_max(values: Floats, window: int, rows: int | None = None) -> Floats:
    """Return the greatest of the `window` values that end at each position; NaN as in `window_sum`."""
    return _joined(values, window, np.maximum, rows)


def _joined(values: Floats, window: int, join: Join, rows: int | None) -> Floats:
    size = values.shape[-1]
    if rows == 1 and window <= size:
        return _folded(values[..., size - window :], join)[..., None]
    if rows is None or rows > size:
        return _by_doubling(values, window, join)
    return _by_doubling(values[..., max(size - rows - window + 1, 0) :], window, join)[..., -rows:]


def _by_doubling(values: Floats, window: int, join: Join) -> Floats:
    """Join each window's values as a binary tree; arrays end where `values` ends and begin with the first whole window."""
    size = values.shape[-1]
    result: Floats | None = None
    covered, power, length = 0, values, 1
    while window <= size:
        if window & length:
            part = power[..., : power.shape[-1] - covered]
            result = part if result is None else join(result[..., -part.shape[-1] :], part[..., -result.shape[-1] :])
            covered += length
        if 2 * length > window:
            break
        power = join(power[..., length:], power[..., :-length])
        length *= 2
    whole = np.full(values.shape, np.nan)
    if result is not None:
        whole[..., size - result.shape[-1] :] = result
    return whole


def _folded(values: Floats, join: Join) -> Floats:
    """Join all values along the last axis as the tree of `_by_doubling` joins those of one window."""
    result: Floats | None = None
    while True:
        left = values.shape[-1]
        if left % 2:
            part = values[..., -1]
            result = part if result is None else join(result, part)
            if left == 1:
                return result
            values = values[..., :-1]
        values = join(values[..., 1::2], values[..., ::2])


def lag(values: Floats, count: int) -> Floats:
    """Return the values `count` positions earlier, NaN before the array's start."""
    if count == 0:
        return values
    moved = np.full(values.shape, np.nan)
    moved[..., count:] = values[..., :-count]
    return moved


def window_mean(values: Floats, window: int, unknown: int = 0, rows: int | None = None) -> Floats:
    """Return the mean of the known values of each window, NaN where too few are known (see the module's rule).

    `unknown` counts the values at the array's start that are undefined (1 for returns): a window over them is NaN, for it
    would have been another one had the history begun earlier.
    """
    size = values.shape[-1]
    rows = size if rows is None else min(rows, size)
    read = values[..., max(size - rows - window + 1, 0) :]
    undefined = max(unknown - (size - read.shape[-1]), 0)
    first = max(window - 1 + unknown - (size - rows), 0)  # of the rows that can be known
    known = np.isfinite(read)
    if known[..., undefined:].all():  # the usual case: nothing to count
        mean = window_sum(read, window, rows) / window
        mean[..., :first] = np.nan
        return mean
    count = window_sum(known.astype(np.float64), window, rows)
    total = window_sum(np.where(known, read, 0.0), window, rows)
    needed = window if window <= STRICT_WINDOW else COVERAGE * window
    count[..., :first] = np.nan
    with np.errstate(invalid="ignore"):  # 0 / 0 where nothing is known
        return np.where(count >= needed, total / count, np.nan)


def window_quantile(values: Floats, window: int, quantile: float, unknown: int = 0, rows: int | None = None) -> Floats:
    """Return a linearly interpolated quantile of the known values of each window, NaN as in `window_mean`.

    Order statistics are exact, so the two ways (a skip list over all rows, a partition for the last few) agree to the bit.
    """
    size = values.shape[-1]
    result = np.full((*values.shape[:-1], size if rows is None else min(rows, size)), np.nan)
    before = size - result.shape[-1]  # positions that are not asked for
    first = max(window - 1 + unknown, before)
    if first >= size:
        return result
    if rows is not None:
        for i in range(first, size):
            result[..., i - before] = quantiles(values[..., i - window + 1 : i + 1], quantile)
        return result
    rolling = pd.Series(values).rolling(window, min_periods=int(np.ceil(COVERAGE * window)))
    low = rolling.quantile(quantile, interpolation="lower").to_numpy()
    high = rolling.quantile(quantile, interpolation="higher").to_numpy()
    place = quantile * (rolling.count().to_numpy() - 1)
    blended = low + (high - low) * (place - np.floor(place))
    result[first:] = blended[first:]
    return result


def quantiles(windows: Floats, quantile: float) -> Floats:
    """Return the quantile over the last axis of its known values, NaN where less than `COVERAGE` of them is known."""
    if np.isfinite(windows).all():
        return _quantiles(windows, quantile)
    flat = windows.reshape(-1, windows.shape[-1])
    known = (row[np.isfinite(row)] for row in flat)
    enough = COVERAGE * windows.shape[-1]
    found = [float(_quantiles(row, quantile)) if len(row) >= enough else np.nan for row in known]
    return np.array(found).reshape(windows.shape[:-1])


def _quantiles(known: Floats, quantile: float) -> Floats:
    """One order statistic is selected, the next is the least above it: several times as fast as selecting both."""
    place = quantile * (known.shape[-1] - 1)
    low = int(np.floor(place))
    ordered = np.partition(known, low, axis=-1)
    bottom = ordered[..., low]
    if low == place:
        return bottom
    between: Floats = bottom + (ordered[..., low + 1 :].min(axis=-1) - bottom) * (place - low)
    return between
