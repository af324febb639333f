"""One symbol and horizon hour by hour: the risk that was told, and what came of it; of a trial or of live forecasts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.value_at_risk.loss_tail import LEVELS, Risk
from ml.value_at_risk.observations import Horizon, Observations
from quantstream.core.rolling import Floats
from quantstream.core.time import HOUR, micros

SIDES = {"long": 1.0, "short": -1.0}
PLAIN = "plain_"  # what historical simulation says, in a trial
Columns = dict[str, Floats]


@dataclass(frozen=True)
class JudgedHours:
    """Hours (µs, one after the other) and columns of them, NaN where something is not known: (hours,) each.

    `sigma` and, in a trial, `har`: of the log return. `loss` is what a long position lost, as a share of the price, and
    `variance` what σ² should have been. `var_long_0.95` and its like are shares of the price.
    """

    symbol: str
    at: npt.NDArray[np.int64]
    columns: Mapping[str, Floats]

    def losses(self, side: str) -> Floats:
        """Return what a side lost."""
        return np.asarray(SIDES[side] * self.columns["loss"])

    def between(self, start: int, end: int) -> JudgedHours:
        """Return the hours of `(start, end]` (µs)."""
        return self.where((self.at > start) & (self.at <= end))

    def where(self, part: npt.NDArray[np.bool_]) -> JudgedHours:
        """Return some of the hours."""
        return JudgedHours(self.symbol, self.at[part], {name: each[part] for name, each in self.columns.items()})


def named(what: str, side: str, level: float, of: str = "") -> str:
    """Return a column's name; `what` is `var` or `es`."""
    return f"{of}{what}_{side}_{level:.2f}"


def empty(hours: npt.NDArray[np.int64], in_trial: bool = False) -> Columns:
    """Return columns of which nothing is known."""
    told = [named(what, side, level) for what in ("var", "es") for side in SIDES for level in LEVELS]
    more = ["har", *(PLAIN + name for name in told)] if in_trial else []
    return {name: np.full(len(hours), np.nan) for name in ("sigma", "loss", "variance", *told, *more)}


def put(columns: Columns, place: int, sides: Mapping[str, Mapping[float, Risk]], of: str = "") -> None:
    """Put the risks of both sides at an hour."""
    for side, by_level in sides.items():
        for level, risk in by_level.items():
            columns[named("var", side, level, of)][place] = risk.value_at_risk
            columns[named("es", side, level, of)][place] = risk.expected_shortfall


def came(columns: Columns, place: int, seen: Observations, horizon: Horizon, row: int) -> None:
    """Put what came after a row of the candles at an hour; NaN while it is not known."""
    columns["loss"][place] = -np.expm1(seen.returns[horizon.name][row])
    columns["variance"][place] = seen.variances[horizon.name][row]


def of_rows(
    symbol: str, rows: Iterable[Mapping[str, Any]], seen: Observations, horizon: Horizon, hours: npt.NDArray[np.int64]
) -> JudgedHours:
    """Return live forecasts (rows of the table `value_at_risk`) held against candles; of several of an hour the first."""
    columns = empty(hours)
    for row in sorted(rows, key=lambda one: one["made_at"], reverse=True):
        place = int((micros(row["told_at"]) - hours[0]) // HOUR)
        if row["horizon"] == horizon.name and 0 <= place < len(hours):
            risks = {
                side: {
                    level: Risk(value, shortfall)
                    for level, value, shortfall in zip(
                        row["levels"], row[f"var_{side}"], row[f"es_{side}"], strict=True
                    )
                    if level in LEVELS
                }
                for side in SIDES
            }
            put(columns, place, risks)
            columns["sigma"][place] = row["sigma"]
            if (found := seen.place(int(hours[place]))) is not None:
                came(columns, place, seen, horizon, found)
    return JudgedHours(symbol, hours, columns)
