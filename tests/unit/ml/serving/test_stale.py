"""A model past its age limit serves on, and what it says is marked as stale."""

from __future__ import annotations

import numpy as np

from ml.serving.loaded import LoadedModel
from ml.serving.scoring import ModelSet, score
from quantstream import features
from quantstream.core.time import DAY
from quantstream.features import opened_at_us
from tests.unit.ml import markets
from tests.unit.ml.monitoring.watched import SteadyForecast

NOW = 1_700_000_000_000_000
CANDLES = markets.candles(300)


def said(registered_at: int, limit_days: int = 30) -> tuple[list[str], dict[str, str]]:
    loaded = LoadedModel(
        "quantstream-forecast", "7", features.FEATURE_HASH, SteadyForecast(0.001), registered_at=registered_at
    )
    (found,) = score(ModelSet(forecast=loaded), {"BTCUSDT": CANDLES}, NOW, limit_us=limit_days * DAY)
    return found.stale, found.models


def test_past_its_age_limit_a_model_still_serves_and_its_scores_say_so() -> None:
    served = {"quantstream-forecast": "7"}
    assert said(NOW - 31 * DAY) == (["quantstream-forecast"], served)
    assert said(NOW - 29 * DAY) == ([], served)


def test_of_a_model_whose_age_is_not_known_nothing_is_said() -> None:
    assert said(0)[0] == []


def test_a_model_that_abstained_marks_nothing() -> None:
    loaded = LoadedModel(
        "quantstream-forecast", "7", features.FEATURE_HASH, SteadyForecast(np.nan), registered_at=NOW - 90 * DAY
    )
    (found,) = score(ModelSet(forecast=loaded), {"BTCUSDT": CANDLES}, NOW, limit_us=30 * DAY)
    assert (found.stale, found.models, found.opened_at) == ([], {}, int(opened_at_us(CANDLES)[-1]))
