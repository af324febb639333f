"""A scorer as a process of its own, with a challenger in its shadow and no need of a training: stopped, killed and started again.

`python -m tests.broker.shadowed_scorer BOOTSTRAP INSTANCE`. Its session is the shortest that a broker allows.
"""

from __future__ import annotations

import sys
import time

from quantstream.kafka import Reader, Writer
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics
from quantstream.settings import Kafka
from streaming.score.histories import CandleHistories
from streaming.score.shadow import Shadow
from streaming.score.stage import ScoreStage
from tests.broker.test_scores import SecondOpinion, empty_lake, judge

SESSION_MS = 6_000


def main(bootstrap: str, instance: str) -> None:
    """Score until the process is ended."""
    kafka, metrics = Kafka(bootstrap=bootstrap), Metrics("score")
    histories = CandleHistories("5m", 8, empty_lake)
    stage = ScoreStage(
        Reader(kafka, "quantstream-score", instance, session_timeout_ms=SESSION_MS, max_poll_interval_ms=SESSION_MS),
        Writer(kafka, f"quantstream-score-{instance}"),
        histories,
        judge,
        lambda symbol, series: False,
        metrics,
        Health(),
        0.05,
        lambda: time.time_ns() // 1000,
        shadow=Shadow(SecondOpinion(), histories, Writer(kafka), lambda *_: None, metrics),
    )
    stage.start()
    while True:
        stage.turn()


if __name__ == "__main__":
    main(*sys.argv[1:])
