"""Challengers score what the champions have scored, aside: late, slow or broken, they change nothing of a champion's score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from quantstream.features import Series
from quantstream.messages.payloads import EventKind, Score, decode
from quantstream.messages.topics import SHADOW_SCORES
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics
from streaming.score.histories import CandleHistories
from streaming.score.shadow import LONGEST, Shadow
from streaming.score.stage import ScoreStage
from tests.unit.streaming.memory_broker import MemoryReader, MemoryWriter, hand_over
from tests.unit.streaming.score.test_stage import PARTS, T0, Scene, candle, empty_lake


class FakeChallengers:
    """One challenger, which says how high the last candle closed; `act` happens meanwhile."""

    def __init__(self) -> None:
        self.version: str | None = "2"
        self.stopped: dict[tuple[str, str], str] = {}
        self.seen: list[Series] = []
        self.act: Callable[[], None] = lambda: None
        self.rebuilt: set[str] = set()
        self.has_rested = False

    def wanted(self) -> dict[str, str]:
        is_asked = self.version and ("risk", self.version) not in self.stopped
        return {"risk": self.version} if is_asked and self.version else {}

    def score(self, histories: Mapping[str, Series]) -> list[Score]:
        self.seen += histories.values()
        self.act()
        return [
            Score(symbol, "5m", int(series.at[-1]), 0, 1.0, T0, "hash", risk=float(series.columns["close"][-1]))
            for symbol, series in histories.items()
        ]

    def goes_on(self, symbol: str, series: Series) -> bool:
        return symbol not in self.rebuilt

    def rest(self) -> None:
        self.has_rested = True

    def hangs(self, reason: str) -> None:
        self.stopped["risk", "2"] = reason

    def anew(self) -> FakeChallengers:
        return self


class Pair:
    """A scorer with a challenger beside its champion; the work aside waits until it is let go."""

    def __init__(self) -> None:
        self.scene, self.challengers = Scene(), FakeChallengers()
        self.work: list[Callable[[], None]] = []
        self.now, self.told = 0.0, []
        self.is_at_once = True
        self.stage = self.scorer()

    def scorer(self) -> ScoreStage:
        histories, metrics = CandleHistories("5m", 4, empty_lake), Metrics("score")
        reader: Any = MemoryReader(self.scene.broker, "score")
        writer: Any = MemoryWriter(self.scene.broker)
        own: Any = AtOnce(self.scene.broker)
        shadow = Shadow(self.challengers, histories, own, self.tell, metrics, lambda: self.now, self)  # type: ignore[arg-type]
        stage = ScoreStage(
            *(reader, writer, histories, self.scene.champion, lambda *_: False),
            *(metrics, Health(), 0.0, lambda: T0),
            self.tell,
            shadow,
        )
        stage.start()
        hand_over(PARTS, None, stage)
        return stage

    def tell(self, kind: EventKind, text: str, symbol: str = "") -> None:
        self.told.append((kind, text))

    def leave(self) -> None:
        """Another thread is begun."""

    def __call__(self, act: Callable[[], None]) -> None:
        if self.is_at_once:
            act()
        else:
            self.work.append(act)

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.stage.turn()

    def shadows(self) -> list[tuple[str, int, float | None]]:
        found = [decode(raw, Score) for raw in self.scene._all(SHADOW_SCORES)]
        return [(score.symbol, (score.opened_at - T0) // 300_000_000, score.risk) for score in found]

    def lost(self) -> float:
        return (
            self.stage.metrics.registry.get_sample_value("quantstream_score_shadow_candles_total", {"outcome": "lost"})
            or 0.0
        )


class AtOnce(MemoryWriter):
    """A producer without transactions."""

    def send(self, *args: Any, **kwargs: Any) -> None:
        super().send(*args, **kwargs)
        self.flush()

    def flush(self, timeout: float = 0.0) -> None:
        super().flush()

    def poll(self, timeout: float = 0.0) -> None:
        """There is nothing to serve."""

    def check(self) -> None:
        """Nothing was refused."""


@pytest.fixture
def pair() -> Pair:
    return Pair()


def test_a_challenger_scores_the_same_candles_once_the_champions_are_committed(pair: Pair) -> None:
    pair.scene.put(candle(0, close=1), candle(0, "ETHUSDT", 7))
    pair.turn()
    assert sorted(pair.scene.scores()) == [("BTCUSDT", 0, 1.0), ("ETHUSDT", 0, 7.0)]
    assert pair.shadows() == []
    pair.turn(3)
    assert sorted(pair.shadows()) == [("BTCUSDT", 0, 1.0), ("ETHUSDT", 0, 7.0)]
    pair.scene.put(candle(1, close=3))
    pair.turn(3)
    assert pair.shadows()[2:] == [("BTCUSDT", 1, 3.0)]
    assert pair.lost() == 0


def test_while_there_is_no_challenger_nothing_is_kept_and_a_new_one_begins_with_the_next_candle(pair: Pair) -> None:
    pair.challengers.version = None
    pair.scene.put(candle(0))
    pair.turn(2)
    assert pair.challengers.has_rested
    pair.challengers.version = "2"
    pair.scene.put(candle(1, close=3))
    pair.turn(3)
    assert pair.shadows() == [("BTCUSDT", 1, 3.0)]


def test_a_challenger_at_work_holds_no_champion_up_and_sees_a_history_of_its_own(pair: Pair) -> None:
    pair.is_at_once = False
    pair.scene.put(candle(0, close=1))
    pair.turn(2)
    for number in range(1, 4):
        pair.scene.put(candle(number, close=number + 1))
        pair.turn()
    assert len(pair.scene.scores()) == 4
    pair.work.pop()()
    pair.turn(2)
    assert pair.shadows() == [("BTCUSDT", 0, 1.0)]
    assert pair.challengers.seen[0].columns["close"].tolist() == [1.0]
    assert pair.challengers.seen[0].digest is not None  # what it says can be made once more from the lake
    pair.work.pop()()
    pair.turn()
    assert pair.shadows()[1:] == [("BTCUSDT", 3, 4.0)]
    assert pair.lost() == 2  # it does not keep up: of what waited the newest is what is scored


def test_a_symbol_whose_past_is_rebuilt_comes_alone_after_those_that_go_on(pair: Pair) -> None:
    pair.challengers.rebuilt = {"BTCUSDT", "ETHUSDT"}
    pair.scene.put(*(candle(0, symbol) for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")))
    pair.is_at_once = False
    pair.turn(2)
    batches = []
    while pair.work:
        before = len(pair.challengers.seen)
        pair.work.pop()()
        batches.append(len(pair.challengers.seen) - before)
        pair.turn()
    assert batches == [2, 1, 1]
    assert sorted(symbol for symbol, *_ in pair.shadows()) == ["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"]


def test_a_candle_that_was_corrected_since_its_champions_score_is_not_scored_otherwise(pair: Pair) -> None:
    pair.scene.put(candle(0, close=1))
    pair.turn()
    pair.scene.put(candle(0, close=9, revision=1))
    pair.turn(3)
    assert (pair.shadows(), pair.lost()) == ([], 1)


def test_a_challenger_that_hangs_is_stopped_and_told_of_once(pair: Pair) -> None:
    pair.is_at_once = False
    pair.scene.put(candle(0))
    pair.turn(2)
    pair.now = LONGEST - 1
    pair.turn()
    assert pair.told == []
    pair.now = LONGEST + 1
    pair.turn(2)
    text = "risk 2 is not scored in the shadow any more: it has not answered for 120 s"
    assert pair.told == [(EventKind.SHADOW_STOPPED, text)]
    pair.scene.put(candle(1))
    pair.turn(3)
    assert (len(pair.scene.scores()), pair.shadows(), len(pair.told)) == (2, [], 1)
    pair.work.pop()()  # what it says at last goes to nobody
    pair.turn(2)
    assert pair.shadows() == []


def test_whatever_the_shadow_raises_is_told_and_the_champions_go_on(pair: Pair) -> None:
    def broken() -> dict[str, str]:
        raise KeyError("leaf")

    pair.challengers.wanted = broken  # type: ignore[method-assign]
    pair.scene.put(candle(0))
    pair.turn(2)
    pair.scene.put(candle(1))
    pair.turn(2)
    assert len(pair.scene.scores()) == 2
    why = "no challenger is scored until this process starts anew: KeyError: 'leaf'"
    assert pair.told == [(EventKind.SHADOW_STOPPED, why)]


def test_after_a_crash_no_candle_is_scored_twice_in_the_shadow(pair: Pair) -> None:
    pair.scene.put(candle(0, close=1))
    pair.turn(3)
    pair.scene.put(candle(1, close=2))
    pair.turn()  # dies between the champion's commit and the challenger's score
    pair.stage = pair.scorer()
    pair.turn(3)
    pair.scene.put(candle(2, close=4))
    pair.turn(3)
    assert [score[:2] for score in pair.scene.scores()] == [("BTCUSDT", 0), ("BTCUSDT", 1), ("BTCUSDT", 2)]
    assert pair.shadows() == [("BTCUSDT", 0, 1.0), ("BTCUSDT", 2, 4.0)]
