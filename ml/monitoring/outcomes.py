"""What came of scores: rows of the table `outcomes`, one for each candle, model and version, once all that it spoke of is known.

A forecast speaks of three returns, so its row waits for the longest: an hour after the candle's close, as the others'. The
anomaly model has no row here: nobody knows which trades were errors, so its figure is the alarm rate of `live_metrics`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ml import measures
from ml.data import labels
from quantstream import features
from quantstream.core.rolling import Floats
from quantstream.core.time import SCORED
from quantstream.lake.schemas import DERIVED, OUTCOMES, SCHEMAS, TIME
from quantstream.messages.models import HORIZONS, LEVELS, registered_name

QUANTILES = np.array(LEVELS)
BP = 1e4
SIDES = np.array(["Sell", "Hold", "Buy"])  # by the label `action`
KEY = ["symbol", "opened_at", "model", "version", "role"]
COLUMNS = [each for each in SCHEMAS[OUTCOMES] if each.name not in DERIVED]
Measured = tuple[dict[str, Floats], Floats]  # by name: (rows,), and the loss


def of_forecast(said: Floats, came: Floats) -> Measured:
    """Return the measures of (rows, horizons, levels) quantiles of log returns against what came, (rows, horizons).

    Per horizon: pinball loss in bp, whether the interval of 50 and of 90 % held it (0 or 1), and whether the median had the
    right sign (NaN where either is zero). The loss is the mean pinball loss of the horizons, in bp.
    """
    found: dict[str, Floats] = {}
    for h, horizon in enumerate(HORIZONS):
        actual, quantiles = came[:, h], said[:, h]
        median = quantiles[:, len(LEVELS) // 2]
        found[f"pinball_{horizon}_bp"] = measures.pinball_rows(actual, quantiles, QUANTILES) * BP
        found[f"coverage_50_{horizon}"] = _within(actual, quantiles[:, 1], quantiles[:, -2])
        found[f"coverage_90_{horizon}"] = _within(actual, quantiles[:, 0], quantiles[:, -1])
        is_telling = (actual != 0) & (median != 0)
        found[f"hit_{horizon}"] = np.where(is_telling, np.sign(actual) == np.sign(median), np.nan)
    return found, np.mean([found[f"pinball_{horizon}_bp"] for horizon in HORIZONS], axis=0)


def of_signal(said: Floats, came: Floats) -> Measured:
    """Return the measures of probabilities of Sell, Hold and Buy, (rows, 3), against the action that would have been right.

    `log_loss` (the loss) and `brier` (0 to 2).
    """
    actual = came[:, 0].astype(np.intp)
    surprise = measures.surprise(actual, said)
    return {"log_loss": surprise, "brier": ((said - np.eye(3)[actual]) ** 2).sum(axis=1)}, surprise


def of_advice(rows: pa.Table, said: Floats, came: Floats) -> Measured:
    """Return the measures of a signal with those of what was shown of it; `came` holds the hour's return beside the action.

    `hit`: whether the action was the right one; of the chance that who buys ends higher `brier_usual` and `hit_usual`, whether it
    leant to the side on which it ended: NaN where the score does not say, or the price came back to where it was.
    """
    found, loss = of_signal(said, came)
    actual, moved = came[:, 0].astype(np.intp), came[:, 1]
    up = _floats(rows["usually_up"]) if "usually_up" in rows.column_names else np.full(len(said), np.nan)
    ended = np.where(actual == labels.HOLD, np.sign(moved), actual - labels.HOLD)
    is_told = np.isfinite(up) & np.isfinite(ended) & (ended != 0)
    found["hit"] = np.asarray(SIDES[actual] == np.array(rows["action"].to_pylist(), dtype=np.str_), dtype=np.float64)
    found["brier_usual"] = np.where(is_told, (up - (ended > 0)) ** 2, np.nan)
    found["hit_usual"] = np.where(is_told & (up != 0.5), (up > 0.5) == (ended > 0), np.nan)
    return found, loss


def of_risk(said: Floats, came: Floats) -> Measured:
    """Return the measures of the probability of an abnormal hour, (rows,), against 0 or 1: `brier` (the loss), `log_loss`."""
    actual = came[:, 0]
    brier = (said - actual) ** 2
    return {"brier": brier, "log_loss": measures.surprise(actual.astype(np.intp), np.stack([1 - said, said], 1))}, brier


@dataclass(frozen=True)
class Kind:
    """How the scores of one kind of model are read and held against its labels."""

    labels: tuple[str, ...]
    said: Callable[[pa.Table], Floats]  # (rows, …), NaN where a row does not say
    measured: Callable[[pa.Table, Floats, Floats], Measured]
    beside: tuple[str, ...] = ()  # labels that some measures need, too, after the others


def joined(scores: pa.Table, came: pd.DataFrame, role: str, now: datetime) -> pa.Table:
    """Return the rows of `outcomes` that one symbol's scores come to; those whose outcome is not known yet are left out.

    `came` holds the labels of the symbol's candles, by `opened_at` (µs) as its index. Of several scores of a candle by one
    version the first counts: it is the one that was shown.
    """
    if not scores.num_rows:
        return pa.schema(COLUMNS).empty_table()
    scores = first_said(scores)
    parts = [_of_kind(kind, scores, came, role, now) for kind in KINDS]
    return pa.concat_tables(parts)


def first_said(scores: pa.Table) -> pa.Table:
    """Return the first score of each candle, in order of time; a candle that was corrected may have been scored again."""
    scores = scores.sort_by([("opened_at", "ascending"), ("scored_at", "ascending")])
    at = scores["opened_at"].cast(pa.int64()).to_numpy()
    return scores.filter(pa.array(np.diff(at, prepend=-1) != 0))


def _of_kind(kind: str, scores: pa.Table, came: pd.DataFrame, role: str, now: datetime) -> pa.Table:
    how, name = KINDS[kind], registered_name(kind)
    versions = np.array([dict(models or ()).get(name, "") for models in scores["models"].to_pylist()], dtype=object)
    at = scores["opened_at"].cast(pa.int64()).to_numpy()
    actual = came[[*how.labels, *how.beside]].reindex(at).to_numpy()
    said, wanted = how.said(scores), len(how.labels)
    is_known = np.isfinite(actual[:, :wanted]).all(axis=1)
    known = np.isfinite(said.reshape(len(said), -1)).all(axis=1) & is_known & (versions != "")
    rows = scores.filter(pa.array(known))
    if not rows.num_rows:
        return pa.schema(COLUMNS).empty_table()
    values, loss = how.measured(rows, said[known], actual[known])
    count = rows.num_rows
    columns = {
        "symbol": rows["symbol"],
        "interval": pa.array([SCORED] * count),
        "opened_at": rows["opened_at"],
        "revision": rows["revision"],
        "scored_at": rows["scored_at"],
        "model": pa.array([name] * count),
        "version": pa.array(versions[known].tolist()),
        "role": pa.array([role] * count),
        "actual": _maps(dict(zip(how.labels, actual[known, :wanted].T, strict=True))),
        "measures": _maps(values),
        "loss": pa.array(loss),
        "known_at": pa.array([now] * count, TIME),
    }
    return pa.table({each.name: columns[each.name] for each in COLUMNS}).cast(pa.schema(COLUMNS))


def _maps(values: dict[str, Floats]) -> pa.Array:
    """Return a column of maps from columns by name."""
    count, width = len(next(iter(values.values()))), len(values)
    items = np.stack(list(values.values()), axis=1).ravel()
    return pa.MapArray.from_arrays(np.arange(count + 1, dtype=np.int32) * width, list(values) * count, items)


def _within(actual: Floats, low: Floats, high: Floats) -> Floats:
    return np.asarray((actual >= low) & (actual <= high), dtype=np.float64)


def _said_forecast(scores: pa.Table) -> Floats:
    """The quantiles of rows that hold all our horizons and levels."""
    result = np.full((scores.num_rows, len(HORIZONS), len(LEVELS)), np.nan)
    for i, found in enumerate(scores["forecasts"].to_pylist()):
        one = {each["horizon"]: each for each in found or ()}
        if all(horizon in one and one[horizon]["levels"] == list(LEVELS) for horizon in HORIZONS):
            result[i] = [one[horizon]["log_returns"] for horizon in HORIZONS]
    return result


def _said_signal(scores: pa.Table) -> Floats:
    return np.stack([_floats(scores[name]) for name in ("sell", "hold", "buy")], axis=1)


def _floats(column: pa.ChunkedArray) -> Floats:
    return np.asarray(pc.fill_null(column, float("nan")).to_numpy(), dtype=np.float64)


KINDS: dict[str, Kind] = {
    "forecast": Kind(
        tuple(f"return_{horizon}" for horizon in HORIZONS),
        _said_forecast,
        lambda _, said, came: of_forecast(said, came),
    ),
    "signal": Kind(
        ("action",),
        _said_signal,
        of_advice,
        beside=("return_1h",),
    ),
    "risk": Kind(
        ("abnormal",),
        lambda scores: _floats(scores["risk"]) / 100,
        lambda _, said, came: of_risk(said, came),
    ),
}
LABELS = tuple(dict.fromkeys(label for kind in KINDS.values() for label in (*kind.labels, *kind.beside)))
KNOWN_AFTER = (1 + max(labels.HORIZON[label] for label in LABELS)) * features.STEP_US  # of a candle's opening time, µs
