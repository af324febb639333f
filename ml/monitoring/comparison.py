"""The version that served before, asked about the candles on which its successor fails: would it have been better?"""

from __future__ import annotations

from datetime import datetime

import numpy as np

from ml.evaluation import bootstrap
from ml.monitoring.hindsight import newest_rows, rescored, some
from ml.monitoring.live_metrics import BLOCK, WINDOW, outcomes
from ml.monitoring.promise import KINDS
from ml.monitoring.verdict import Better
from ml.serving.registry import Registry
from quantstream import features
from quantstream.core.time import DAY, micros
from quantstream.lake.schemas import OUTCOMES
from quantstream.lake.store import Lake


def previous_on_the_same(
    lake: Lake, registry: Registry, name: str, version: str, previous: str, until: datetime
) -> Better | None:
    """Return by how much less `previous` would have lost than `version` did over the day before `until`; None if nothing tells.

    Paired by symbol and candle, bounds as `live_metrics` has them. Raises: ModelRejected when it does not load here,
    DataRejected when there are no candles, Unavailable.
    """
    model = registry.load(name, previous).model
    lost: dict[tuple[str, int], float] = {}
    chosen = some(lake.rows(OUTCOMES))
    for rows in outcomes(lake, until - WINDOW, until, chosen):
        for row in rows.select(["symbol", "opened_at", "model", "version", "role", "loss"]).to_pylist():
            if (row["model"], row["version"], row["role"]) == (name, version, "champion"):
                lost[row["symbol"], micros(row["opened_at"])] = row["loss"]
    if not lost:
        return None
    end = micros(until)
    ahead = features.HOUR * features.STEP_US
    data = newest_rows(lake, sorted({symbol for symbol, _ in lost}), end - DAY, end + ahead)
    again = rescored(KINDS[name], model, data, end - DAY, end)
    keys = list(zip(again.symbol.tolist(), again.opened_at.tolist(), strict=True))
    both = np.array([key in lost for key in keys], dtype=bool)
    if not both.any():
        return None
    theirs = np.array([lost[key] for key in keys if key in lost])
    blocks = np.unique(again.opened_at[both] // BLOCK, return_inverse=True)[1].astype(np.intp)
    gain = bootstrap.mean_gain(again.loss[both], theirs, blocks)
    return Better(previous, gain[""], gain["_low"])
