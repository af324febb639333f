"""The live memory: what it corrects equals the judgement's own serving to the last bit, also after a restart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from ml.data import dataset
from ml.evaluation import judgement
from ml.models import base
from ml.models.online_correction import Shift
from ml.serving.loaded import LoadedModel
from ml.serving.outcome_memory import HISTORY, Memory
from quantstream import features
from quantstream.core.rolling import Floats
from tests.unit.ml import markets

pytestmark = pytest.mark.slow
LAST = 30


class Shifted(Shift):
    """Shifts the probability of the second of two classes."""

    def evidence(self, predicted: Floats, outcomes: Floats) -> Floats:
        return super().evidence(np.stack([1 - predicted, predicted], axis=1), outcomes)

    def correct(self, predicted: Floats, evidence: Sequence[Floats], rows: int) -> Floats:
        return super().correct(np.stack([1 - predicted, predicted], axis=1), evidence, rows)[:, 1]


class Guess(base.Model):
    """Says of each hour how abnormal it is, from one feature: stands for any model with outcomes."""

    kind = "risk"
    outcomes = ("abnormal",)
    correction = Shifted(12)
    names = ("log_rms_1h", "log_threshold_30d")

    def predict(self, windows: Floats) -> Floats:
        return 1 / (1 + np.exp(2 - 2 * (windows[:, -1, 0] - windows[:, -1, 1])))

    def write(self, folder: object) -> dict[str, object]:  # type: ignore[override]
        raise NotImplementedError

    @classmethod
    def read(cls, folder: object, state: object) -> Guess:  # type: ignore[override]
        raise NotImplementedError


@pytest.fixture(scope="module")
def candles() -> pd.DataFrame:
    """Enough for a whole memory and some more, with a gap."""
    frame = markets.candles(HISTORY + 200, seed=3)
    return frame.drop(index=[HISTORY - 1000, HISTORY - 999]).reset_index(drop=True)


def live(candles: pd.DataFrame, model: Guess, memory: Memory, first: int) -> list[float]:
    """Go candle by candle from `first`, as the scorer does."""
    loaded = LoadedModel("quantstream-risk", "1", features.FEATURE_HASH, model)
    predicted = []
    for end in range(first, len(candles) + 1):
        series = features.series_of(candles.iloc[max(end - HISTORY, 0) : end])
        row = features.newest([series], 1, model.names)
        predicted.append(float(memory.adapt(loaded, {"BTCUSDT": series}, model.predict(row))[0]))
    return predicted


def test_live_equals_the_judgement_also_after_a_restart(candles: pd.DataFrame) -> None:
    model = Guess()
    first = len(candles) - LAST + 1
    going_on, restarted = live(candles, model, Memory(), first), live(candles, model, Memory(), len(candles))
    data = dataset.build({"BTCUSDT": candles})
    served = judgement.serve(model, data, np.arange(len(candles) - LAST, len(candles)))
    assert going_on == served.tolist()
    assert restarted == going_on[-1:]
    raw = judgement.predict(model, data, np.arange(len(candles) - LAST, len(candles)))
    assert (np.abs(served - raw) > 1e-4).all()


@pytest.mark.parametrize("behind", [2, 14, 25, 26])
def test_a_past_that_is_some_candles_behind_is_brought_up_and_not_made_anew(candles: pd.DataFrame, behind: int) -> None:
    model, rebuilt = Guess(), list[int]()
    loaded, memory = (
        LoadedModel("quantstream-risk", "1", features.FEATURE_HASH, model),
        Memory(lambda: rebuilt.append(1)),
    )
    for end in (len(candles) - behind, len(candles)):
        series = features.series_of(candles.iloc[:end])
        found = memory.adapt(loaded, {"BTCUSDT": series}, model.predict(features.newest([series], 1, model.names)))
    assert found.tolist() == live(candles, model, Memory(), len(candles))
    assert len(rebuilt) == (1 if behind <= 25 else 2)


def test_many_symbols_at_once_are_corrected_as_each_alone(candles: pd.DataFrame) -> None:
    loaded = LoadedModel("quantstream-risk", "1", features.FEATURE_HASH, Guess())
    others = {"A1": candles, "B1": candles.assign(close=candles["close"] ** 0.5), "C1": candles.iloc[:-700]}
    rebuilt: list[int] = []
    alone, together = {name: Memory() for name in others}, Memory(lambda: rebuilt.append(1))
    for back in (2, 1, 0):
        now = {name: features.series_of(frame.iloc[: len(frame) - back]) for name, frame in others.items()}
        predicted = np.array([0.1, 0.3, 0.2]) + back / 50
        expected = [
            alone[name].adapt(loaded, {name: now[name]}, predicted[i : i + 1])[0] for i, name in enumerate(others)
        ]
        assert together.adapt(loaded, now, predicted).tolist() == expected
        assert np.ptp(np.array(expected) - predicted) > 1e-4
    assert len(rebuilt) == len(others)  # told each time: a stage that says nothing for long is taken for dead


def test_a_model_without_a_correction_is_left_alone(candles: pd.DataFrame) -> None:
    model = Guess()
    model.correction = None  # type: ignore[misc,assignment]
    loaded = LoadedModel("quantstream-anomaly", "1", features.FEATURE_HASH, model)
    series = features.series_of(candles.iloc[:10])
    assert Memory().adapt(loaded, {"BTCUSDT": series}, np.array([0.3])).tolist() == [0.3]
