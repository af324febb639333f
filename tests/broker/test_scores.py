"""Score and detect over a real broker: every closed candle once, every strange trade told, through restarts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from ml.data import trade_features
from ml.promotion.announcements import Announcements
from ml.promotion.decisions import Change, Decision
from quantstream.binance.wire import trade_event
from quantstream.core.candle import Candle
from quantstream.core.decimals import UNIT
from quantstream.core.time import MINUTE, SECOND
from quantstream.core.trade import Trade
from quantstream.features import COLUMNS, Series
from quantstream.kafka import Reader, Writer
from quantstream.kafka.news import News
from quantstream.lake.store import Lake
from quantstream.messages.payloads import Anomaly, Score, decode, encode
from quantstream.messages.topics import ANOMALIES, CANDLES, MODELS, SCORES, TRADES, Topic
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics
from quantstream.settings import Kafka
from streaming.detect.stage import DetectStage
from streaming.score.histories import CandleHistories
from streaming.score.shadow import Shadow
from streaming.score.stage import ScoreStage
from streaming.sink.stage import SinkStage

pytestmark = pytest.mark.broker
T0 = 1_723_161_600 * SECOND


def candle(number: int, symbol: str, revision: int = 0) -> Candle:
    return Candle(
        symbol, "5m", T0 + number * 5 * MINUTE, UNIT, 2 * UNIT, UNIT, UNIT + number, 5, 5, 1, 0, 0, 1, 1, True, revision
    )


def judge(histories: Mapping[str, Series]) -> list[Score]:
    """A scorer that tells what it was shown: the newest close, and how many candles led to it."""
    return [
        Score(
            symbol=symbol,
            interval="5m",
            opened_at=int(series.at[-1]),
            revision=0,
            close=float(series.columns["close"][-1]),
            scored_at=0,
            feature_hash="",
            risk=float(len(series)),
        )
        for symbol, series in histories.items()
    ]


def empty_lake(symbol: str, start: int, end: int) -> pd.DataFrame:
    return pd.DataFrame({"opened_at": pd.to_datetime([], utc=True), **{name: [] for name in COLUMNS}})


def score_stage(kafka: Kafka) -> ScoreStage:
    stage = ScoreStage(
        Reader(kafka, "quantstream-score", "0"),
        Writer(kafka, "quantstream-score-0"),
        CandleHistories("5m", 4, empty_lake),
        judge,
        lambda symbol, series: False,
        Metrics("score"),
        Health(),
        0.05,
        lambda: 0,
    )
    stage.start()
    return stage


def read_all(kafka: Kafka, topic: Topic, count: int) -> list[bytes]:
    reader = Reader(kafka)
    reader.assign({(topic.name, partition): 0 for partition in range(topic.partitions)})
    values: list[bytes] = []
    deadline = time.monotonic() + 20
    while len(values) < count and time.monotonic() < deadline:
        values += [message.value() or b"" for message in reader.poll(0.5)]
    values += [message.value() or b"" for message in reader.poll(0.5)]
    reader.close()
    return values


def test_each_closed_candle_is_scored_once_with_its_history_through_a_restart(fresh_broker: Kafka) -> None:
    writer = Writer(fresh_broker)

    def send(*candles: Candle) -> None:
        for item in candles:
            writer.send(CANDLES, item.symbol, encode(item))
        writer.flush()

    stage = score_stage(fresh_broker)
    send(*(candle(number, symbol) for number in range(3) for symbol in ("A1", "B1")))
    while stage.scored._value.get() < 6:
        stage.turn()
    send(candle(2, "A1", revision=1))  # a correction: history, not a second score
    writer.send(CANDLES, "A1", b"not a candle")
    send(candle(3, "A1"))
    successor = score_stage(fresh_broker)  # the first was killed: it never closes
    while successor.scored._value.get() < 1:
        successor.turn()
    successor.turn()
    scores = [decode(raw, Score) for raw in read_all(fresh_broker, SCORES, 7)]
    assert Counter((score.symbol, (score.opened_at - T0) // (5 * MINUTE)) for score in scores) == Counter(
        [("A1", 0), ("A1", 1), ("A1", 2), ("A1", 3), ("B1", 0), ("B1", 1), ("B1", 2)]
    )
    assert all(score.elapsed_ms > 0 for score in scores)
    assert {score.opened_at: score.risk for score in scores if score.symbol == "A1"}[T0 + 15 * MINUTE] == 4
    successor.reader.close()


class SecondOpinion:
    """A challenger that needs no training: it says how many candles it was shown."""

    stopped: dict[tuple[str, str], str]

    def __init__(self) -> None:
        self.stopped = {}

    def wanted(self) -> dict[str, str]:
        return {"risk": "2"}

    def score(self, histories: Mapping[str, Series]) -> list[Score]:
        return [msgspec.structs.replace(one, models={"quantstream-risk": "2"}) for one in judge(histories)]

    def goes_on(self, symbol: str, series: Series) -> bool:
        return True

    def rest(self) -> None:
        """It holds nothing."""

    def hangs(self, reason: str) -> None:
        raise AssertionError(reason)

    def anew(self) -> SecondOpinion:
        return self


def test_a_challengers_scores_come_into_a_table_of_their_own_each_once_and_a_promotion_is_heard_at_once(
    fresh_broker: Kafka, tmp_path: Path
) -> None:
    lake, news = Lake(str(tmp_path / "lake")), News(fresh_broker, MODELS)
    news.wait(2.0)  # listens from now on
    stage = score_stage(fresh_broker)
    stage.shadow = Shadow(SecondOpinion(), stage.histories, Writer(fresh_broker), lambda *_: None, stage.metrics)
    writer = Writer(fresh_broker)
    for number in range(3):
        writer.send(CANDLES, "A1", encode(candle(number, "A1")))
        writer.send(CANDLES, "B1", encode(candle(number, "B1")))
        writer.flush()
        while stage.shadow.scored._value.get() < 2 * (number + 1):
            stage.turn()
    stage.shadow.close()
    sinks = [sink_stage(fresh_broker, lake) for _ in range(2)]  # the first was killed: it never closes
    for sink in sinks:
        sink.start()
        while lake.read("shadow_scores").num_rows < 6 or lake.read("scores").num_rows < 6:
            sink.turn()
        sink.turn()
    for table, models in (("scores", []), ("shadow_scores", [("quantstream-risk", "2")])):
        rows = lake.read(table).to_pylist()
        assert [(row["symbol"], row["risk"], row["models"]) for row in rows] == [
            (symbol, float(number + 1), models) for symbol in ("A1", "B1") for number in range(3)
        ]
    decided = Decision(datetime.now(UTC), "quantstream-risk", "2", Change.PROMOTED, "1", "a test", "no worse")
    Announcements(fresh_broker)(decided)
    assert news.wait(30.0)
    sinks[1].reader.close()
    stage.reader.close()
    news.close()


def sink_stage(kafka: Kafka, lake: Lake) -> SinkStage:
    reader, writer = Reader(kafka, "quantstream-sink", "0"), Writer(kafka)
    return SinkStage(lake, reader, writer, Metrics("sink"), Health(), 0.0, lambda: 0)


@dataclass
class LargeQuantities:
    """A verdict that needs no training: the first feature alone decides."""

    name: str = "quantstream-anomaly"
    version: str = "3"
    threshold: float = 0.5

    def score_trades(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        return (rows[:, trade_features.NAMES.index("relative_size")] > 3).astype(float)

    def explain(self, row: Sequence[float]) -> list[str]:
        return ["a very large quantity"]


def trades(start: int, stop: int) -> list[Trade]:
    return [
        Trade("A1", n, n, n, 100 * UNIT + n % 3, UNIT * (10_000 if n == 450 else 1), T0 + n * SECOND, n % 2 == 0)
        for n in range(start, stop)
    ]


def detect_stage(kafka: Kafka) -> DetectStage:
    stage = DetectStage(
        Reader(kafka, "quantstream-detect", "0"),
        Writer(kafka, "quantstream-detect-0"),
        LargeQuantities,
        Metrics("detect"),
        Health(),
        0.05,
        lambda: 0,
    )
    stage.start()
    return stage


def test_a_strange_trade_is_told_once_though_the_stage_was_restarted_before_it(fresh_broker: Kafka) -> None:
    writer = Writer(fresh_broker)

    def send(items: list[Trade]) -> None:
        for item in items:
            writer.send(TRADES, item.symbol, trade_event(item))
        writer.flush()

    send(trades(1, 400))
    first = detect_stage(fresh_broker)
    while first.handled._value.get() < 399:
        first.turn()
    send(trades(380, 500))  # twenty of them twice
    second = detect_stage(fresh_broker)
    while second.handled._value.get() < 100:
        second.turn()
    found = [decode(raw, Anomaly) for raw in read_all(fresh_broker, ANOMALIES, 1)]
    assert [(anomaly.trade_id, anomaly.model, anomaly.reasons) for anomaly in found] == [
        (450, "quantstream-anomaly/3", ["a very large quantity"])
    ]
    assert msgspec.structs.asdict(found[0])["quantity"] == 10_000 * UNIT
    second.reader.close()
