"""News are heard at once; without a broker the wait is as long as without news."""

from __future__ import annotations

from typing import Any

import pytest

from quantstream.core.errors import Unavailable
from quantstream.kafka.news import News
from quantstream.messages.topics import MODELS
from quantstream.settings import Kafka


class Clock:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class FakeReader:
    """Brings what it is told to, each half a second later; an error is raised."""

    def __init__(self, clock: Clock, brings: list[Any]) -> None:
        self.clock, self.brings, self.assigned, self.is_closed = clock, brings, {}, False

    def assign(self, offsets: Any) -> None:
        self.assigned = dict(offsets)

    def poll(self, timeout: float, limit: int) -> list[Any]:
        self.clock.sleep(min(timeout, 0.5))
        found = self.brings.pop(0) if self.brings else []
        if isinstance(found, Exception):
            raise found
        return found

    def close(self) -> None:
        self.is_closed = True


def news_of(brings: list[Any]) -> tuple[News, Clock, list[FakeReader]]:
    clock, made = Clock(), []

    def make(kafka: Kafka) -> FakeReader:
        made.append(FakeReader(clock, brings))
        return made[-1]

    return News(Kafka(), MODELS, make, clock, clock.sleep), clock, made


def test_what_is_written_ends_the_wait_and_nothing_written_does_not() -> None:
    news, clock, _ = news_of([[], ["a move"]])
    assert news.wait(2.0)
    assert clock.now == 1.0
    assert not news.wait(2.0)
    assert clock.now == 3.0


def test_only_what_comes_from_now_on_is_news() -> None:
    news, _, made = news_of([["a move"]])
    news.wait(1.0)
    assert made[0].assigned == {("ops.models.v1", 0): -1}


@pytest.mark.parametrize("error", [Unavailable("no broker"), RuntimeError("odd")])
def test_a_broker_that_is_away_costs_no_more_than_the_time_and_is_said_once(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    news, clock, made = news_of([error, error, ["a move"]])
    assert not news.wait(2.0)
    assert not news.wait(2.0)
    assert clock.now == 4.0
    assert news.wait(2.0)
    assert [one.is_closed for one in made] == [True, True, False]
    assert caplog.text.count("news are not heard") == 1
