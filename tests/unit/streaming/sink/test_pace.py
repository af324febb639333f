"""How often the sink commits: as its settings say, and more seldom where a commit takes long, of thousands of symbols say."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from quantstream.binance.wire import trade_event
from quantstream.core.decimals import UNIT
from quantstream.core.time import SECOND
from quantstream.core.trade import Trade
from quantstream.lake.store import Lake
from quantstream.messages.topics import TRADES
from quantstream.observability.health import STALLED_AFTER, Health
from quantstream.observability.metrics import Metrics
from streaming.sink import stage as sink
from streaming.sink.stage import SinkStage
from tests.unit.streaming.memory_broker import MemoryBroker, MemoryReader, MemoryWriter, hand_over

T0 = 1_754_006_400 * SECOND
EVERY = 5.0  # seconds


def started(folder: Path, health: Health | None = None) -> tuple[MemoryBroker, SinkStage]:
    broker = MemoryBroker()
    reader: Any = MemoryReader(broker, "sink")
    writer: Any = MemoryWriter(broker)
    stage = SinkStage(Lake(str(folder)), reader, writer, Metrics("sink"), health or Health(), EVERY, lambda: T0)
    stage.start()
    hand_over([(TRADES.name, 0), (TRADES.name, 1)], None, stage)
    return broker, stage


@pytest.mark.parametrize(("takes", "apart"), [(0.0, 5.0), (0.3, 5.0), (2.0, 20.0), (4.5, 45.0), (9.0, 60.0)])
def test_a_commit_takes_a_tenth_of_the_time_and_none_waits_for_longer_than_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, takes: float, apart: float
) -> None:
    clock, began = SimpleNamespace(now=0.0), list[float]()
    monkeypatch.setattr(sink, "time", SimpleNamespace(monotonic=lambda: clock.now))

    def slow(self: Lake, *arguments: Any, **named: Any) -> None:
        began.append(clock.now)
        clock.now += takes

    monkeypatch.setattr(Lake, "append", slow)
    broker, stage = started(tmp_path)
    for number in range(1, 400):
        broker.append(TRADES, "BTCUSDT", trade_event(Trade("BTCUSDT", number, number, number, UNIT, UNIT, T0, False)))
        stage.turn()
        clock.now += 0.5
    gaps = [later - earlier for earlier, later in pairwise(began[1:])]  # the first is not known to be slow
    assert gaps
    assert all(apart <= gap < apart + 1 for gap in gaps)


def test_a_commit_that_takes_minutes_is_not_taken_for_a_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ended in the middle of it the sink would begin again with more to write, and never get there."""
    clock, alive = SimpleNamespace(now=0.0), list[bool]()
    monkeypatch.setattr(sink, "time", SimpleNamespace(monotonic=lambda: clock.now))
    health = Health(lambda: clock.now)

    def slow(self: Lake, *arguments: Any, **named: Any) -> None:
        for _ in range(20):
            clock.now += 10.0
            alive.append(health.is_alive)

    monkeypatch.setattr(Lake, "append", slow)
    broker, stage = started(tmp_path, health)
    broker.append(TRADES, "BTCUSDT", trade_event(Trade("BTCUSDT", 1, 1, 1, UNIT, UNIT, T0, False)))
    clock.now += EVERY
    stage.turn()
    assert alive == [True] * 20
    clock.now += STALLED_AFTER + 1
    assert not health.is_alive  # elsewhere it is one as before
