"""What a model would have read live at some held-out candles, computed from the candles alone as the scorer does it.

So it can be held against what the training table said (a feature that saw the future differs), and candles can be changed before
(other prices, wilder moves) to see what a model makes of it. Nothing after a candle is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.data.dataset import Dataset, Rows
from quantstream import features
from quantstream.core.rolling import Floats
from quantstream.core.time import DAY

PLACES = 8  # candles that are looked at
SYMBOLS = 3  # of so many symbols at most
NEWEST = 20 * DAY  # µs: within two calendar months
SEED = 23
DEARER = 8.0  # times the price; a power of two, so that nothing is rounded otherwise
WILDER = 3.0  # times each move of the last `WILD` candles
WILD = 72  # six hours
PRICES = ("open", "high", "low", "close")
CLOSE = 1e-4  # relative to a feature's own size: tables of many rows keep 32 bits


@dataclass(frozen=True)
class LiveWindows:
    """Windows (places, length, `features.NAMES`) at some rows of a dataset: as they were, at other prices, after wilder moves."""

    rows: Rows
    plain: Floats
    dearer: Floats
    wilder: Floats

    def of(self, windows: Floats, names: tuple[str, ...], length: int) -> Floats:
        """Return what a model reads of some of them."""
        places = [features.NAMES.index(name) for name in names]
        return windows[:, windows.shape[1] - length :, places]


def choose(data: Dataset, rows: Rows) -> Rows:
    """Return the held-out rows that are looked at: of few symbols, spread over the newest days, the same for everybody."""
    at = data.opened_at[rows]
    rows = rows[at > at.max() - NEWEST]
    symbols = [i for i in range(len(data.symbols)) if (data.symbol[rows] == i).any()][:SYMBOLS]
    some = rows[np.isin(data.symbol[rows], symbols)]
    return np.sort(np.random.default_rng(SEED).choice(some, min(PLACES, len(some)), replace=False))


def look(data: Dataset, rows: Rows, candles: Mapping[str, pd.DataFrame], length: int) -> LiveWindows:
    """Return the windows at rows of a dataset, from each symbol's candles (columns as `Lake.candle_frame`).

    Raises: DataRejected as `features.compute`.
    """
    cuts = [_until(candles[data.symbols[data.symbol[row]]], int(data.opened_at[row]), length) for row in rows]
    return LiveWindows(
        rows,
        _windows(cuts, length),
        _windows([_times(cut, DEARER) for cut in cuts], length),
        _windows([_wilder(cut) for cut in cuts], length),
    )


def differing(data: Dataset, found: LiveWindows, names: tuple[str, ...]) -> dict[str, str]:
    """Return the features that the dataset has otherwise than live at these rows, and how they differ there.

    A number is as good as another that differs by less than what 32 bits keep of it.
    """
    told, live = data.matrix(found.rows, names), found.of(found.plain, names, 1)[:, -1]
    known = np.isfinite(told)
    far = known & ~(np.abs(told - live) <= CLOSE * np.maximum(np.abs(live), 1.0) + 0.0)
    columns = np.flatnonzero(far.any(axis=0))
    places = {int(i): int(np.flatnonzero(far[:, i])[0]) for i in columns}
    return {
        names[i]: f"{told[row, i]:.6g} was learnt from, {live[row, i]:.6g} is computed live"
        for i, row in places.items()
    }


def _until(candles: pd.DataFrame, at: int, length: int) -> pd.DataFrame:
    """Return the candles up to one, and as many before as its window's features look back; one before that says they go on."""
    times = features.opened_at_us(candles)
    end = int(np.searchsorted(times, at, side="right"))
    first = at - (features.WARMUP + length) * features.STEP_US
    return candles.iloc[max(int(np.searchsorted(times, first, side="right")) - 1, 0) : end].reset_index(drop=True)


def _windows(cuts: list[pd.DataFrame], length: int) -> Floats:
    return np.concatenate([features.newest([features.series_of(cut)], length) for cut in cuts])


def _times(candles: pd.DataFrame, factor: float) -> pd.DataFrame:
    return candles.assign(**{name: candles[name] * factor for name in PRICES})


def _wilder(candles: pd.DataFrame) -> pd.DataFrame:
    """The same candles, but that all the last ones did, up and down, is so many times as far (in logs) from where they began."""
    start = max(len(candles) - WILD, 1)
    base = float(candles["close"].iloc[start - 1])
    changed = {name: candles[name].to_numpy(dtype=np.float64).copy() for name in PRICES}
    for values in changed.values():
        values[start:] = base * np.exp(WILDER * np.log(values[start:] / base))
    return candles.assign(**changed)
