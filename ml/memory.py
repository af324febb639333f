"""What each live model said of each symbol's last candles and what came of it: the state of `ml.online`, kept up and rebuilt.

It follows from the candles alone. Kept in memory it costs one new row a candle; after a start, a new model or a hole it is
computed again from the history, as far as that reaches back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml import labels, online
from ml.loaded import LoadedModel
from ml.models.base import Model
from quantstream import features
from quantstream.windows import Floats

HISTORY = features.WARMUP + 1 + online.REACH  # candles from which everything can be rebuilt
UNKNOWN = max(labels.HORIZON.values()) + 1  # of the newest rows whose outcomes may still come


@dataclass
class _Past:
    """One model on one symbol: the newest row is that of the candle at `at`."""

    model: Model
    at: int
    said: Floats  # (REACH + 1, …)
    came: Floats  # (REACH + 1, outcomes)


class Memory:
    """The pasts of all models and symbols."""

    def __init__(self) -> None:
        self._pasts: dict[tuple[str, str], _Past] = {}

    def adapt(self, symbol: str, loaded: LoadedModel, frame: pd.DataFrame, said: Floats) -> Floats:
        """Return what a model says of the newest candle of `frame`, corrected by how its last sayings came out.

        `said` is its raw output for that candle; to be called once for each candle.
        """
        model = loaded.model
        if not model.outcomes:
            return said
        at = int(features.opened_at_us(frame.iloc[-1:])[0])
        past = self._pasts.get((symbol, loaded.name))
        if past is None or past.model is not model or at != past.at + features.STEP_US:
            past = self._pasts[symbol, loaded.name] = _rebuilt(model, frame, at, said.shape)
        else:
            past.at = at
            past.said[:-1], past.came[:-1] = past.said[1:], past.came[1:]
            newest = _outcomes(model, frame, at, UNKNOWN)
            past.came[-len(newest) :] = newest
        past.said[-1] = said
        adapted: Floats = model.adapt(past.said, past.came, rows=1)[0]
        return np.asarray(adapted)


def _rebuilt(model: Model, frame: pd.DataFrame, at: int, shape: tuple[int, ...]) -> _Past:
    """What the model would have said of the candles before the newest."""
    size = online.REACH + 1
    said = np.full((size, *shape), np.nan)
    computed = features.compute(frame, rows=size + model.length - 1)
    place = _place(frame, at, size + model.length - 1, len(computed))
    grid = np.full((size + model.length - 1, len(model.names)), np.nan)
    inside = place >= 0
    grid[place[inside]] = computed[list(model.names)].to_numpy()[inside]
    windows = np.lib.stride_tricks.sliding_window_view(grid, model.length, axis=0).transpose(0, 2, 1)
    able = np.flatnonzero(np.isfinite(windows).all(axis=(1, 2)))
    if len(able):
        said[able] = model.predict(np.ascontiguousarray(windows[able]))
    return _Past(model, at, said, _outcomes(model, frame, at, size))


def _outcomes(model: Model, frame: pd.DataFrame, at: int, size: int) -> Floats:
    """(size, outcomes) of the last places, NaN where not known yet."""
    found = labels.compute(frame, rows=size, names=model.outcomes)
    came = np.full((size, len(model.outcomes)), np.nan)
    place = _place(frame, at, size, len(found))
    came[place[place >= 0]] = found.to_numpy()[place >= 0]
    return came


def _place(frame: pd.DataFrame, at: int, size: int, count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Places of the last `count` candles among the `size` that end at the newest; below 0 is before them."""
    opened = features.opened_at_us(frame.iloc[len(frame) - count :])
    return (opened - at) // features.STEP_US + size - 1
