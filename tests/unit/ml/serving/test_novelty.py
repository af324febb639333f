"""A candle unlike those the models know: the forecast is wider about the same median, and nothing is traded on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ml.models import base
from ml.models.anomaly import AnomalyModel
from ml.models.parts import thresholds
from ml.models.signal import SignalModel
from ml.serving import novelty
from ml.serving.loaded import LoadedModel
from ml.serving.scoring import ModelSet, score
from quantstream import features
from quantstream.core.rolling import Floats
from quantstream.messages import payloads

QUANTILES = np.array([[-2.0, -1.0, 0.5, 1.0, 3.0], [-3.0, -2.0, 0.0, 2.0, 4.0]])


def test_intervals_of_a_novel_candle_are_wider_about_the_same_median() -> None:
    wider = novelty.widened(QUANTILES, 0.5)
    assert np.array_equal(wider[:, 2], QUANTILES[:, 2])
    np.testing.assert_allclose(np.diff(wider, axis=1), novelty.WIDER * np.diff(QUANTILES, axis=1))


@pytest.mark.parametrize("familiar", [None, 0.0, 0.4999])
def test_a_familiar_candle_and_one_that_nobody_judged_change_nothing(familiar: float | None) -> None:
    assert novelty.widened(QUANTILES, familiar) is QUANTILES


class _Says(AnomalyModel):
    """The fitted model, but for its novelty."""

    predicted = 0.0

    def predict(self, windows: Floats) -> Floats:
        return np.full(len(windows), self.predicted)


class _Bold(SignalModel):
    """The fitted model, but sure of rising prices and eager to trade."""

    def predict(self, windows: Floats) -> Floats:
        return np.tile([0.05, 0.05, 0.9], (len(windows), 1))


def _scored(models: dict[str, base.Model], history: pd.DataFrame, novel: float) -> payloads.Score:
    anomaly, signal = models["anomaly"], models["signal"]
    assert isinstance(anomaly, AnomalyModel)
    assert isinstance(signal, SignalModel)
    says = _Says(anomaly.trades, anomaly.candles)
    says.predicted = novel
    chosen = {**models, "anomaly": says, "signal": _Bold(signal.blend, thresholds.Fixed(1e-5), signal.middle)}
    loaded = {kind: LoadedModel(f"quantstream-{kind}", "1", features.FEATURE_HASH, one) for kind, one in chosen.items()}
    return score(ModelSet(**loaded), {"BTCUSDT": history}, 0)[0]


@pytest.mark.slow
def test_a_score_of_a_novel_candle_is_wider_and_holds_with_its_reason(
    models: dict[str, base.Model], candles: dict[str, pd.DataFrame]
) -> None:
    history = candles["BTCUSDT"].iloc[-features.WARMUP - 20 :]
    familiar, novel = (_scored(models, history, one) for one in (0.2, 0.8))
    assert (familiar.signal.action, novel.signal.action) == ("Buy", "Hold")  # type: ignore[union-attr]
    assert novel.signal.buy == familiar.signal.buy == 0.9  # type: ignore[union-attr]
    assert novel.reasons == [novelty.WHY]
    assert all("speaks for" in reason for reason in familiar.reasons)
    assert (familiar.novelty, novel.novelty) == (0.2, 0.8)
    for one, other in zip(familiar.forecasts, novel.forecasts, strict=True):
        assert other.log_returns[2] == one.log_returns[2]
        assert np.ptp(other.log_returns) == pytest.approx(novelty.WIDER * np.ptp(one.log_returns))
