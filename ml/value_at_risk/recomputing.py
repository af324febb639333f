"""Stored forecasts of value at risk made anew from the candles that the lake knew by then: equal to the last bit, or told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ml.value_at_risk.forecast_rows import Moment, forecasts
from ml.value_at_risk.observations import observe
from ml.value_at_risk.stored_risk import Asked, read_candles
from ml.value_at_risk.symbol_risk import VERSION
from quantstream.core.errors import DataRejected, Misconfigured
from quantstream.core.time import micros
from quantstream.lake.schemas import VALUE_AT_RISK
from quantstream.lake.snapshots import snapshot
from quantstream.lake.store import Lake

SAME = ("close", "sigma", "levels", "var_long", "es_long", "var_short", "es_short")
SHOWN = 20


@dataclass
class Recomputed:
    """How many forecasts are equal, and what is to be said of each of the others."""

    equal: int = 0
    different: list[str] = field(default_factory=list)

    @property
    def is_equal(self) -> bool:
        """Whether all are."""
        return bool(self.equal) and not self.different

    def lines(self) -> list[str]:
        """Say it."""
        more = len(self.different) - SHOWN
        head = f"{self.equal:,} stored forecasts are equal to the last bit, {len(self.different):,} are not"
        return [head, *self.different[:SHOWN], *([f"… and {more:,} more"] if more > 0 else [])]


def recompute(lake: Lake, last: int) -> Recomputed:
    """Make the newest forecasts anew. Raises: Misconfigured where there are none, Unavailable."""
    if not lake.has(VALUE_AT_RISK):
        raise Misconfigured(f"the lake at {lake.url} has no stored forecasts; the pipeline models_monitor makes them")
    rows = lake.read(VALUE_AT_RISK).to_pylist()
    done = Recomputed()
    for row in sorted(rows, key=lambda one: (one["made_at"], one["told_at"], one["symbol"], one["horizon"]))[-last:]:
        if said := different(lake, row):
            done.different.append(f"{row['symbol']} {row['horizon']} {row['told_at']:%Y-%m-%d %H:%M}: {said}")
        else:
            done.equal += 1
    return done


def different(lake: Lake, row: Mapping[str, Any]) -> str:
    """Say how a stored forecast differs from the same made anew; nothing where it is equal. Raises: Unavailable."""
    if row["version"] != VERSION:
        return f"it is of version {row['version']} of the arithmetic, this is {VERSION}"
    at, moment = micros(row["told_at"]), Moment(row["made_at"], row["known_by"])
    try:
        candles = read_candles(
            snapshot(lake, ["candles"]), row["symbol"], f"{row['told_at']:%Y-%m}", Asked(at, moment.known_by)
        )
        found = list(forecasts(row["symbol"], candles, observe(candles), [at], moment)) if len(candles) else []
    except DataRejected as error:
        return str(error)
    anew = next((one for one in found if one["horizon"] == row["horizon"]), None)
    if anew is None:
        return "its candles are not in the lake any more"
    if anew["history_digest"] != row["history_digest"]:
        return "the lake holds other candles of that time than it was made of"
    return ", ".join(f"{name} {anew[name]} instead of {row[name]}" for name in SAME if anew[name] != row[name])
