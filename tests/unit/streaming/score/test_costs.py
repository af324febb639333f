"""The costs that are set reach those who act by them: the champions' scores and the shadow's."""

from __future__ import annotations

import threading
from typing import Any
from unittest.mock import MagicMock

import pytest

from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics
from quantstream.settings import Settings
from streaming import wiring


def test_score_acts_by_the_costs_that_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("Reader", "Writer", "operators_of", "_hot_swap", "_challengers", "_wait_for_champions"):
        monkeypatch.setattr(wiring, name, MagicMock())
    asked: list[float] = []
    monkeypatch.setattr("ml.serving.scoring.score", lambda *_, cost, **__: asked.append(cost) or [])
    settings = Settings(costs={"preset": "maker", "spread_bp": 1, "slippage_bp": 0.5})  # type: ignore[arg-type]
    stage: Any = wiring.BUILDERS["score"](settings, Metrics("score"), Health(), threading.Event())
    stage.judging.score({})
    assert asked == [settings.costs.round_trip]
    assert stage.shadow.challengers.cost == settings.costs.round_trip == pytest.approx(0.0006)
