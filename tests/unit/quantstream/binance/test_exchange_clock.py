"""Which times cannot be yet by the exchange's clock; when it is not known well, none is refused."""

from __future__ import annotations

import pytest

from quantstream.binance.exchange_clock import SLACK, STALE, MarketClock
from quantstream.core.time import LATEST, SECOND

T0 = 1_723_161_600 * SECOND
HOUR = 3600 * SECOND


class Wall:
    """A monotonic clock that a test sets, in seconds."""

    at = 100.0

    def __call__(self) -> float:
        return self.at


def read(speed: float, seconds: int) -> tuple[MarketClock, Wall]:
    wall = Wall()
    clock = MarketClock(wall)
    for _ in range(seconds + 1):
        clock.read(T0 + int((wall.at - 100) * speed * SECOND))
        wall.at += 1
    return clock, wall


def test_a_clock_read_once_or_never_refuses_no_time() -> None:
    clock = MarketClock(Wall())
    assert clock.horizon(HOUR, 0) == LATEST
    clock.read(T0)
    assert clock.horizon(HOUR, 0) == LATEST


@pytest.mark.parametrize("speed", [1, 30, 1000])
def test_the_horizon_runs_with_the_exchange_and_allows_for_a_late_reading_at_its_speed(speed: int) -> None:
    clock, _ = read(speed, 9)
    assert clock.horizon(HOUR, 0) == T0 + speed * (10 + SLACK) * SECOND + HOUR


def test_a_recording_of_the_past_or_a_clock_that_stood_still_goes_by_the_wall() -> None:
    clock, _ = read(1, 9)
    later = T0 + 8 * HOUR  # a laptop slept: its own seconds did not pass
    assert clock.horizon(HOUR, later) == later + HOUR


def test_a_clock_not_read_lately_refuses_no_time() -> None:
    clock, wall = read(1, 9)
    wall.at += STALE
    assert clock.horizon(HOUR, 0) == LATEST
