"""How right the models that serve are, as numbers that somebody is alarmed by: the pipeline that finds out is gone when asked.

The sink tells them, as it tells the age of the last proof: the figures are in the lake that it serves, and it is always there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from quantstream.lake.schemas import LIVE_FIGURES
from quantstream.lake.store import Lake
from quantstream.observability.metrics import Metrics
from streaming.sink.lake_look import LakeLook

LOOK_BACK = timedelta(days=2)  # figures that are older are nobody's
UNKNOWN = float("nan")
COLUMNS = [
    "looked_at",
    "model",
    "version",
    "role",
    "loss",
    "promised",
    "bound",
    "drifted",
    "alarms_per_100k",
    "measures",
]
RISK = "value-at-risk-"  # how forecasts of value at risk are called, before their horizon
EXCEEDED = re.compile(r"exceeded_(95|99)_(long|short)")


class LiveModels(LakeLook):
    """Keeps each champion's figures as `models_monitor` last wrote them; what it could not tell is not a number."""

    def __init__(self, lake: Lake, metrics: Metrics) -> None:
        super().__init__("live-models")
        self.lake = lake
        self.watched_at = metrics.gauge(
            "models_watched_at_seconds",
            "when the models that serve were last held against what came; 0: not within days",
        )
        words = "of the champion over the newest day of candles"
        self.loss = metrics.gauge("model_live_loss", f"mean loss {words}, lower is better", "model")
        self.promised = metrics.gauge("model_promised_loss", "mean loss that the champion promised", "model")
        self.bound = metrics.gauge("model_loss_bound", "loss that a day as promised hardly exceeds by chance", "model")
        self.drifted = metrics.gauge("model_drifted", f"features and outputs {words} that have drifted", "model")
        self.alarms = metrics.gauge("model_alarms_per_100k", "trades of 100,000 that are called strange", "model")
        words = "windows whose loss was beyond the value at risk of a level, of those of the last 90 days"
        labels = ("horizon", "level", "side")
        self.exceeded = metrics.gauge("value_at_risk_exceeded", f"share of {words}; 1 − level is right", *labels)
        words = "levels of value at risk that were exceeded surely more often than they say"
        self.broken = metrics.gauge("value_at_risk_broken", words, "horizon")

    def look(self, now: datetime) -> None:
        """Read the newest figures once.

        Raises: Unavailable, OSError.
        """
        newest = {}
        if self.lake.has(LIVE_FIGURES):
            for row in self.lake.read(LIVE_FIGURES, start=now - LOOK_BACK, columns=COLUMNS).to_pylist():
                if row["role"] == "champion":
                    newest[row["model"]] = row  # in order of time
                elif row["model"].startswith(RISK):
                    self._tell_risk(row)
        self.watched_at.set(max((row["looked_at"].timestamp() for row in newest.values()), default=0.0))
        for model, row in newest.items():
            self.drifted.labels(model).set(len(row["drifted"] or ()))
            for gauge, name in (
                (self.loss, "loss"),
                (self.promised, "promised"),
                (self.bound, "bound"),
                (self.alarms, "alarms_per_100k"),
            ):
                gauge.labels(model).set(UNKNOWN if row[name] is None else row[name])

    def _tell_risk(self, row: Mapping[str, Any]) -> None:
        horizon = row["model"].removeprefix(RISK)
        for name, value in row["measures"] or ():
            if found := EXCEEDED.fullmatch(name):
                self.exceeded.labels(horizon, found[1], found[2]).set(value)
            if name == "broken":
                self.broken.labels(horizon).set(value)
