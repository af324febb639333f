"""Every trade of the topic judged, flagged ones and offsets in one transaction, on one core.

The forest is asked about the trades that a rule of thumb finds suspicious (its verdict on the others could change nothing);
`forest_every_trade_per_s` says how fast the same stage is when it is asked about each.
"""

from __future__ import annotations

import resource
import sys
import time
import uuid
from collections.abc import Sequence

import numpy as np

from bench.measure import cores, floors, result, source
from ml.data import trade_features
from ml.models import anomaly
from quantstream.binance.wire import parse_trade
from quantstream.core.rolling import Floats
from quantstream.kafka import Reader, Writer, ensure_topics
from quantstream.messages.topics import Topic
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics
from quantstream.settings import PARTITIONS, Kafka
from streaming.detect.stage import DetectStage

TARGET, AIM = 50_000, 150_000  # trades/s
QUICK, TRADES = 10_000, 1_000_000
BATCH = 10_000  # rows: how scikit-learn's forest is asked for the floor
PATIENCE = 60.0  # seconds without a record


class Champion:
    """A model as the registry would hand it out."""

    name, version = "bench", "1"

    def __init__(self, model: anomaly.AnomalyModel, every: bool) -> None:
        self.model, self.every, self.threshold = model, every, model.threshold

    def score_trades(self, rows: Floats) -> Floats:
        """Return a score per row; with `every` the forest sees all of them."""
        if self.every:
            self.model.trades.score(rows)
        return self.model.score_trades(rows)

    def explain(self, row: Sequence[float]) -> list[str]:
        """Return the reasons."""
        return self.model.explain(row)


def main(argv: list[str] | None = None) -> int:
    """Measure, print, return the exit code."""
    options = result.parser((__doc__ or "").splitlines()[0])
    options.add_argument("--trades", type=int, default=0)
    given = options.parse_args(argv)
    trades = given.trades or (QUICK if given.quick else TRADES)
    model, rows = fitted(min(trades, 50_000))
    with cores.broker_apart() as kafka:
        topic = f"bench.trades.{uuid.uuid4().hex[:8]}"
        source.fill(kafka, topic, trades)
        floor = forest_alone(model, rows)
        rate, every = (detect(kafka, topic, trades, Champion(model, each)) for each in (False, True))
    row = result.Row(
        "detect: every trade judged, anomalies exactly once",
        "trades/s",
        round(rate.per_s),
        TARGET,
        AIM,
        round(floor.per_s),
        "scikit-learn's forest alone, batches of 10,000",
    )
    details = {
        "trades_per_s": round(rate.per_s),
        "trades_per_cpu_s": round(rate.per_cpu_s),
        "forest_every_trade_per_s": round(every.per_s),
        "forest_every_trade_per_cpu_s": round(every.per_cpu_s),
        "floor_per_cpu_s": round(floor.per_cpu_s),
        "trades": trades,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    return result.show(result.report("detect", [row], given.quick, **details), given.json)


def fitted(count: int) -> tuple[anomaly.AnomalyModel, Floats]:
    """Return a model fitted on so many trades, and their features."""
    rows = trade_features.rows(parse_trade(raw) for _, raw in source.events(count))
    candles = np.random.default_rng(0).normal(size=(2_000, len(anomaly.NAMES)))
    return anomaly.fit(rows, candles), rows


def forest_alone(model: anomaly.AnomalyModel, rows: Floats) -> floors.Rate:
    """Return the rate of the library's forest on rows that are there already."""
    watch = floors.Stopwatch()
    for start in range(0, len(rows), BATCH):
        model.trades.fitted.score_samples(rows[start : start + BATCH])
    return watch.rate(len(rows))


def detect(kafka: Kafka, topic: str, trades: int, champion: Champion) -> floors.Rate:
    """Run the stage over the whole topic; return its rate from the first record to the last commit.

    Raises: TimeoutError when the topic ends early.
    """
    run = f"{topic}.{uuid.uuid4().hex[:6]}"
    topics = Topic(topic, "symbol", "bench", PARTITIONS), Topic(f"{run}.anomalies", "symbol", "bench")
    ensure_topics(kafka, topics)
    stage = DetectStage(
        Reader(kafka, run),
        Writer(kafka, run),
        lambda: champion,
        Metrics("detect"),
        Health(),
        0.1,
        lambda: time.time_ns() // 1000,
        topics,
    )
    stage.start()
    watch, heard = None, time.perf_counter()
    while (taken := int(stage.handled._value.get())) < trades:
        begun = floors.Stopwatch()
        stage.turn()
        if int(stage.handled._value.get()) > taken:
            watch, heard = watch or begun, time.perf_counter()
        elif time.perf_counter() - heard > PATIENCE:
            raise TimeoutError(f"the topic holds only {taken} of {trades} records")
    rate = (watch or floors.Stopwatch()).rate(trades)
    stage.reader.close()
    return rate


if __name__ == "__main__":
    sys.exit(main())
