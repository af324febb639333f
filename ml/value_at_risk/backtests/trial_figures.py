"""Value at risk tried on a folder of candles, hour by hour after the end of another: what `python -m ml evaluate` says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ml.value_at_risk.backtests.coverage_figures import Figures, figures, gains
from ml.value_at_risk.backtests.judged_hours import SIDES, JudgedHours
from ml.value_at_risk.backtests.walk_forward import told
from ml.value_at_risk.loss_tail import LEVELS
from ml.value_at_risk.observations import HORIZONS, Horizon
from quantstream.core.errors import DataRejected
from quantstream.core.time import HOUR, utc

KIND = "value_at_risk"
Cuts = dict[str, dict[str, float]]


def trial(frames: Mapping[str, pd.DataFrame], start: int, end: int) -> dict[str, Any]:
    """Return the figures of the hours of `[start, end)` (µs): pooled, by symbol, by month, and exceedances by both.

    Nothing is fitted beforehand: each day learns from the 180 days before it.
    Raises: DataRejected when no symbol has the history for a single hour.
    """
    first = start + (-start) % HOUR
    found = [told(symbol, frame, first, end) for symbol, frame in sorted(frames.items())]
    by_horizon = {one.name: _known([each[one.name] for each in found]) for one in HORIZONS}
    if not all(by_horizon.values()):
        raise DataRejected("no symbol has the month of candles before an hour that value at risk needs")
    rows = sum(int(np.isfinite(one.columns["sigma"]).sum()) for one in by_horizon[HORIZONS[0].name])
    result: dict[str, Any] = {"kind": KIND, "rows": rows, "pooled": {}, "symbols": {}, "months": {}, "exceeded": {}}
    for horizon in HORIZONS:
        judged = by_horizon[horizon.name]
        result["pooled"] |= _suffixed(_all(judged, horizon), horizon)
        for one in judged:
            result["symbols"].setdefault(one.symbol, {}).update(_suffixed(_all([one], horizon), horizon))
            result["exceeded"].setdefault(one.symbol, {})[horizon.name] = _by_month(one, horizon)
        for month, part in _months(judged).items():
            result["months"].setdefault(month, {}).update(_suffixed(figures(part, horizon), horizon))
    return result


def _all(judged: Sequence[JudgedHours], horizon: Horizon) -> Figures:
    return figures(judged, horizon) | gains(judged, horizon)


def _known(judged: Sequence[JudgedHours]) -> list[JudgedHours]:
    """Those of which anything was told and came."""
    return [one for one in judged if np.isfinite(one.columns["sigma"] * one.columns["loss"]).any()]


def _suffixed(found: Figures, horizon: Horizon) -> Figures:
    return {_named(name, horizon.name): value for name, value in found.items()}


def _named(name: str, horizon: str) -> str:
    """A figure's name with its horizon, as those of the forecast have it: before the end of an interval."""
    bound = next((one for one in ("_low", "_high") if name.endswith(one)), "")
    return f"{name.removesuffix(bound)}_{horizon}{bound}"


def _months(judged: Sequence[JudgedHours]) -> dict[str, list[JudgedHours]]:
    """The hours of each month (2023-04) that has any."""
    names = np.array([f"{utc(int(at)):%Y-%m}" for at in judged[0].at])
    parts = {month: _known([one.where(names == month) for one in judged]) for month in np.unique(names).tolist()}
    return {month: part for month, part in parts.items() if part}


def _by_month(one: JudgedHours, horizon: Horizon) -> Cuts:
    """By month the windows, the share beyond each level, and how many times as often one follows another."""
    wanted = [
        f"{what}_{level * 100:.0f}_{side}" for what in ("exceeded", "clustering") for level in LEVELS for side in SIDES
    ]
    found: Cuts = {}
    for month, part in _months([one]).items():
        own = figures(part, horizon)
        found[month] = {name: own[name] for name in ("windows", *wanted) if np.isfinite(own.get(name, np.nan))}
    return found
