"""How live forecasts of value at risk held, as rows of the table `live_figures` beside those of the models that serve."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import Any

import numpy as np
import pyarrow as pa

from ml.value_at_risk.backtests.coverage_figures import Figures, figures
from ml.value_at_risk.backtests.judged_hours import SIDES, JudgedHours
from ml.value_at_risk.live_risk import JUDGED, Looked, look
from ml.value_at_risk.loss_tail import LEVELS
from ml.value_at_risk.observations import HORIZONS, Horizon
from ml.value_at_risk.symbol_risk import VERSION
from quantstream.lake.schemas import LIVE_FIGURES, SCHEMAS
from quantstream.lake.store import Lake

MODEL, ROLE = "value-at-risk", "forecast"
SURE = 0.001  # the textbook test's p below which, and with the bootstrap's bound, a level is called broken
NAMES = [f"{level * 100:.0f}_{side}" for level in LEVELS for side in SIDES]


def model_of(horizon: Horizon) -> str:
    """Return what a horizon's forecasts are called in `live_figures`."""
    return f"{MODEL}-{horizon.name}"


def tell_and_judge(lake_url: str, now: datetime | None = None) -> list[str]:
    """Look once, at a time of our clock, and return what was found in sentences, the forecasts first. Raises: Unavailable."""
    lake, at = Lake(lake_url), now or datetime.now(UTC)
    looked = look(lake, at)
    return [str(looked), *keep(lake, looked, at).values()]


def keep(lake: Lake, looked: Looked, now: datetime) -> dict[str, str]:
    """Write a row for each horizon of which an outcome is known, and return what it says in a sentence. Raises: Unavailable."""
    rows = [row for horizon in HORIZONS if (row := _row(looked, horizon, now))]
    if rows:
        schema = pa.schema([each for each in SCHEMAS[LIVE_FIGURES] if each.name != "date"])
        lake.append(LIVE_FIGURES, pa.Table.from_pylist(rows, schema))
    return {row["model"]: row["verdict"] for row in rows}


def _row(looked: Looked, horizon: Horizon, now: datetime) -> dict[str, Any]:
    told = looked.judged[horizon.name]
    found = figures(told, horizon) if told else {}
    if not found:
        return {}
    broken = broken_levels(found, horizon)
    losses = [found[f"joint_loss_{name}"] for name in NAMES if f"joint_loss_{name}" in found]
    return {
        "looked_at": now,
        "model": model_of(horizon),
        "version": VERSION,
        "role": ROLE,
        "until": looked.until,
        "candles": int(np.any([np.isfinite(one.columns["loss"] * one.columns["sigma"]) for one in told], axis=0).sum()),
        "rows": int(found["windows"]),
        "loss": float(np.mean(losses)),
        "drifted": [],
        "measures": [
            *((name, value) for name, value in found.items() if isfinite(value)),
            ("broken", float(len(broken))),
        ],
        "by_symbol": list(_by_symbol(told, horizon).items()),
        "verdict": verdict(found, broken, horizon),
    }


def _by_symbol(told: Sequence[JudgedHours], horizon: Horizon) -> dict[str, float]:
    """The share of each symbol's windows whose loss was beyond the lower level, of either side."""
    found = {}
    for one in told:
        own = figures([one], horizon)
        if own:
            found[one.symbol] = float(np.mean([own[f"exceeded_{LEVELS[0] * 100:.0f}_{side}"] for side in SIDES]))
    return found


def verdict(found: Figures, broken: Sequence[str], horizon: Horizon) -> str:
    """Say whether the levels hold, and which do not."""
    windows = f"{found['windows']:,.0f} windows of the last {JUDGED.days} days at most"
    return "; ".join(broken) or f"value at risk {horizon.name} ahead: no level is broken in {windows}"


def broken_levels(found: Figures, horizon: Horizon) -> list[str]:
    """Return a sentence for each level that was exceeded too often, by the bootstrap's bound and by the textbook's test."""
    return list(filter(None, (_broken(found, level, side, horizon) for level in LEVELS for side in SIDES)))


def _broken(found: Figures, level: float, side: str, horizon: Horizon) -> str:
    name = f"{level * 100:.0f}_{side}"
    low, p = found.get(f"exceeded_{name}_low", float("nan")), found.get(f"kupiec_p_{name}", float("nan"))
    if not (low > 1 - level and p < SURE):
        return ""
    share = f"{found[f'exceeded_{name}'] * 100:.1f} % of windows, {low * 100:.1f} % at the lower bound"
    told = f"the {level * 100:.0f} % value at risk {horizon.name} ahead of a {side} position was exceeded in {share}"
    return f"{told}, instead of {100 - level * 100:.0f} %"
