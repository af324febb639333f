"""Figures of the models that serve as metrics: the newest of each champion, and that nobody looked is seen, too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from quantstream.lake.schemas import LIVE_FIGURES, SCHEMAS
from quantstream.lake.store import Lake
from quantstream.observability.metrics import Metrics
from streaming.sink.live_models import LiveModels

NOW = datetime(2026, 11, 28, 3, tzinfo=UTC)
RISK = "quantstream-risk"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def looked(lake: Lake, hours_ago: float, role: str = "champion", **figures: Any) -> float:
    at = NOW - timedelta(hours=hours_ago)
    row = {"looked_at": at, "model": RISK, "version": "3", "role": role, **figures}
    schema = pa.schema([each for each in SCHEMAS[LIVE_FIGURES] if each.name != "date"])
    lake.append(LIVE_FIGURES, pa.Table.from_pylist([row], schema))
    return at.timestamp()


def said(lake: Lake) -> dict[str, float | None]:
    metrics = Metrics("sink")
    LiveModels(lake, metrics).look(NOW)
    sample = metrics.registry.get_sample_value
    of_model = ("model_live_loss", "model_promised_loss", "model_loss_bound", "model_drifted")
    found = {name: sample(f"quantstream_sink_{name}", {"model": RISK}) for name in of_model}
    return {**found, "models_watched_at_seconds": sample("quantstream_sink_models_watched_at_seconds")}


def test_nobody_looked_yet_or_not_for_days(lake: Lake) -> None:
    assert said(lake)["models_watched_at_seconds"] == 0
    looked(lake, 50, loss=0.1)
    assert said(lake) == {**dict.fromkeys(said(lake)), "models_watched_at_seconds": 0}


def test_the_newest_look_at_the_champion_counts(lake: Lake) -> None:
    looked(lake, 2, loss=0.1, promised=0.09, bound=0.14, drifted=[])
    looked(lake, 0.5, "challenger", loss=0.7)
    at = looked(lake, 1, loss=0.2, promised=0.09, bound=0.14, drifted=["log_rms_1h", "risk"])
    assert said(lake) == {
        "model_live_loss": 0.2,
        "model_promised_loss": 0.09,
        "model_loss_bound": 0.14,
        "model_drifted": 2,
        "models_watched_at_seconds": at,
    }


def test_what_a_look_could_not_tell_is_not_a_number(lake: Lake) -> None:
    looked(lake, 1, loss=0.2)
    bound = said(lake)["model_loss_bound"]
    assert bound is not None
    assert bound != bound


def test_how_value_at_risk_held_is_told_by_horizon_level_and_side(lake: Lake) -> None:
    told = {"exceeded_95_long": 0.06, "exceeded_95_long_low": 0.04, "exceeded_99_short": 0.011, "broken": 0.0}
    looked(lake, 2, "forecast", model="value-at-risk-1h", measures=[("exceeded_95_long", 0.9), ("broken", 4.0)])
    looked(lake, 1, "forecast", model="value-at-risk-1h", measures=list(told.items()))
    metrics = Metrics("sink")
    LiveModels(lake, metrics).look(NOW)

    def sample(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"quantstream_sink_{name}", {"horizon": "1h", **labels})

    assert sample("value_at_risk_exceeded", level="95", side="long") == 0.06
    assert sample("value_at_risk_exceeded", level="99", side="short") == 0.011
    assert sample("value_at_risk_exceeded", level="99", side="long") is None
    assert sample("value_at_risk_broken") == 0
    assert metrics.registry.get_sample_value("quantstream_sink_models_watched_at_seconds") == 0
