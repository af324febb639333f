"""Scores as the scorer makes them, of made-up models that are as right or as wrong as a test wants, in a real lake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa

from ml.models.base import Model
from quantstream import features
from quantstream.core.rolling import Floats
from quantstream.features import opened_at_us
from quantstream.lake.store import Lake
from quantstream.messages.models import HORIZONS, LEVELS
from quantstream.messages.payloads import Forecast, Score, Signal
from streaming.sink.table_rows import score_row, table_of

SPREAD = np.array([-1.645, -0.674, 0.0, 0.674, 1.645])  # of a normal distribution, at our levels
STEPS = np.sqrt([1, 3, 12])  # of the horizons
VERSIONS = {"quantstream-forecast": "1", "quantstream-signal": "1", "quantstream-risk": "1"}


class SteadyForecast(Model):
    """Expects returns of the same size for ever: right in the market that it knew, too narrow in a wilder one."""

    kind: ClassVar[str] = "forecast"
    outcomes: ClassVar[tuple[str, ...]] = tuple(f"return_{horizon}" for horizon in HORIZONS)
    names = ("log_rms_1h",)

    def __init__(self, size: float) -> None:
        self.size = size

    def predict(self, windows: Floats) -> Floats:
        return np.tile(self.size * STEPS[:, None] * SPREAD[None, :], (len(windows), 1, 1))

    def write(self, folder: Path) -> dict[str, Any]:
        return {"size": self.size}

    @classmethod
    def read(cls, folder: Path, state: dict[str, Any]) -> SteadyForecast:
        return cls(state["size"])


def score(
    symbol: str,
    at: int,
    size: float = 0.001,
    versions: Mapping[str, str] = VERSIONS,
    revision: int = 0,
    risk: float = 10.0,
    scored_after: int = features.STEP_US,
) -> Score:
    """Return a score that expects returns of so much in five minutes."""
    quantiles = size * STEPS[:, None] * SPREAD[None, :]
    forecasts = [
        Forecast(h, list(LEVELS), row.tolist(), row.tolist()) for h, row in zip(HORIZONS, quantiles, strict=True)
    ]
    return Score(
        symbol,
        "5m",
        at,
        revision,
        100.0,
        at + scored_after,
        features.FEATURE_HASH,
        forecasts,
        Signal("Hold", buy=0.2, hold=0.6, sell=0.2, usually_up=0.4, tail_lean=0.0, round_trip_cost=0.002),
        risk,
        0.1,
        models=dict(versions),
    )


def write_scores(lake: Lake, scores: Sequence[Score], table: str = "scores") -> None:
    """Put scores into a lake as the sink does."""
    rows: pa.Table = table_of("scores", [score_row(one) for one in scores])
    lake.append(table, rows)


def scored(symbol: str, candles: pd.DataFrame, size: float | Floats = 0.001, **more: object) -> list[Score]:
    """Return a score of each candle; `size` of one or of all."""
    sizes = np.broadcast_to(np.asarray(size, dtype=np.float64), len(candles))
    return [
        score(symbol, int(at), float(one), **more)  # type: ignore[arg-type]
        for at, one in zip(opened_at_us(candles), sizes, strict=True)
    ]
