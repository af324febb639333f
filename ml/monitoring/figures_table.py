"""The table `live_figures`: what each look found of each version, a row for a page, a query and the sink's metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import isfinite
from typing import Any

import pyarrow as pa

from ml.monitoring.live_metrics import Day, Live, Version
from ml.monitoring.verdict import Known
from quantstream.lake.schemas import LIVE_FIGURES, SCHEMAS
from quantstream.lake.store import Lake


def keep(lake: Lake, looked_at: datetime, day: Day, known: Sequence[Known], sentences: Mapping[str, str]) -> None:
    """Write a row for each champion that was looked at and each other version that was scored. Raises: Unavailable."""
    champions = {Version(one.model, one.version, "champion"): one for one in known}
    rows = []
    for which in sorted({*day.versions, *champions}, key=lambda one: (one.model, one.role, one.version)):
        live, champion = day.versions.get(which, Live()), champions.get(which)
        rows.append(_row(looked_at, day, which, live, champion, sentences.get(which.model, "") if champion else ""))
    if rows:
        schema = pa.schema([each for each in SCHEMAS[LIVE_FIGURES] if each.name != "date"])
        lake.append(LIVE_FIGURES, pa.Table.from_pylist(rows, schema))


def _row(
    looked_at: datetime, day: Day, which: Version, live: Live, champion: Known | None, verdict: str
) -> dict[str, Any]:
    low, high = live.bounds
    figures = champion.figures if champion is not None else None
    return {
        "looked_at": looked_at,
        **which.__dict__,
        "until": day.until,
        "candles": live.candles,
        "rows": live.count,
        "loss": _known(live.loss),
        "loss_low": _known(low),
        "loss_high": _known(high),
        "promised": _known(figures.promised) if figures is not None else None,
        "bound": _known(figures.bound) if figures is not None else None,
        "drifted": [one.name for one in champion.drifted] if champion is not None else [],
        "alarms_per_100k": _known(champion.alarms) if champion is not None else None,
        "measures": list(live.means().items()),
        "by_symbol": list(live.by_symbol().items()),
        "verdict": verdict,
    }


def _known(value: float) -> float | None:
    return value if isfinite(value) else None
