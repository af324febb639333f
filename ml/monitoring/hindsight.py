"""What a version says of candles when it is asked again: its losses and outputs, row by row, as the scorer would have made them.

So a version is held against candles that it never scored live: those it was judged on, or those on which another one failed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.data import dataset
from ml.data.dataset import Dataset
from ml.evaluation import judgement
from ml.models import online_correction
from ml.models.base import Model
from ml.monitoring.outcomes import KINDS, Measured, of_forecast, of_risk, of_signal
from quantstream import features
from quantstream.core.rolling import Floats
from quantstream.core.time import SCORED, utc
from quantstream.lake.reads import Reads
from quantstream.messages.models import HORIZONS, LEVELS

MEASURED = {"forecast": of_forecast, "signal": of_signal, "risk": of_risk}
OUTPUTS = {
    "forecast": (*(f"width_90_{horizon}" for horizon in HORIZONS), "median_1h"),
    "signal": ("sell", "hold", "buy"),
    "risk": ("risk",),
}
LEAD = (
    features.WARMUP + 1 + online_correction.REACH
) * features.STEP_US  # of candles before the first that is asked for, µs
MOST_SYMBOLS = 8  # that speak for all: more say little more, for symbols move together


@dataclass(frozen=True)
class Rescored:
    """One version's losses and outputs: (rows,) and (rows, OUTPUTS), with whose and when (µs) they are."""

    symbol: npt.NDArray[np.str_]
    opened_at: npt.NDArray[np.int64]
    loss: Floats
    outputs: Floats


def some(symbols: Iterable[str], most: int = MOST_SYMBOLS) -> list[str]:
    """Return the symbols that speak for all: which ones their names decide, so they stay the same."""
    return sorted(sorted(set(symbols), key=lambda name: hashlib.blake2b(name.encode()).digest())[:most])


def outputs_of(kind: str, said: Floats) -> Floats:
    """Return what is watched of a model's predictions: (rows, OUTPUTS)."""
    if kind == "forecast":
        return np.column_stack([said[:, :, -1] - said[:, :, 0], said[:, -1, len(LEVELS) // 2]])
    return said.reshape(len(said), -1)


def rescored(kind: str, model: Model, data: Dataset, start: int, end: int) -> Rescored:
    """Return what a model says of the candles of `[start, end)` (µs) whose outcome is known, corrected as live.

    `data` must reach back as far as its corrections look.
    """
    usable = data.usable(model.names, model.outcomes, model.length)
    rows = usable[(data.opened_at[usable] >= start) & (data.opened_at[usable] < end)]
    if not len(rows):
        return Rescored(np.zeros(0, np.str_), np.zeros(0, np.int64), np.zeros(0), np.zeros((0, len(OUTPUTS[kind]))))
    said = judgement.serve(model, data, rows)
    came = np.stack([data.labels[label][rows] for label in KINDS[kind].labels], axis=1)
    measured: Measured = MEASURED[kind](said, came)
    names = np.array(data.symbols)[data.symbol[rows]]
    return Rescored(names, data.opened_at[rows], measured[1], outputs_of(kind, said))


def newest_rows(lake: Reads, symbols: Sequence[str], start: int, end: int, lead: int = LEAD) -> Dataset:
    """Return features and labels of the candles of `[start, end)` (µs) and of those before that corrections look back on.

    Raises: DataRejected when there are no candles, Unavailable.
    """
    frames = {one: lake.candle_frame([one], SCORED, utc(start - lead), utc(end)) for one in symbols}
    return dataset.build(frames)
