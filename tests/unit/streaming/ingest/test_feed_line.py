"""What one line says of the time up to which all is in the log: never more than an answered ping has shown."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from quantstream.core.decimals import UNIT
from quantstream.core.time import SECOND
from quantstream.core.trade import Trade
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics
from streaming.ingest.feed_line import Line, LineMetrics, Plan
from streaming.ingest.stage import Ingest
from tests.unit.streaming.fakes import FakeFeed, FakeHistory, FakeLog
from tests.unit.streaming.ingest.running import hasten

T0 = 1_700_000_000 * SECOND
FIRST = Trade("BTCUSDT", 1, 1, 1, 100 * UNIT, UNIT, T0, False)


class NotingIngest(Ingest):
    """Notes up to which time heartbeats may say that all is there."""

    output: list[int]

    def heartbeats(self, symbols: Sequence[str], at: int) -> None:
        """Note it, and say it."""
        self.output.append(at)
        super().heartbeats(symbols, at)


class TickingFeed(FakeFeed):
    """Every ping takes a second of the exchange's clock, and in the rounds `full` no record may be written."""

    def __init__(self, work: NotingIngest, log: FakeLog, rounds: int, full: Sequence[int] = ()) -> None:
        super().__init__()
        self.work, self.log, self.rounds, self.full = work, log, rounds, full
        self.round = 0
        self.over = asyncio.Event()

    async def barrier(self) -> None:
        """Answer after a second; for ever wait once all rounds are over."""
        self.round += 1
        if self.round > self.rounds:
            self.over.set()
            await asyncio.Event().wait()
        (self.log.open.clear if self.round in self.full else self.log.open.set)()
        await super().barrier()
        self.work.clock.read(T0 + self.round * SECOND)


async def output(monkeypatch: pytest.MonkeyPatch, rounds: int, full: Sequence[int] = ()) -> list[int]:
    """Return the times that a line's heartbeats stand for, in seconds since its clock was first read; -1 for none."""
    hasten(monkeypatch, HEARTBEAT_EVERY=0.0)
    log = FakeLog()
    work = NotingIngest(["BTCUSDT"], FakeHistory([FIRST]), log, Metrics("ingest"), Health(), lambda: 5)
    work.output = []
    work.clock.read(T0)
    feed = TickingFeed(work, log, rounds, full)

    async def connect() -> FakeFeed:
        return feed

    line = Line(1, ["BTCUSDT"], work, connect, Plan(), LineMetrics.declared(work.metrics))
    running = asyncio.create_task(line.run())
    async with asyncio.timeout(60):
        await feed.over.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return [(at - T0) // SECOND if at else -1 for at in work.output]


async def test_a_heartbeat_says_the_time_of_the_round_before_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await output(monkeypatch, rounds=4) == [-1, 0, 1, 2]


async def test_a_round_that_could_not_be_written_out_is_no_proof_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await output(monkeypatch, rounds=5, full=[2, 3]) == [-1, 0, 3], (
        "rounds 2 and 3 say nothing, nor does 4 for them"
    )
