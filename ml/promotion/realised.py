"""What a challenger and the champion realised on the same candles, read from the lake.

Losses are the table `outcomes`'. The anomaly model has none, for nobody knows which trades were errors: of it the share of
candles that it calls novel is held against the champion's, from the scores themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ml.promotion.shadow import Paired
from ml.serving import novelty
from quantstream.lake.schemas import OUTCOMES, SCHEMAS, SHADOW_SCORES
from quantstream.lake.store import Lake
from quantstream.messages.models import registered_name

MEASURES = {
    registered_name("forecast"): "mean pinball loss in bp",
    registered_name("signal"): "log loss",
    registered_name("risk"): "Brier score",
    registered_name("anomaly"): "share of candles called novel",
}
CLASSES: Mapping[str, tuple[str, tuple[str, ...]]] = {  # the label of a model of probabilities, and what may come
    registered_name("signal"): (
        "action",
        ("a fall beyond the costs", "neither rise nor fall", "a rise beyond the costs"),
    ),
    registered_name("risk"): ("abnormal", ("a usual hour", "an abnormal hour")),
}
MOST_SYMBOLS = 200  # that are read: more say nothing more of one model against another
KEY = ["symbol", "opened_at"]


def paired(lake: Lake, name: str, challenger: str, champion: str, back: timedelta) -> Paired:
    """Return the losses of two versions on the same candles, of the last `back` of the market's time.

    Raises: Unavailable.
    """
    if name == registered_name("anomaly"):
        ours = _novel(lake, SHADOW_SCORES, name, challenger, back)
        theirs = _novel(lake, "scores", name, champion, back)
    else:
        rows = _recent(lake, OUTCOMES, back, ["symbol", "opened_at", "model", "version", "role", "actual", "loss"])
        ours = _losses(rows, name, challenger, "challenger")
        theirs = _losses(rows, name, champion, "champion")
    both = ours.merge(theirs, on=KEY, suffixes=("_ours", "_theirs"))
    at = both["opened_at"].to_numpy(dtype=np.int64)
    losses = both["loss_ours"].to_numpy(np.float64), both["loss_theirs"].to_numpy(np.float64)
    if name not in CLASSES:
        return Paired(at, *losses, MEASURES[name])
    return Paired(at, *losses, MEASURES[name], both["came_ours"].to_numpy(np.int64), CLASSES[name][1])


def _losses(rows: pa.Table, name: str, version: str, role: str) -> pd.DataFrame:
    wanted = (pc.field("model") == name) & (pc.field("version") == version) & (pc.field("role") == role)
    kept = rows.filter(wanted & pc.field("loss").is_valid())
    found = _frame(kept, rows["loss"].type, "loss")
    if name not in CLASSES:
        return found
    label = CLASSES[name][0]
    came = np.array([dict(actual or ()).get(label, np.nan) for actual in kept["actual"].to_pylist()], dtype=np.float64)
    return found.assign(came=came[found.index]).dropna(subset=["came"])


def _novel(lake: Lake, table: str, name: str, version: str, back: timedelta) -> pd.DataFrame:
    rows = _recent(lake, table, back, ["symbol", "opened_at", "models", "novelty"])
    by = np.array([dict(models or ()).get(name) == version for models in rows["models"].to_pylist()], dtype=bool)
    kept = rows.filter(pa.array(by, pa.bool_())).filter(pc.field("novelty").is_valid())
    flags = pa.array([float(novelty.is_novel(one)) for one in kept["novelty"].to_pylist()], pa.float64())
    return _frame(kept.append_column("loss", flags), pa.float64(), "loss")


def _frame(rows: pa.Table, kind: Any, column: str) -> pd.DataFrame:
    """Return symbol, opening time (µs) and loss, finite, the first of each candle."""
    frame = pd.DataFrame(
        {
            "symbol": rows["symbol"].to_pylist(),
            "opened_at": rows["opened_at"].cast(pa.int64()).to_numpy(),
            "loss": rows[column].cast(kind).to_numpy(zero_copy_only=False),
        }
    )
    finite: pd.DataFrame = frame[np.isfinite(frame["loss"])]
    return finite.drop_duplicates(KEY)


def _recent(lake: Lake, table: str, back: timedelta, columns: Sequence[str]) -> pa.Table:
    """Return the rows of the last `back` of the market's time, of at most `MOST_SYMBOLS` symbols, evenly chosen by name."""
    extents = lake.extent(table) if lake.has(table) else {}
    if not extents:
        return pa.table({name: pa.array([], kind) for name, kind in _kinds(table, columns)})
    step = -(-len(extents) // MOST_SYMBOLS)
    newest: datetime = max(at for _, at in extents.values())
    return lake.read(table, sorted(extents)[::step], start=newest - back, columns=list(columns))


def _kinds(table: str, columns: Sequence[str]) -> list[tuple[str, pa.DataType]]:
    return [(name, SCHEMAS[table].field(name).type) for name in columns]
