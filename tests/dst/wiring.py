"""The stages as `streaming/wiring.py` wires them, over the models; champions are rules that need no training."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import ml.data.trade_features
import streaming.aggregate.stage
import streaming.detect.stage
import streaming.ingest.feed_lines
import streaming.ingest.trade_log
import streaming.score.stage
import streaming.sink.stage
from quantstream.features import Series
from quantstream.kafka import Reader, Writer
from quantstream.messages.payloads import Score
from quantstream.messages.stages import AGGREGATE, DETECT, SCORE, SINK
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics
from quantstream.settings import Kafka
from streaming.aggregate.aggregator import Aggregator
from streaming.ingest.feed_line import Plan
from streaming.ingest.feed_lines import keep_lines
from streaming.ingest.stage import Ingest
from streaming.ingest.trade_log import KafkaTradeLog, tails, trade_writer
from streaming.score.histories import CandleHistories
from tests.dst import simulation
from tests.dst.broker import Broker
from tests.dst.consumer import Consumer
from tests.dst.exchange import Exchange, run, seeded
from tests.dst.lake import Lake
from tests.dst.producer import AdminClient, Producer
from tests.dst.simulation import Process

KAFKA = Kafka(bootstrap="model:9092")
LOOK = 3  # candles that a score of the rule depends on
KEPT = 64  # candles of a history
streaming.ingest.feed_lines.TURN = 1.0  # of 0.1 s: how often a loop that has nothing to do turns
streaming.ingest.trade_log.TAIL_CHUNK = 12  # of 20,000 records: how far ingest looks back first
ml.data.trade_features.FEWEST = 3  # of 64: the symbols of a world trade some dozens of times


def wall_clock() -> int:
    """Return the wall clock, µs."""
    sim = simulation.world()
    assert sim is not None
    return simulation.EPOCH + sim.now


def connect(broker: Broker) -> None:
    """Put the models in the place of confluent-kafka's clients, wherever the kernel's Kafka modules name them."""
    made: dict[Any, Callable[..., Any]] = {
        "Consumer": lambda config: Consumer(broker, config),
        "Producer": lambda config: Producer(broker, config),
        "AdminClient": lambda config: AdminClient(broker, config),
    }
    for name, module in list(sys.modules.items()):
        if name.startswith("quantstream.kafka"):
            for kind, make in made.items():
                if hasattr(module, kind):
                    setattr(module, kind, make)


class AtOnce(Executor):
    """Runs what it is given in the process that asks."""

    def submit(self, act: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run it."""
        future: Future[Any] = Future()
        try:
            future.set_result(act(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 (as an executor does)
            future.set_exception(error)
        return future


class Sieve:
    """In the anomaly champion's place: flags every fourth trade by all of its features, so that any other state shows."""

    name, version, threshold = "quantstream-anomaly", "0", 0.5

    def score_trades(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return 1 for what is flagged."""
        sums = (sum(map(abs, row)) for row in np.asarray(rows).tolist())
        return np.array([float(total > 0 and int(total * 1e6) % 4 == 0) for total in sums])

    def explain(self, row: Sequence[float]) -> list[str]:
        """Return no reason."""
        return []


def rule_of(times: Sequence[int], closes: Sequence[float]) -> float:
    """Return the risk that the rule in the champions' place says of the last candle: its own history decides it."""
    last = list(zip(times, closes, strict=True))[-LOOK:]
    return float(sum(close * (place + 1) + at // 60_000_000 % 997 for place, (at, close) in enumerate(last)))


def score_by_rule(interval: str) -> Callable[[Mapping[str, Series]], list[Score]]:
    """Return what scores the newest candle of each history."""

    def score(histories: Mapping[str, Series]) -> list[Score]:
        found = []
        for symbol, series in histories.items():
            closes, times = series.columns["close"], series.at
            risk = rule_of(times[-LOOK:].tolist(), closes[-LOOK:].tolist())
            found.append(Score(symbol, interval, int(times[-1]), 0, float(closes[-1]), wall_clock(), "rule", risk=risk))
        return found

    return score


def aggregate(lake: Lake, instance: str, commit_s: float, interval: str, health: Health) -> Any:
    """Return the stage."""
    return streaming.aggregate.stage.AggregateStage(
        Aggregator((interval,), 500_000),
        Reader(KAFKA, AGGREGATE.group, instance),
        Reader(KAFKA),
        Writer(KAFKA, f"{AGGREGATE.group}-{instance}"),
        Metrics("aggregate"),
        health,
        commit_s,
        wall_clock,
    )


def sink(lake: Lake, instance: str, commit_s: float, interval: str, health: Health) -> Any:
    """Return the stage."""
    return streaming.sink.stage.SinkStage(
        lake,  # type: ignore[arg-type]
        Reader(KAFKA, SINK.group, instance),
        Writer(KAFKA),
        Metrics("sink"),
        health,
        commit_s * 5,
        wall_clock,
    )


def detect(lake: Lake, instance: str, commit_s: float, interval: str, health: Health) -> Any:
    """Return the stage."""
    sieve = Sieve()
    return streaming.detect.stage.DetectStage(
        Reader(KAFKA, DETECT.group, instance),
        Writer(KAFKA, f"{DETECT.group}-{instance}"),
        lambda: sieve,
        Metrics("detect"),
        health,
        commit_s,
        wall_clock,
    )


def score(lake: Lake, instance: str, commit_s: float, interval: str, health: Health) -> Any:
    """Return the stage."""
    return streaming.score.stage.ScoreStage(
        Reader(KAFKA, SCORE.group, instance),
        Writer(KAFKA, f"{SCORE.group}-{instance}"),
        CandleHistories(interval, KEPT, lambda *_: pd.DataFrame(), executor=AtOnce()),
        score_by_rule(interval),
        lambda symbol, series: False,
        Metrics("score"),
        health,
        commit_s,
        wall_clock,
    )


async def _ingest(process: Process, exchange: Exchange, health: Health) -> None:
    symbols = list(exchange.market.trades)
    writer = trade_writer(KAFKA)
    trade_log = KafkaTradeLog(writer, wall_clock)
    ingest = Ingest(
        symbols, exchange, trade_log, Metrics("ingest"), health, wall_clock, intervals=(exchange.market.interval,)
    )
    ingest.resume(tails(KAFKA, symbols))
    health.beat()
    plan = Plan(lifetime=float(process.sim.rng.choice((20, 82_800))), rng=seeded(process.sim.rng))
    try:
        await keep_lines(ingest, exchange.connecting, Stop(process), plan)  # type: ignore[arg-type]
    finally:
        writer.flush()


class Stop:
    """Tells a process whether it was told to stop, as a threading.Event does."""

    def __init__(self, process: Process) -> None:
        self.process = process

    def is_set(self) -> bool:
        """Whether it was."""
        return bool(self.process.told.get("stop"))


def run_ingest(exchange: Exchange) -> Callable[[Process], None]:
    """Return what the process of an ingest does: as `ingest` of `streaming/wiring.py`."""

    def work(process: Process) -> None:
        health = process.told["health"] = Health()
        run(process, _ingest(process, exchange, health))

    return work


BUILDERS: dict[str, Callable[..., Any]] = {"aggregate": aggregate, "sink": sink, "detect": detect, "score": score}


def run_stage(name: str, lake: Lake, instance: str, commit_s: float, interval: str) -> Callable[[Any], None]:
    """Return what the process of a stage does: as `_turn` of `streaming/runner.py`."""

    def work(process: Any) -> None:
        health = process.told["health"] = Health()
        stage = process.told["stage"] = BUILDERS[name](lake, instance, commit_s, interval, health)
        health.beat()
        stage.start()
        try:
            while not process.told.get("stop"):
                stage.turn()
                off = [(symbol, str(account)) for symbol, account in stage.accounts() if not account.closes]
                assert not off, f"the balance of {name} does not close: {off}"
        except BaseException:
            stage.reader.close()
            raise
        stage.stop()

    return work
