"""Whose time the gate goes by: the exchange's, asked each time where it runs otherwise than ours."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ml.validation.pipeline import gate_of
from quantstream.binance.rest import BlockingRest
from quantstream.core.errors import Unavailable
from quantstream.core.time import micros
from quantstream.settings import Settings

AHEAD = 3_600_000_000


class Clock(BlockingRest):
    """An exchange that tells its time, an hour ahead of ours, or is away."""

    def __init__(self) -> None:
        super().__init__("http://nowhere")
        self.asked = 0
        self.is_away = False

    def get(self, path: str, *_: Any, **__: Any) -> Any:
        self.asked += 1
        if self.is_away:
            raise Unavailable("the exchange is away")
        return {"serverTime": (time.time_ns() // 1000 + AHEAD) // 1000}


def lead(now: int | None) -> float:
    """How far this is ahead of our clock, in hours."""
    assert now is not None
    return round((now - micros(datetime.now(UTC))) / AHEAD, 2)


def test_a_simulated_exchange_is_asked_each_time_and_nothing_is_guessed_where_it_is_away(tmp_path: Path) -> None:
    clock = Clock()
    gate = gate_of(Settings(state=tmp_path, exchange="simulated"), rest=clock)
    assert (lead(gate.clock()), lead(gate.clock()), clock.asked) == (1.0, 1.0, 2)
    clock.is_away = True
    assert gate.clock() is None
    assert lead(gate.now()) == 0.0


@pytest.mark.parametrize(("is_away", "hours"), [(False, 1.0), (True, 0.0)])
def test_the_real_exchange_is_asked_once_and_our_clock_goes_on_from_there(
    tmp_path: Path, is_away: bool, hours: float
) -> None:
    clock = Clock()
    clock.is_away = is_away
    gate = gate_of(Settings(state=tmp_path, exchange="binance"), rest=clock)
    assert (lead(gate.clock()), lead(gate.now()), clock.asked) == (hours, hours, 1)
