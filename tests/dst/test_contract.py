"""The model is held to what it stands for: the same scenes over it and over the real broker, the same lake over Delta."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from quantstream.settings import Kafka
from tests.dst.scenes import SCENES
from tests.dst.stands import ModelStand, RealStand, Stand

scenes = pytest.mark.parametrize(("scene", "expected"), list(SCENES.items()), ids=[scene.__name__ for scene in SCENES])


@scenes
def test_in_the_model_whatever_its_seed(scene: Callable[[Stand], list[Any]], expected: list[Any]) -> None:
    for seed in range(8):
        stand = ModelStand(seed)
        try:
            assert scene(stand) == expected, f"seed {seed}"
        finally:
            stand.end()


@pytest.mark.broker
@pytest.mark.slow
@scenes
def test_at_the_broker(scene: Callable[[Stand], list[Any]], expected: list[Any], broker: Kafka) -> None:
    stand = RealStand(broker.bootstrap)
    try:
        assert scene(stand) == expected
    finally:
        stand.end()
