"""The live memory: what it corrects equals the judgement's own serving to the last bit, also after a restart."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ml import dataset, judgement
from ml.loaded import LoadedModel
from ml.memory import HISTORY, Memory
from ml.models import base
from quantstream import features
from quantstream.windows import Floats
from tests.ml import markets

pytestmark = pytest.mark.slow
LAST = 30


class Guess(base.Model):
    """Says of each hour how abnormal it is, from one feature: stands for any model with outcomes."""

    kind = "risk"
    outcomes = ("abnormal",)
    names = ("log_rms_1h", "log_threshold_30d")

    def predict(self, windows: Floats) -> Floats:
        return 1 / (1 + np.exp(2 - 2 * (windows[:, -1, 0] - windows[:, -1, 1])))

    def adapt(self, predicted: Floats, came: Floats, rows: int | None = None) -> Floats:
        from ml import online

        return online.shifted(np.stack([1 - predicted, predicted], axis=1), came[:, 0], 12, rows)[:, 1]

    def write(self, folder: object) -> dict[str, object]:  # type: ignore[override]
        raise NotImplementedError

    @classmethod
    def read(cls, folder: object, state: object) -> Guess:  # type: ignore[override]
        raise NotImplementedError


@pytest.fixture(scope="module")
def candles() -> pd.DataFrame:
    """Enough for a whole memory and some more, with a hole."""
    frame = markets.candles(HISTORY + 200, seed=3)
    return frame.drop(index=[HISTORY - 1000, HISTORY - 999]).reset_index(drop=True)


def live(candles: pd.DataFrame, model: Guess, memory: Memory, first: int) -> list[float]:
    """Go candle by candle from `first`, as the scorer does."""
    loaded = LoadedModel("quantstream-risk", "1", features.FEATURE_HASH, model)
    said = []
    for end in range(first, len(candles) + 1):
        frame = candles.iloc[max(end - HISTORY, 0) : end]
        row = features.compute(frame, rows=1)[list(model.names)].to_numpy()
        said.append(float(memory.adapt("BTCUSDT", loaded, frame, model.predict(row[None])[0])))
    return said


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


def test_a_model_without_outcomes_is_left_alone(candles: pd.DataFrame) -> None:
    model = Guess()
    model.outcomes = ()  # type: ignore[misc]
    loaded = LoadedModel("quantstream-anomaly", "1", features.FEATURE_HASH, model)
    assert Memory().adapt("BTCUSDT", loaded, candles.iloc[:10], np.float64(0.3)) == 0.3  # type: ignore[arg-type]
