"""What every judgement shares: the report, a model's live predictions, and the cuts by symbol, hour and volatility."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.data.dataset import Dataset, Rows, Split, blocks, thin
from ml.evaluation import bootstrap
from ml.evaluation.bootstrap import Blocks
from ml.models import online_correction
from ml.models.base import Model
from quantstream import features
from quantstream.core.rolling import Floats
from quantstream.core.time import HOUR

CHUNK = 20_000  # sequences are memory
BASELINE_ROWS = 200_000  # as many as the models themselves learn from
SEED = 1
Chosen = npt.NDArray[np.bool_]
Figures = Callable[[Chosen], dict[str, float]]


@dataclass(frozen=True)
class Loss:
    """What each judged row cost, lower is better, for paired comparisons with other models on the same rows."""

    rows: Floats  # (rows,)
    blocks: Blocks
    baselines: Mapping[str, Floats] = field(default_factory=dict)  # in words → (rows,): what a simple mind's cost
    floor: float = 1e-12  # the least mean that an excess is told relative to

    def against_baselines(self) -> dict[str, dict[str, Any]]:
        """Return how it compares with each baseline, as JSON values."""
        found = {name: bootstrap.compared(self.rows, each, self.blocks) for name, each in self.baselines.items()}
        return {name: {**asdict(one), "told": str(one)} for name, one in found.items()}


Bounded = list[float]  # a figure with its 95 % bounds


@dataclass(frozen=True)
class Report:
    """Figures of one model on held-out data: pooled, by symbol and by other cuts, and the curves that a page draws.

    `losses` and `said` are kept beside, row by row, and are no part of the figures.
    """

    kind: str
    metrics: dict[str, float]
    symbols: dict[str, dict[str, float]] = field(default_factory=dict)
    judged_from: int = 0  # µs
    judged_to: int = 0  # µs
    rows: int = 0
    cuts: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)  # by hour, by volatility
    curves: dict[str, list[list[float]]] = field(default_factory=dict)
    skills: dict[str, dict[str, Bounded]] = field(default_factory=dict)  # by cut: loss saved against the baseline
    losses: dict[str, Loss] = field(default_factory=dict)
    said: dict[str, Floats] = field(default_factory=dict)  # row by row: what the model would have acted on

    def fields(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "kind": self.kind,
            "pooled": self.metrics,
            "symbols": self.symbols,
            "judged_from_us": self.judged_from,
            "judged_to_us": self.judged_to,
            "rows": self.rows,
            **self.cuts,
            "curves": self.curves,
            "skills": self.skills,
            "baselines": {name: loss.against_baselines() for name, loss in self.losses.items() if loss.baselines},
        }


def fitted_on(data: Dataset, split: Split) -> Rows:
    """Return the rows that baselines are fitted on: those the model saw; of what does not fit memory an even share of them."""
    rows = np.concatenate([split.fit, split.calibrate])
    return thin(rows, BASELINE_ROWS, SEED) if data.is_on_disk else rows


def over(rows: Rows, work: Callable[[Rows], Floats]) -> Floats:
    """Return what `work` makes of many rows, done some at a time: (rows, …)."""
    return np.concatenate([work(some) for some in blocks(rows, CHUNK)] or [work(rows)])


def windows_of(model: Model, data: Dataset, rows: Rows) -> Floats:
    """Return (rows, length, names): what a model reads of some rows."""
    return data.sequences(rows, model.names, model.length)


def predict(model: Model, data: Dataset, rows: Rows) -> Floats:
    """Return a model's raw predictions of many rows."""
    return over(rows, lambda some: model.predict(windows_of(model, data, some)))


