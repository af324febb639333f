"""What the scorer promises: each closed candle is scored once, with its offset in the same transaction, from a true history."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec
import pandas as pd
import pytest

from quantstream.core.candle import Candle
from quantstream.core.decimals import UNIT
from quantstream.core.errors import Unavailable
from quantstream.core.time import MINUTE, SECOND
from quantstream.features import COLUMNS, Series
from quantstream.kafka import Partition
from quantstream.messages.payloads import DeadRecord, EventKind, Score, decode, encode
from quantstream.messages.topics import CANDLES, DEAD, SCORES, Topic
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics
from streaming.score import stage as module
from streaming.score.histories import CandleHistories
from streaming.score.stage import ScoreStage
from tests.unit.streaming.memory_broker import MemoryBroker, MemoryReader, MemoryWriter, hand_over

T0 = 1_754_006_400 * SECOND
PARTS: list[Partition] = [(CANDLES.name, 0), (CANDLES.name, 1)]


def candle(number: int, symbol: str = "BTCUSDT", close: int = 1, interval: str = "5m", revision: int = 0) -> Candle:
    """Return the candle of a window, which closes at `close` whole units."""
    at, price = T0 + number * 5 * MINUTE, close * UNIT
    return Candle(
        *(symbol, interval, at, price, price, price, price, UNIT, UNIT, 1, 0, 0, number, number, True),
        revision=revision,
    )


def empty_lake(symbol: str, start: int, end: int) -> pd.DataFrame:
    return pd.DataFrame({"opened_at": pd.to_datetime([], utc=True), **{name: [] for name in COLUMNS}})


class Scene:
    """A broker that outlives the scorers; the champion says how high the history has closed: a score tells what it saw."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.prepared: list[str] = []
        self.prepares = True
        self.mute: set[str] = set()

    def scorer(self, parts: list[Partition] = PARTS) -> ScoreStage:
        """Return a new process that holds these partitions."""
        reader: Any = MemoryReader(self.broker, "score")
        writer: Any = MemoryWriter(self.broker)
        histories = CandleHistories("5m", 4, empty_lake)
        stage = ScoreStage(
            *(reader, writer, histories, self.champion, self.prepare),
            *(Metrics("score"), Health(), 0.0, lambda: T0),
        )
        stage.start()
        hand_over(parts, None, stage)
        return stage

    def champion(self, histories: Mapping[str, Series]) -> list[Score]:
        """Judge: the close of all candles seen, summed up."""
        return [
            Score(
                *(symbol, "5m", int(series.at[-1]), 0, float(series.columns["close"][-1]), T0, "hash"),
                risk=float(series.columns["close"].sum()),
                abstained="no model" if symbol in self.mute else "",
            )
            for symbol, series in histories.items()
        ]

    def prepare(self, symbol: str, series: Series) -> bool:
        """Note for which symbol something is prepared."""
        self.prepared.append(symbol)
        return self.prepares

    def put(self, *candles: Candle, partition: int = 0) -> None:
        """Write candles."""
        for each in candles:
            self.broker.append(CANDLES, each.symbol, encode(each), partition)

    def _all(self, topic: Topic) -> list[bytes]:
        logs = [log for (name, _), log in sorted(self.broker.logs.items()) if name == topic.name]
        return [message.value() or b"" for log in logs for message in log]

    def scores(self) -> list[tuple[str, int, float | None]]:
        """Return symbol, window and risk of each score."""
        found = [decode(raw, Score) for raw in self._all(SCORES)]
        return [(score.symbol, (score.opened_at - T0) // (5 * MINUTE), score.risk) for score in found]

    def dead(self) -> list[DeadRecord]:
        """Return the dead letters."""
        return [decode(raw, DeadRecord) for raw in self._all(DEAD)]

    def committed(self) -> list[int | None]:
        """Return the offset that the group has committed of each partition."""
        return [self.broker.committed.get(("score", part)) for part in PARTS]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def sample(stage: ScoreStage, name: str, **labels: str) -> float:
    return stage.metrics.registry.get_sample_value(f"quantstream_score_{name}", labels) or 0.0


def test_each_candle_is_scored_once_and_its_offset_committed_with_the_score(scene: Scene) -> None:
    stage = scene.scorer()
    scene.put(candle(0, close=1), candle(0, "ETHUSDT", 7), candle(1, close=2))
    stage.turn()
    assert sorted(scene.scores()) == [("BTCUSDT", 0, 1.0), ("BTCUSDT", 1, 3.0), ("ETHUSDT", 0, 7.0)]
    assert scene.committed() == [3, None]
    assert sample(stage, "records_total", outcome="scored") == 3
    stage.turn()
    assert len(scene.scores()) == 3


def test_the_first_of_two_candles_of_a_symbol_is_judged_before_the_second_is_history(scene: Scene) -> None:
    stage = scene.scorer()
    scene.put(candle(0, close=1), candle(1, close=2), candle(2, close=4))
    stage.turn()
    assert scene.scores() == [("BTCUSDT", 0, 1.0), ("BTCUSDT", 1, 3.0), ("BTCUSDT", 2, 7.0)]


def test_a_revision_is_not_scored_but_corrects_the_history_of_the_next_score(scene: Scene) -> None:
    stage = scene.scorer()
    scene.put(candle(0, close=1), candle(0, close=5, revision=1))
    stage.turn()
    scene.put(candle(1, close=2))
    stage.turn()
    assert scene.scores() == [("BTCUSDT", 0, 1.0), ("BTCUSDT", 1, 7.0)]
    assert scene.committed() == [3, None]


def test_candles_of_another_interval_pass(scene: Scene) -> None:
    stage = scene.scorer()
    scene.put(candle(0, interval="1m"), candle(0))
    stage.turn()
    assert scene.scores() == [("BTCUSDT", 0, 1.0)]


def test_what_is_no_candle_is_dead_lettered_with_its_place_and_the_others_are_scored(scene: Scene) -> None:
    stage = scene.scorer()
    scene.broker.append(CANDLES, "BTCUSDT", b"[]", 0)
    scene.put(candle(0))
    stage.turn()
    (letter,) = scene.dead()
    assert (letter.source, letter.raw) == ("score market.candles.v1-0@0", "[]")
    assert letter.reason.startswith("not a candle")
    assert (len(scene.scores()), scene.committed()[0]) == (1, 2)
    assert sample(stage, "dead_letters_total") == 1


def test_a_restart_reads_committed_candles_again_for_their_history_and_scores_none_of_them_twice(scene: Scene) -> None:
    scene.broker.append(CANDLES, "BTCUSDT", b"[]", 0)
    scene.put(candle(0, close=1), candle(1, close=2))
    scene.scorer().turn()
    scene.put(candle(2, close=4))
    scene.scorer().turn()
    assert scene.scores() == [("BTCUSDT", 0, 1.0), ("BTCUSDT", 1, 3.0), ("BTCUSDT", 2, 7.0)]
    assert len(scene.dead()) == 1


def test_a_restart_reads_no_more_again_than_it_has_to(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REWIND", 1)
    scene.put(candle(0, close=1), candle(1, close=2))
    scene.scorer().turn()
    scene.put(candle(2, close=4))
    scene.scorer().turn()
    assert scene.scores()[-1] == ("BTCUSDT", 2, 6.0)


def test_scores_of_a_commit_that_the_group_has_fenced_are_dropped_and_made_again(scene: Scene) -> None:
    stage = scene.scorer()
    scene.put(candle(0, close=1))
    stage.writer.fenced = True  # type: ignore[attr-defined]
    stage.turn()
    assert (scene.scores(), scene.committed()[0]) == ([], None)
    stage.turn()
    assert (scene.scores(), scene.committed()[0]) == ([("BTCUSDT", 0, 1.0)], 1)
    assert sample(stage, "rebalances_total", outcome="fenced") == 1


def _between_reading_and_commit(stage: ScoreStage, act: Callable[[], None]) -> None:
    """Let something happen when the next batch was taken and is not committed yet."""
    take: Any = type(stage).take.__get__(stage)

    def taking(messages: Any) -> None:
        take(messages)
        act()

    stage.take = taking  # type: ignore[method-assign, assignment]


def test_what_was_read_of_a_lost_partition_is_scored_by_its_next_holder_alone(scene: Scene) -> None:
    old, new = scene.scorer(), scene.scorer([])
    scene.put(candle(0, close=1))
    _between_reading_and_commit(old, lambda: old.reader.lost(PARTS[:1]))  # type: ignore[attr-defined]
    old.turn()
    assert (scene.scores(), scene.committed()) == ([], [None, None])
    _between_reading_and_commit(old, lambda: None)
    scene.put(candle(0, "ETHUSDT", close=7), partition=1)
    old.turn()
    assert (scene.scores(), scene.committed()) == ([("ETHUSDT", 0, 7.0)], [None, 1]), "no word of what is another's now"
    hand_over(PARTS[:1], None, new)
    new.turn()
    assert sorted(scene.scores()) == [("BTCUSDT", 0, 1.0), ("ETHUSDT", 0, 7.0)]


def test_a_partition_that_is_revoked_is_committed_while_it_is_held_and_its_history_goes_with_it(scene: Scene) -> None:
    old, new = scene.scorer(), scene.scorer([])
    scene.put(candle(0, close=1))
    old.turn()
    assert old.metrics.candle_closed_at.values == {"BTCUSDT": (T0 + 5 * MINUTE) / SECOND}
    hand_over(PARTS[:1], old, new)
    assert old.metrics.candle_closed_at.values == {}
    assert [symbol for symbol, _ in old.histories.newest()] == []
    scene.put(candle(1, close=2))
    new.turn()
    old.turn()
    assert scene.scores() == [("BTCUSDT", 0, 1.0), ("BTCUSDT", 1, 3.0)]


def test_a_broker_that_is_away_ends_the_process_and_its_successor_scores_what_was_not_committed(scene: Scene) -> None:
    stage = scene.scorer()
    scene.put(candle(0, close=1))

    def away(*_: object) -> None:
        raise Unavailable("the broker is away")

    stage.writer.commit = away  # type: ignore[method-assign,assignment]
    with pytest.raises(Unavailable):
        stage.turn()
    stage.stop()
    assert scene.scores() == []
    scene.scorer().turn()
    assert scene.scores() == [("BTCUSDT", 0, 1.0)]


def test_scores_that_abstain_are_counted_apart(scene: Scene) -> None:
    scene.mute = {"ETHUSDT"}
    stage = scene.scorer()
    scene.put(candle(0), candle(0, "ETHUSDT"))
    stage.turn()
    assert sample(stage, "records_total", outcome="scored") == 1
    assert sample(stage, "records_total", outcome="abstained") == 1


def test_while_no_candle_waits_one_symbol_at_a_time_is_prepared(scene: Scene) -> None:
    stage = scene.scorer()
    scene.put(candle(0), candle(0, "ETHUSDT"))
    stage.turn()
    scene.prepared.clear()
    stage.turn()
    assert len(scene.prepared) == 1
    scene.prepares, scene.prepared = False, []
    stage.turn()
    assert sorted(scene.prepared) == ["BTCUSDT", "ETHUSDT"]
    scene.prepared = []
    scene.put(candle(1))
    stage.turn()
    assert scene.prepared == []


def stale_scores(scene: Scene, version: str, histories: Mapping[str, Series]) -> list[Score]:
    """Scores of a version that is past its age limit."""
    marks = {"models": {"quantstream-risk": version}, "stale": ["quantstream-risk"]}
    return [msgspec.structs.replace(one, **marks) for one in scene.champion(histories)]


def test_a_champion_past_its_age_limit_is_told_once_for_each_version() -> None:
    scene, told = Scene(), list[tuple[EventKind, str]]()
    stage = scene.scorer()
    stage.tell = lambda kind, text, symbol: told.append((kind, text))
    for number, version in enumerate(("3", "3", "4")):
        stage.judging.score = partial(stale_scores, scene, version)
        scene.put(candle(number), candle(number, "ETHUSDT"))
        stage.turn()
    assert [kind for kind, _ in told] == [EventKind.MODEL_STALE] * 2
    assert [text.split()[1] for _, text in told] == ["3", "4"]
