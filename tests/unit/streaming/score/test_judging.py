"""One symbol's trouble is its own: the others are scored, and it says why it is not."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import pytest
from prometheus_client import CollectorRegistry, Counter

from quantstream.core.candle import Candle
from quantstream.core.decimals import UNIT
from quantstream.core.errors import Unavailable
from quantstream.core.time import MINUTE, SECOND
from quantstream.features import COLUMNS, Series
from quantstream.messages.payloads import EventKind, Score
from streaming.score.histories import LAST_RELOAD, CandleHistories
from streaming.score.judging import Judging
from tests.unit.streaming.score.test_histories import AtOnce

T0 = 1_723_161_600 * SECOND


def candle(number: int, symbol: str) -> Candle:
    at = T0 + number * 5 * MINUTE
    return Candle(symbol, "5m", at, UNIT, 2 * UNIT, UNIT, UNIT + number, 5, 5, 1, 0, 0, 1, 1, True)


class Scene:
    """A scorer that cannot stand some symbols, over a lake that is empty or away."""

    def __init__(self, odd: tuple[str, ...] = (), lake_is_away: bool = False) -> None:
        self.odd, self.lake_is_away, self.now = set(odd), lake_is_away, 10.0
        self.calls: list[list[str]] = []
        self.told: list[tuple[EventKind, str, str]] = []
        self.failed = Counter("failed", "failed", registry=CollectorRegistry())
        self.histories = CandleHistories("5m", 4, self.load)
        tell = lambda kind, text, symbol: self.told.append((kind, text, symbol))  # noqa: E731
        self.judging = Judging(self.histories, self.score, lambda: 7, lambda: None, tell, self.failed, lambda: self.now)

    def load(self, symbol: str, start: int, end: int) -> pd.DataFrame:
        if self.lake_is_away:
            raise Unavailable("the lake is away")
        return pd.DataFrame({"opened_at": pd.to_datetime([], utc=True), **{name: [] for name in COLUMNS}})

    def score(self, histories: Mapping[str, Series]) -> list[Score]:
        self.calls.append(list(histories))
        self.now += 0.25
        if bad := self.odd & set(histories):
            raise IndexError(f"{min(bad)} has no leaf")
        return [
            Score(symbol, "5m", int(series.at[-1]), 0, float(series.columns["close"][-1]), 0, "")
            for symbol, series in histories.items()
        ]

    def judge(self, number: int, *symbols: str) -> list[Score]:
        candles = {symbol: candle(number, symbol) for symbol in symbols}
        for each in candles.values():
            self.histories.add(each)
        return self.judging(candles, self.now)


def test_symbols_that_are_well_are_scored_in_one_pass_and_their_scores_say_how_long_it_took() -> None:
    scene = Scene()
    scores = scene.judge(0, "A1", "B1")
    assert [(score.symbol, score.abstained, score.elapsed_ms) for score in scores] == [("A1", "", 250), ("B1", "", 250)]
    assert scene.calls == [["A1", "B1"]]


def test_the_one_whose_model_raises_abstains_and_the_others_are_scored() -> None:
    scene = Scene(odd=("B1",))
    scores = scene.judge(0, "A1", "B1", "C1")
    reason = "scoring it failed: IndexError: B1 has no leaf"
    assert [(score.symbol, score.abstained) for score in scores] == [("A1", ""), ("B1", reason), ("C1", "")]
    assert scores[1].close == 1.0
    assert (scores[1].opened_at, scores[1].scored_at) == (T0, 7)
    assert scene.told == [(EventKind.SYMBOL_NOT_SCORED, f"B1 is not scored: {reason}", "B1")]
    assert scene.failed._value.get() == 1


def test_a_symbol_that_stays_odd_is_told_once_and_again_after_it_was_well() -> None:
    scene = Scene(odd=("B1",))
    for number in (0, 1):
        scene.judge(number, "A1", "B1")
    scene.odd.clear()
    scene.judge(2, "A1", "B1")
    scene.odd.add("B1")
    scene.judge(3, "A1", "B1")
    assert len(scene.told) == 2
    assert scene.failed._value.get() == 3


def test_a_model_that_fails_on_all_of_them_ends_nothing() -> None:
    scene = Scene(odd=("A1", "B1"))
    assert all(score.abstained.startswith("scoring it failed") for score in scene.judge(0, "A1", "B1"))


def test_a_score_is_never_of_another_candle_than_the_one_that_closed() -> None:
    scene = Scene()
    scene.histories.add(candle(9, "A1"))  # from the future, or out of order
    (score,) = scene.judge(1, "A1")
    assert score.opened_at == T0 + 5 * MINUTE
    assert "came before it" in score.abstained


@pytest.mark.parametrize("is_away", [True, False])
def test_scores_made_without_the_lake_say_so(is_away: bool) -> None:
    (score,) = Scene(lake_is_away=is_away).judge(0, "A1")
    assert score.abstained == ("its history is not to be had: the lake is away" if is_away else "")


def test_what_the_lake_brings_of_one_symbol_while_another_waits_does_not_move_its_candles_under_its_score() -> None:
    scene = Scene()
    older = pd.DataFrame({"opened_at": pd.to_datetime([T0], unit="us", utc=True), **{name: [1.0] for name in COLUMNS}})
    stored = [scene.load("", 0, 0)]
    histories = CandleHistories("5m", 4, lambda *_: stored[-1], lambda: scene.now, AtOnce())
    scene.histories = scene.judging.histories = histories
    scene.judge(2, "A1")
    scene.now += LAST_RELOAD
    stored.append(older)
    assert histories.refresh()  # more of it is asked for, and is not taken yet
    scores = scene.judge(3, "A1", "B1")  # B1's has to be read, and what comes first is the other's
    assert [(score.symbol, score.opened_at, score.close) for score in scores] == [
        ("A1", T0 + 3 * 5 * MINUTE, (UNIT + 3) / UNIT),
        ("B1", T0 + 3 * 5 * MINUTE, (UNIT + 3) / UNIT),
    ]
