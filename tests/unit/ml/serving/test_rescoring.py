"""Live scores come out of the lake once more, bit for bit: after late revisions, restarts, hand-overs and a lag.

Two scorers and a sink over a broker in memory and a lake of files; what is planted afterwards is named.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ml.models import base
from ml.serving.loaded import LoadedModel
from ml.serving.outcome_memory import HISTORY, Memory
from ml.serving.rescoring import Difference, Rescored, named_version, rescore
from ml.serving.scoring import ModelSet, score
from ml.serving.warming import Warming
from quantstream import features
from quantstream.core.candle import Candle
from quantstream.core.decimals import UNIT
from quantstream.core.errors import DataRejected, Misconfigured
from quantstream.core.time import SECOND, utc
from quantstream.kafka import ANY_PARTITION, Message, Partition
from quantstream.lake.schemas import candle_rows
from quantstream.lake.store import Lake
from quantstream.messages.models import MODEL_KINDS, registered_name
from quantstream.messages.payloads import Score, decode, encode
from quantstream.messages.topics import ANOMALIES, CANDLES, SCORES, SHADOW_SCORES, TRADES, Topic
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics
from streaming.score.histories import CandleHistories
from streaming.score.stage import ScoreStage
from streaming.sink.stage import SinkStage
from tests.unit.ml import markets
from tests.unit.streaming.memory_broker import MemoryBroker, MemoryReader, MemoryWriter, hand_over

pytestmark = pytest.mark.slow
SYMBOLS = ("BTCUSDT", "ETHUSDT")
LIVE = 24  # candles of each symbol that are scored
COST = 0.00123  # of entering and leaving, as it was set when they were
CANDLE_PARTS: list[Partition] = [(CANDLES.name, 0)]
ALL: list[Partition] = [(topic.name, 0) for topic in (TRADES, CANDLES, SCORES, SHADOW_SCORES, ANOMALIES)]


class DatedBroker(MemoryBroker):
    """A broker whose records carry the time of the test's clock."""

    def __init__(self) -> None:
        super().__init__(partitions=1)
        self.now = 0  # µs

    def append(self, topic: Topic, key: str | None, value: bytes, partition: int = ANY_PARTITION) -> None:
        log = self.logs.setdefault((topic.name, 0), [])
        raw = None if key is None else key.encode()
        log.append(Message(topic.name, 0, len(log), raw, value, self.now // 1000))


class Scene:
    """What outlives the processes."""

    def __init__(self, folder: Path, models: dict[str, base.Model]) -> None:
        self.broker, self.lake = DatedBroker(), Lake(str(folder))
        self.models = {
            kind: LoadedModel(registered_name(kind), "7", features.FEATURE_HASH, model)
            for kind, model in models.items()
        }
        self.coming = {symbol: candles(symbol, seed) for seed, symbol in enumerate(SYMBOLS)}
        self.past = {symbol: len(some) - LIVE for symbol, some in self.coming.items()}
        for symbol, some in self.coming.items():
            past = some[: self.past[symbol]]
            self.lake.append("candles", candle_rows(past, known_at=[one.closed_at for one in past]))

    def scorer(self) -> ScoreStage:
        """Return a new process that holds the partition."""
        reader: Any = MemoryReader(self.broker, "score")
        writer: Any = MemoryWriter(self.broker)
        memory, models = Memory(), ModelSet(**self.models)
        histories = CandleHistories(
            "5m", HISTORY, lambda symbol, start, end: self.lake.candle_frame([symbol], "5m", utc(start), utc(end))
        )
        stage = ScoreStage(
            reader,
            writer,
            histories,
            lambda found: score(models, found, self.broker.now, memory, cost=COST),
            Warming(lambda: models, memory),
            Metrics("score"),
            Health(),
            0.0,
            lambda: self.broker.now,
        )
        stage.start()
        hand_over(CANDLE_PARTS, None, stage)
        return stage

    def sink(self) -> None:
        """Store what is in the topics."""
        reader: Any = MemoryReader(self.broker, "sink")
        writer: Any = MemoryWriter(self.broker)
        stage = SinkStage(self.lake, reader, writer, Metrics("sink"), Health(), 0.0, lambda: self.broker.now)
        stage.start()
        hand_over(ALL, None, stage)
        stage.turn()

    def close(self, count: int, *symbols: str) -> None:
        """Let the next candles close."""
        for _ in range(count):
            for symbol in symbols or SYMBOLS:
                self.put(self.coming[symbol][self.past[symbol]])
                self.past[symbol] += 1

    def put(self, candle: Candle) -> None:
        """Write a candle when it closes, or now if that is past."""
        self.broker.now = max(self.broker.now, candle.closed_at + SECOND)
        self.broker.append(CANDLES, candle.symbol, encode(candle))

    def revise(self, symbol: str, back: int, factor: float, revision: int = 1) -> None:
        """Correct a candle of so many ago."""
        self.put(revised(self.coming[symbol][self.past[symbol] - back], factor, revision))

    def rescored(self, kind: str, lake: Lake | None = None) -> Rescored:
        """Score again all that there is."""
        return rescore(lake or self.lake, self.models[kind], utc(0), utc(2 * 10**15))


def candles(symbol: str, seed: int) -> list[Candle]:
    frame = markets.candles(HISTORY + LIVE - 100 * seed, seed + 11)  # the second symbol is younger than a whole history
    frame = frame.drop(index=range(3000, 3009))
    jump = np.where(np.arange(len(frame)) > len(frame) - 9, 1.08, 1.0)  # a candle unlike any
    numbers = [
        np.rint(frame[name].to_numpy() * UNIT * (jump if name in features.series.PRICES else 1)).astype(int).tolist()
        for name in features.COLUMNS
    ]
    return [made(symbol, at, *row) for at, *row in zip(features.opened_at_us(frame).tolist(), *numbers, strict=True)]


def made(
    symbol: str, at: int, first: int, high: int, low: int, last: int, volume: int, taken: int, revision: int = 0
) -> Candle:
    prices = (first, max(first, high, last), min(first, low, last), last)
    return Candle(symbol, "5m", at, *prices, volume, UNIT, 1, taken, 1, 1, 1, True, revision)


def revised(one: Candle, factor: float, revision: int) -> Candle:
    prices = [int(price * factor) for price in (one.open, one.high, one.low, one.close)]
    first, high, low, last = prices
    return made(one.symbol, one.opened_at, first, high, low, last, one.volume, one.taker_buy_volume, revision)


@pytest.fixture(scope="module")
def scene(models: dict[str, base.Model], tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A run in which all happens that may happen to a history."""
    scene = Scene(tmp_path_factory.mktemp("lake"), models)
    first = scene.scorer()
    scene.close(3)
    first.turn()
    scene.sink()
    scene.revise("BTCUSDT", 40, 1.01)  # late
    scene.revise("ETHUSDT", 2, 0.99)
    scene.close(2)
    first.turn()
    scene.revise("BTCUSDT", 40, 1.02, revision=2)
    scene.sink()
    second = scene.scorer()  # after a restart: the lake knows of what the topic tells it next
    scene.close(1)
    second.turn()
    scene.close(2, "BTCUSDT")  # one symbol's candles come alone
    second.turn()
    scene.close(2, "ETHUSDT")
    scene.close(2)
    scene.revise("BTCUSDT", 300, 0.97)
    scene.revise("BTCUSDT", 3, 0.98)
    scene.revise("ETHUSDT", 5, 1.03)
    scene.sink()
    third = scene.scorer()  # it lags behind: the lake holds revisions that came after the candles it scores first
    third.turn()
    skipped = scene.past["BTCUSDT"]
    scene.past["BTCUSDT"] += 1  # a gap
    scene.close(4)
    third.turn()
    scene.put(scene.coming["BTCUSDT"][skipped])  # filled late
    for _ in range(5):
        scene.close(1)
        third.turn()
    scene.sink()
    return scene


@pytest.mark.parametrize("kind", MODEL_KINDS)
def test_every_score_comes_out_of_the_lake_once_more_bit_for_bit(scene: Scene, kind: str) -> None:
    logged = [decode(message.value() or b"", Score) for message in scene.broker.logs[SCORES.name, 0]]
    made = sum(registered_name(kind) in one.models for one in logged)
    found = scene.rescored(kind)
    assert found.different == []
    assert (found.scores, found.undated) == (made, 0)
    assert made > LIVE


def test_a_signal_of_before_the_direction_was_said_is_compared_by_what_it_said(scene: Scene, tmp_path: Path) -> None:
    lake, rows = Lake(str(tmp_path)), scene.lake.read("scores").drop_columns(["date", "month"])
    assert set(rows["round_trip_cost"].to_pylist()) == {COST, None}
    for name in ("usually_up", "tail_lean", "expected_return", "round_trip_cost"):
        rows = rows.set_column(rows.column_names.index(name), name, pa.nulls(rows.num_rows, pa.float64()))
    lake.append("scores", rows)
    lake.append("candles", scene.lake.read("candles").drop_columns(["date", "month"]))
    found = scene.rescored("signal", lake)
    assert (found.different, found.scores > LIVE) == ([], True)


def test_novel_candles_are_among_them(scene: Scene) -> None:
    assert (np.array(scene.lake.scores()["novelty"].to_pylist(), dtype=float) > 0.5).any()


def test_a_changed_candle_names_the_scores_that_were_made_of_another(scene: Scene, tmp_path: Path) -> None:
    lake, last = Lake(str(tmp_path)), scene.coming["BTCUSDT"][: scene.past["BTCUSDT"]][-4:]
    changed = last[0].opened_at
    rows = scene.lake.read("candles").to_pylist()
    for row in rows:
        if row["symbol"] == "BTCUSDT" and row["opened_at"] == utc(changed):
            row["volume"] += 1
    schema = scene.lake.read("candles").schema
    lake.append("candles", pa.Table.from_pylist(rows, schema).drop_columns(["date", "month"]))
    lake.append("scores", scene.lake.read("scores").drop_columns(["date", "month"]))
    found = scene.rescored("risk", lake)
    named = {(one.symbol, one.opened_at) for one in found.different}
    assert named == {("BTCUSDT", str(utc(one.opened_at))) for one in last}
    assert all("not those that it was made of" in one.why for one in found.different)


def test_where_a_version_scored_nothing_that_is_said(scene: Scene) -> None:
    other = LoadedModel("quantstream-risk", "8", features.FEATURE_HASH, scene.models["risk"].model)
    with pytest.raises(DataRejected, match="no score of that time has a part by quantstream-risk 8"):
        rescore(scene.lake, other, utc(0), utc(2 * 10**15))


@pytest.mark.parametrize(
    ("model", "version"), [("", "quantstream-risk/3"), ("", "risk/3"), ("risk", "3"), ("risk", "quantstream-risk/3")]
)
def test_a_version_is_named_as_people_name_it(model: str, version: str) -> None:
    assert named_version(model, version) == ("quantstream-risk", "3")


@pytest.mark.parametrize(("model", "version"), [("", "3"), ("luck", "3"), ("risk", "signal/3"), ("risk", "newest")])
def test_what_names_no_version_is_refused_in_words(model: str, version: str) -> None:
    with pytest.raises(Misconfigured, match="names no version of one model"):
        named_version(model, version)


def test_the_answer_in_words_names_what_differs() -> None:
    found = Rescored("quantstream-risk", "3", scores=3, undated=1)
    equal = "3 scores by quantstream-risk 3, all equal to the last bit"
    assert found.lines() == [f"{equal}; 1 are of before the scorer said which candles it held"]
    found.different.append(Difference("BTCUSDT", "2026-11-28 14:00", "why", {"risk": 1.0}, {"risk": 2.0}))
    assert found.lines()[1:] == ["BTCUSDT 2026-11-28 14:00: why; risk 1.0 then, 2.0 now"]
    assert found.fields()["equal"] == 2
