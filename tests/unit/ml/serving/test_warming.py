"""What is made ready between candles changes no score, is made once, and again after a new model or an edited history."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from ml.serving.loaded import LoadedModel
from ml.serving.outcome_memory import HISTORY, Memory
from ml.serving.scoring import ModelSet, score
from ml.serving.warming import Warming
from quantstream import features
from quantstream.features import Series
from tests.unit.ml import markets
from tests.unit.ml.serving.test_outcome_memory import Guess

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def candles() -> pd.DataFrame:
    return markets.candles(HISTORY + 2, seed=3)


def champions(version: str = "1") -> ModelSet:
    return ModelSet(risk=LoadedModel("quantstream-risk", version, features.FEATURE_HASH, Guess()))


def until(candles: pd.DataFrame, left_out: int, edits: int = 0) -> Series:
    return replace(features.series_of(candles.iloc[: len(candles) - left_out]), edits=edits)


def test_a_candle_finds_everything_ready_and_is_scored_the_same(candles: pd.DataFrame) -> None:
    models, rebuilt = champions(), []
    memory = Memory(lambda: rebuilt.append(1))
    warm = Warming(lambda: models, memory)
    assert warm("BTCUSDT", until(candles, 1))
    assert not warm("BTCUSDT", until(candles, 1))
    assert rebuilt == [1]
    newest = {"BTCUSDT": until(candles, 0)}
    assert score(models, newest, 0, memory) == score(models, newest, 0, Memory())
    assert not warm("BTCUSDT", until(candles, 0))
    assert rebuilt == [1]


def test_a_new_model_is_made_ready_before_its_first_candle(candles: pd.DataFrame) -> None:
    current = [champions("1")]
    memory = Memory()
    warm = Warming(lambda: current[0], memory)
    assert warm("BTCUSDT", until(candles, 0))
    current[0] = champions("2")
    assert warm("BTCUSDT", until(candles, 0))
    assert not warm("BTCUSDT", until(candles, 0))


def test_a_history_too_short_is_tried_once_until_the_lake_brings_more(candles: pd.DataFrame) -> None:
    models = champions()
    warm = Warming(lambda: models, Memory())
    young = candles.iloc[:20]
    assert warm("BTCUSDT", until(young, 1))
    assert not warm("BTCUSDT", until(young, 0))
    assert warm("BTCUSDT", until(candles, 0, edits=1))
    assert not warm("BTCUSDT", until(candles, 0, edits=1))
