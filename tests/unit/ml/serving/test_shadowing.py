"""A challenger says in the shadow what it would say in service; one that fails is asked no more, and no champion notices."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.models import base
from ml.serving.loaded import LoadedModel
from ml.serving.outcome_memory import HISTORY, Memory
from ml.serving.scoring import ModelSet, score
from ml.serving.shadowing import PER_CANDLE, Shadowing
from quantstream import features
from quantstream.core.rolling import Floats
from tests.unit.ml import markets
from tests.unit.ml.serving.test_outcome_memory import Guess

RISK = "quantstream-risk"


class Other(Guess):
    """Says something else than the champion."""

    def predict(self, windows: Floats) -> Floats:
        return super().predict(windows) / 2


class Nan(Guess):
    """Gives no number."""

    def predict(self, windows: Floats) -> Floats:
        return np.full(len(windows), np.nan)


class Raising(Guess):
    """Raises."""

    def predict(self, windows: Floats) -> Floats:
        raise IndexError("leaf 9")


class Plain(base.Model):
    """Says that no candle is novel; learns from no outcomes."""

    kind = "anomaly"
    names = ("log_rms_1h",)

    def predict(self, windows: Floats) -> Floats:
        return np.full(len(windows), 0.1)

    def write(self, folder: object) -> dict[str, object]:  # type: ignore[override]
        raise NotImplementedError

    @classmethod
    def read(cls, folder: object, state: object) -> Plain:  # type: ignore[override]
        raise NotImplementedError


@pytest.fixture(scope="module")
def candles() -> pd.DataFrame:
    return markets.candles(HISTORY + 2, seed=3)


def loaded(model: base.Model, version: str) -> LoadedModel:
    return LoadedModel(f"quantstream-{model.kind}", version, features.FEATURE_HASH, model)


CHAMPIONS = ModelSet(risk=loaded(Guess(), "1"), anomaly=loaded(Plain(), "1"))


def shadowing(model: base.Model, seconds: Any = lambda: 0.0) -> Shadowing:
    challenger = loaded(model, "2")
    return Shadowing(lambda: CHAMPIONS, lambda: {challenger.name: challenger}, lambda: 7, seconds)


def until(candles: pd.DataFrame, left_out: int) -> dict[str, features.Series]:
    return {"BTCUSDT": features.series_of(candles.iloc[: len(candles) - left_out])}


def test_it_says_what_it_would_say_in_service_and_only_its_own_part(candles: pd.DataFrame) -> None:
    shadow, memory, served = shadowing(Other()), Memory(), ModelSet(risk=loaded(Other(), "2"))
    for left_out in (1, 0):
        (found,) = shadow.score(until(candles, left_out))
        (expected,) = score(served, until(candles, left_out), 7, memory)
        assert (found.risk, found.models) == (expected.risk, {RISK: "2"})
        assert (found.novelty, found.signal, found.forecasts, found.abstained) == (None, None, [], "")


def test_a_champions_memory_knows_nothing_of_a_challenger(candles: pd.DataFrame) -> None:
    alone, beside, shadow = Memory(), Memory(), shadowing(Other())
    for left_out in (1, 0):
        expected = score(CHAMPIONS, until(candles, left_out), 7, alone)
        assert score(CHAMPIONS, until(candles, left_out), 7, beside) == expected
        shadow.score(until(candles, left_out))


def test_a_challenger_that_is_promoted_brings_its_past_along(candles: pd.DataFrame) -> None:
    shadow, rebuilt = shadowing(Other()), []
    shadow.score(until(candles, 1))
    memory = Memory(lambda: rebuilt.append(1))
    promoted = shadow.challengers()[RISK]
    shadow.hand_over(promoted, memory)
    served = ModelSet(risk=promoted)
    assert score(served, until(candles, 0), 7, memory) == score(served, until(candles, 0), 7, Memory())
    assert rebuilt == []
    shadow.score(until(candles, 0))  # which changes nothing of what was handed over
    assert memory.is_ready([promoted], "BTCUSDT", until(candles, 0)["BTCUSDT"])


def test_a_challenger_that_has_left_is_held_by_nobody(candles: pd.DataFrame) -> None:
    held = {RISK: loaded(Other(), "2")}
    shadow = Shadowing(lambda: CHAMPIONS, lambda: held, lambda: 7, lambda: 0.0)
    shadow.score(until(candles, 1))
    assert shadow.goes_on("BTCUSDT", until(candles, 0)["BTCUSDT"])
    left = weakref.ref(held.pop(RISK).model)
    shadow.rest()
    gc.collect()
    assert left() is None


@pytest.mark.parametrize(
    ("model", "reason"), [(Nan(), "its output is not a number"), (Raising(), "IndexError: leaf 9")]
)
def test_one_that_fails_is_stopped_with_the_reason_and_says_nothing(
    model: base.Model, reason: str, candles: pd.DataFrame
) -> None:
    shadow = shadowing(model)
    assert shadow.score(until(candles, 0)) == []
    assert shadow.stopped == {(RISK, "2"): reason}
    assert shadow.wanted() == {}


def test_one_that_takes_ten_times_too_long_is_stopped(candles: pd.DataFrame) -> None:
    times = iter([0.0, 0.0, *(index * 300 * PER_CANDLE for index in range(9))])
    shadow = shadowing(Other(), lambda: next(times))
    shadow.score(until(candles, 1))  # its past is rebuilt, which takes longer
    assert shadow.stopped == {}
    shadow.score(until(candles, 0))
    assert list(shadow.stopped) == [(RISK, "2")]
    assert "s for 1 candles" in shadow.stopped[RISK, "2"]


def test_a_hang_is_told_of_the_model_that_is_at_work_and_of_all_where_none_is(candles: pd.DataFrame) -> None:
    shadow = shadowing(Other())
    shadow.score(until(candles, 0))
    shadow.hangs("no answer")
    assert shadow.stopped == {(RISK, "2"): "no answer"}
    assert shadow.anew().wanted() == {}
