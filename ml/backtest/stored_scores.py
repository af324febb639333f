"""Scores of the lake as decisions to buy or sell: the actions as they were scored, or as the user's costs would have had them.

Of several scores of a candle the first counts: it is the one that was shown. It could be acted on when its candle was closed and
the scorer had said it, whichever was later. The two clocks are one in a live market; the market of a simulated exchange runs
ahead of ours, and a recording's lies behind it, so a score may be taken as known at its candle's close.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ml.backtest.booking import Decision
from ml.data import labels
from ml.monitoring.joining import ROLES
from ml.monitoring.outcomes import first_said
from ml.serving import novelty
from quantstream import features
from quantstream.core.rolling import Floats
from quantstream.core.time import SCORED, SCORED_LENGTH
from quantstream.lake.quarantine import without
from quantstream.lake.snapshots import Snapshot
from quantstream.messages.models import registered_name

MODEL = registered_name("signal")
HORIZON = labels.HORIZON["action"] * SCORED_LENGTH  # from the candle's close, µs
READ = ["symbol", "interval", "opened_at", "scored_at", "action", "buy", "sell", "expected_return", "novelty", "models"]
Clock = Literal["score", "candle"]


@dataclass(frozen=True)
class Choice:
    """Which scores count, and as what."""

    tables: Sequence[str] = ("scores",)
    version: str | None = None  # of the signal; all of them where none is named
    threshold: float | None = None  # the log return that probabilities must promise; without it actions are as scored
    clock: Clock = "score"


@dataclass
class Counted:
    """What became of the scores that were read."""

    scores: int = 0  # that say Buy, Hold or Sell
    holds: int = 0
    silent: int = 0  # without a signal: no model, or it abstained
    held_back: int = 0  # of days in quarantine
    early: int = 0  # made before their candle's close: the clocks differ
    unknown: int = 0  # of which no barrier, so no threshold, is known
    versions: set[str] = field(default_factory=set)


def decisions(
    there: Snapshot,
    symbol: str,
    period: tuple[datetime, datetime],
    choice: Choice,
    widths: Callable[[], pd.Series],
    counted: Counted,
) -> list[Decision]:
    """Return the decisions of one symbol's scores of candles opened in a period, in order of time.

    `widths` returns the barriers' distances by opening time (µs), as `widths_of` has them; it is asked where one acts.
    """
    rows = first_said(pa.concat_tables([_rows(there, symbol, period, name, choice, counted) for name in choice.tables]))
    at = rows["opened_at"].cast(pa.int64()).to_numpy()
    is_asked = choice.threshold is not None or bool(pc.any(pc.not_equal(rows["action"], "Hold")).as_py())
    width = widths().reindex(at).to_numpy(dtype=np.float64) if is_asked else np.full(len(at), np.nan)
    side = _sides(rows, width, choice, counted)
    counted.scores, counted.holds = counted.scores + len(at), counted.holds + int((side == 0).sum())
    scored, close = rows["scored_at"].cast(pa.int64()).to_numpy(), at + SCORED_LENGTH
    counted.early += int((scored < close).sum()) if choice.clock == "score" else 0
    known = np.maximum(scored, close) if choice.clock == "score" else close
    names, roles = rows["version"].to_pylist(), rows["role"].to_pylist()
    return [
        Decision(
            *(symbol, int(at[i]), int(scored[i]), int(known[i]), int(close[i]) + HORIZON),
            *(names[i], roles[i], int(side[i]), float(width[i])),
        )
        for i in np.flatnonzero(side)
    ]


def widths_of(candles: pd.DataFrame) -> pd.Series:
    """Return how far the barriers of each candle's score lie, as a log return, by its opening time (µs); NaN where unknown."""
    if not len(candles):
        return pd.Series(dtype=np.float64)
    grid, at = features.grid_of(candles), features.opened_at_us(candles)
    width = labels.barrier(grid.tail(features.DAY).rms_1d)
    return pd.Series(width[(at - grid.at[0]) // features.STEP_US], index=at)


def _rows(
    there: Snapshot, symbol: str, period: tuple[datetime, datetime], table: str, choice: Choice, counted: Counted
) -> pa.Table:
    """The rows of a table that have a signal of the version that is asked for, with that version and the table's role."""
    rows = there.read(table, [symbol], *period, READ)
    rows = rows.filter(pc.equal(rows["interval"], SCORED))
    free = without(rows, "scores", there.held("scores"))
    counted.held_back += rows.num_rows - free.num_rows
    versions = [dict(models or ()).get(MODEL, "") for models in free["models"].to_pylist()]
    free = free.append_column("version", pa.array(versions, pa.string()))
    free = free.append_column("role", pa.array([ROLES[table]] * len(versions), pa.string())).drop_columns(["models"])
    wanted = pc.not_equal(free["version"], "") if choice.version is None else pc.equal(free["version"], choice.version)
    said = free.filter(pc.and_(wanted, pc.is_valid(free["buy"])))
    counted.silent += free.num_rows - said.num_rows if choice.version is None and table == "scores" else 0
    counted.versions |= set(said["version"].unique().to_pylist())
    return said


def _sides(rows: pa.Table, width: Floats, choice: Choice, counted: Counted) -> npt.NDArray[np.int64]:
    """1 where to buy, −1 where to sell, 0 where to hold."""
    if choice.threshold is None:
        action = np.array(rows["action"].to_pylist(), dtype=object)
        return np.where(action == "Buy", 1, np.where(action == "Sell", -1, 0)).astype(np.int64)
    said, lean = rows["expected_return"].to_numpy(), rows["buy"].to_numpy() - rows["sell"].to_numpy()
    edge = np.where(np.isnan(said), width * lean, said)  # scores of before, and of models of before, say none
    strange = rows["novelty"].fill_null(0.0).to_numpy()
    counted.unknown += int(np.isnan(width).sum())
    is_known = np.isfinite(width) & ~np.array([novelty.is_novel(one) for one in strange], dtype=bool)
    edge = np.where(is_known, edge, 0.0)
    return np.where(np.abs(edge) > choice.threshold, np.sign(edge), 0).astype(np.int64)