def serve(model: Model, data: Dataset, rows: Rows) -> Floats:
    """Return the predictions that a model would have made live, each corrected by the outcomes known at its candle's close."""
    known = data.usable(model.names, (), model.length)
    order = np.argsort(rows, kind="stable")
    result: Floats | None = None
    for start, end in data.spans:
        asked = order[slice(*np.searchsorted(rows, (start, end), sorter=order))]
        if not len(asked):
            continue
        at = data.opened_at[rows[asked]]
        first = int(at.min()) - online_correction.REACH * features.STEP_US
        own = known[slice(*np.searchsorted(known, (start, end)))]
        lead = own[(data.opened_at[own] >= first) & (data.opened_at[own] <= at.max())]
        place = (data.opened_at[lead] - first) // features.STEP_US
        raw = predict(model, data, lead)
        size = int(place.max()) + 1
        predicted, outcomes = np.full((size, *raw.shape[1:]), np.nan), np.full((size, len(model.outcomes)), np.nan)
        predicted[place] = raw
        outcomes[place] = np.stack([data.labels[label][lead] for label in model.outcomes], axis=1)
        if result is None:
            result = np.empty((len(rows), *raw.shape[1:]))
        data.forget()
        result[asked] = model.adapt(predicted, outcomes)[(at - first) // features.STEP_US]
    assert result is not None
    return result


def skill_of(loss: float, baseline: float) -> float:
    """Return 1 − a loss over a baseline's; 0 when the baseline has none."""
    return 1 - loss / baseline if baseline > 0 else 0.0


def named(name: str, found: dict[str, float], wanted: Sequence[str]) -> dict[str, float]:
    """Return some of the parts of a figure (its bounds, its test) under the figure's name."""
    return {name + key: found[key] for key in wanted}


def report_of(kind: str, data: Dataset, rows: Rows, figures: Figures) -> Report:
    """Return the figures of all rows, of each symbol's and of the cuts; each is computed by `figures` from a mask of rows."""
    symbol, at = data.symbol[rows], data.opened_at[rows]
    by_symbol = {
        name: figures(symbol == i)
        for i, name in enumerate(data.symbols)
        if (symbol == i).any() and len(data.symbols) > 1
    }
    whole = figures(np.ones(len(rows), dtype=bool))
    return Report(kind, whole, by_symbol, int(at.min()), int(at.max()), len(rows), _cuts(data, rows, figures))


def skills_of(data: Dataset, rows: Rows, ours: Floats, theirs: Floats) -> dict[str, dict[str, Bounded]]:
    """Return the loss saved against a baseline in each cut, with its bounds; cuts too small for bounds are left out."""
    named = {
        "by_hour": {f"{one:02d}": part for one, part in _hours(data, rows)},
        "by_volatility": dict(_regimes(data, rows)),
        "by_symbol": {name: data.symbol[rows] == i for i, name in enumerate(data.symbols)},
    }
    blocks_of_row = bootstrap.blocks_of(data.opened_at[rows]).of_row
    return {
        cut: {
            key: list(
                bootstrap.skill(
                    ours[part], theirs[part], np.unique(blocks_of_row[part], return_inverse=True)[1]
                ).values()
            )
            for key, part in parts.items()
            if len(np.unique(blocks_of_row[part])) > 1
        }
        for cut, parts in named.items()
    }


def _hours(data: Dataset, rows: Rows) -> list[tuple[int, Chosen]]:
    hour = (data.opened_at[rows] + features.STEP_US) // HOUR % 24
    return [(one, hour == one) for one in range(24) if (hour == one).any()]


def _regimes(data: Dataset, rows: Rows) -> list[tuple[str, Chosen]]:
    volatility = data.matrix(rows, ("log_rms_24h",))[:, 0]
    third = np.digitize(volatility, np.quantile(volatility, (1 / 3, 2 / 3)))
    return [(name, third == i) for i, name in enumerate(("calm", "usual", "wild")) if (third == i).any()]


def _cuts(data: Dataset, rows: Rows, figures: Figures) -> dict[str, dict[str, dict[str, float]]]:
    """Figures by hour of the day and by the day's volatility against its own tertiles."""
    hours = {f"{one:02d}": figures(part) for one, part in _hours(data, rows)}
    regimes = {name: figures(part) for name, part in _regimes(data, rows)}
    return {"by_hour": hours, "by_volatility": regimes}
