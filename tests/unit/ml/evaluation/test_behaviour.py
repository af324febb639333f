"""Tests of behaviour find the models that misbehave, each by the one thing that is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ml.evaluation import behaviour, timing
from ml.evaluation.live_windows import LiveWindows
from ml.models.base import Model
from quantstream import features
from quantstream.core.rolling import Floats
from tests.unit.ml.evaluation.test_judgements import Bets, Fan, Fixed, Sieve, fan, sees

WINDOWS = np.random.default_rng(1).normal(-6, 0.5, (20, 1, 3))
ALL = np.zeros((4, 1, len(features.NAMES)))
ALL[:, 0] = np.random.default_rng(2).normal(-6, 0.5, ALL[:, 0].shape)
LIVE = LiveWindows(np.arange(4), ALL, ALL, ALL + 1.0)  # wilder: every volatility is e times as large
RISE = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])


def failed(model: Model, live: LiveWindows | None = LIVE) -> list[str]:
    return [trait.sentence for trait in behaviour.traits(model, WINDOWS, live) if not trait.passed]


def sane(rows: Floats) -> Floats:
    return 1 / (1 + np.exp(-rows[:, 2] - 6))


def test_sane_models_of_every_kind_behave() -> None:
    assert failed(Fixed(sane)) == []
    assert failed(Fan(fan)) == []
    assert failed(Bets(sees, acts=False)) == []
    assert failed(Sieve(), None) == []


def restless() -> Callable[[Floats], Floats]:
    rng = np.random.default_rng(3)
    return lambda rows: sane(rows) * rng.uniform(0.9, 1.0, len(rows))


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (Fixed(restless()), "asked again, it says the same"),
        (Fixed(lambda rows: sane(rows) - sane(rows).mean() + 0.5), "a row alone is predicted as among others"),
        (Fixed(lambda rows: sane(rows) * 3), "probabilities lie within 0 and 1"),
        (Fixed(lambda rows: 1 - sane(rows)), "wilder moves do not lower the risk"),
        (Fan(lambda rows: fan(rows)[..., ::-1]), "quantiles rise over their levels"),
        (Fan(lambda rows: fan(-12 - rows)), "wilder moves widen the interval of the hour"),
        (Bets(lambda rows: sees(rows) * 1.01, acts=False), "the three probabilities sum to 1"),
    ],
)
def test_what_misbehaves_is_told(model: Any, sentence: str) -> None:
    assert any(one.startswith(sentence) for one in failed(model)), failed(model)


def test_a_model_that_knows_prices_by_heart_is_told() -> None:
    dearer = LiveWindows(np.arange(4), ALL, ALL + 0.3, ALL + 1.0)
    assert failed(Fixed(sane), dearer) == ["at eight times the price it says the same (4 of 4 rows differ)"]


class Deaf(Sieve):
    """A detector for which a trade farther off is less strange."""

    def score_trades(self, rows: Floats) -> Floats:
        """Turn it round."""
        return 1 - super().score_trades(rows)


def test_a_detector_that_is_calmed_by_distance_is_told() -> None:
    assert len(failed(Deaf(), None)) == 2


def test_the_shortest_of_some_rounds_counts_and_all_take_turns() -> None:
    now, order = 0.0, list[str]()

    def work(name: str, seconds: list[float]) -> Callable[[], None]:
        turns = iter(seconds)

        def run() -> None:
            nonlocal now
            now += next(turns)
            order.append(name)

        return run

    slow, quick = [9.0, *range(20, 11, -1)], [0.1, *[3.0] * timing.ROUNDS]  # the first is the warm-up
    found = timing.fastest(
        {"slow": work("slow", [float(one) for one in slow]), "quick": work("quick", quick)}, lambda: now
    )
    assert found == {"slow": 12.0, "quick": 3.0}
    assert order == ["slow", "quick"] * (timing.ROUNDS + 1)
    assert timing.yardstick() == timing.yardstick()
