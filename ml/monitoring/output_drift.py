"""What a version says live held against what it said of the days before it was registered: quantiles, probabilities, risk."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml.monitoring.drift import Shift, quantiles, shifts
from ml.monitoring.hindsight import outputs_of
from ml.monitoring.live_metrics import WINDOW
from ml.monitoring.outcomes import KINDS as READ_AS
from ml.monitoring.promise import KINDS, Promise
from quantstream.core.time import SCORED
from quantstream.lake.store import Lake

COLUMNS = ["symbol", "interval", "opened_at", "forecasts", "buy", "hold", "sell", "risk", "models"]


def output_shifts(lake: Lake, name: str, version: str, promise: Promise, until: datetime) -> list[Shift]:
    """Return which outputs of a version are distributed otherwise over the day before `until`, the farthest first.

    Raises: Unavailable.
    """
    kind, found = KINDS[name], []
    for symbol in promise.symbols:
        rows = lake.read("scores", [symbol], until - WINDOW, until, COLUMNS)
        rows = rows.filter(pc.equal(rows["interval"], SCORED))
        is_its = [dict(models or ()).get(name) == version for models in rows["models"].to_pylist()]
        rows = rows.filter(pa.array(is_its, pa.bool_()))
        if rows.num_rows:
            found.append(outputs_of(kind, READ_AS[kind].said(rows)))
    return shifts(promise.reference(kind), quantiles(np.concatenate(found))) if found else []
