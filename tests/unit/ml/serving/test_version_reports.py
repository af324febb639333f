"""Reports of a registered version, read again and added to, against a real MLflow server."""

from __future__ import annotations

from typing import Any

import pytest

from ml.serving.registry import Registry
from quantstream.core.errors import ModelRejected
from tests.unit.ml.monitoring.watched import SteadyForecast

pytestmark = pytest.mark.slow
NAME = "quantstream-forecast"


def test_reports_of_a_version_are_read_and_added_to(registry: Registry) -> None:
    reports: dict[str, dict[str, Any]] = {
        "evaluation": {"judged_from_us": 1},
        "lineage": {"parts": {"BTCUSDT": ["2024-01"]}},
    }
    version = registry.register(SteadyForecast(0.001), {}, reports, {}, {"features_version": "7"})
    assert registry.tags(NAME, version)["features_version"] == "7"
    assert registry.evidence(NAME, version, "evaluation") == reports["evaluation"]
    assert registry.evidence(NAME, version, "promise") is None
    registry.add_evidence(NAME, version, "promise", {"losses": [0.1, 0.2]})
    assert registry.evidence(NAME, version, "promise") == {"losses": [0.1, 0.2]}
    assert registry.evidence(NAME, version, "lineage") == reports["lineage"]


def test_of_a_version_that_is_not_there_nothing_is_read(registry: Registry) -> None:
    registry.register(SteadyForecast(0.001), {}, {}, {}, {})
    for ask in (registry.tags, lambda name, version: registry.evidence(name, version, "evaluation")):
        with pytest.raises(ModelRejected):
            ask(NAME, "999")
