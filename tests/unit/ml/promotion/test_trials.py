"""Challengers judged by what the lake's tables say of them, against a registry in memory and a real lake."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ml.promotion import decisions, trials
from ml.promotion.decisions import Change
from ml.promotion.moves import Moves
from ml.promotion.shadow import Rule, Verdict
from quantstream.lake.schemas import OUTCOMES, SCHEMAS, SHADOW_SCORES
from quantstream.lake.store import Lake
from tests.unit.ml.promotion.test_moves import RISK, FakeRegistry

ANOMALY = "quantstream-anomaly"
RULE = Rule(12, timedelta(days=7))
T0 = datetime(2026, 11, 1, tzinfo=UTC)
STEP, HOUR = timedelta(minutes=5), timedelta(hours=1)


class Desk:
    """Moves over a registry in memory and a lake, with a clock that stands."""

    def __init__(self, folder: Path) -> None:
        self.registry, self.lake = FakeRegistry(), Lake(str(folder / "lake"))
        self.now = T0
        registry: Any = self.registry
        self.moves = Moves(registry, self.lake, "a run", now=self._tick)

    def _tick(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now

    def outcomes(self, role: str, version: str, loss: float, windows: int = 12, model: str = RISK) -> None:
        """Write losses of a version on the first windows of two symbols."""
        self.lake.append(OUTCOMES, outcome_rows(role, version, loss, windows, model))

    def novelties(self, table: str, version: str, novelty: float, windows: int = 12) -> None:
        """Write scores of an anomaly model's version."""
        row = dict.fromkeys(SCHEMAS[table].names) | {"symbol": "BTCUSDT", "interval": "5m", "novelty": novelty}
        rows = [
            {**row, "opened_at": T0 + number * STEP, "models": [(ANOMALY, version)], "known_at": T0}
            for number in range(windows)
        ]
        self.lake.append(table, _table(table, rows))

    def turn(self, rule: Rule = RULE) -> list[tuple[str, str, Verdict]]:
        """Judge and act, as the pipeline does, and return the rulings."""
        found = trials.judged(self.moves, self.lake, rule, self._tick)
        for one in found:
            trials.act(self.moves, trials.of_fields(trials.as_fields(one)))
        return [(one.model, one.version, one.ruling.verdict) for one in found]

    def changes(self) -> list[tuple[Change, str]]:
        return [(one.change, one.version) for one in decisions.decisions_of(self.lake)]


def outcome_rows(role: str, version: str, loss: float, windows: int, model: str = RISK) -> pa.Table:
    """Return losses of a version on the first windows of two symbols."""
    rows = [
        {
            "symbol": symbol,
            "interval": "5m",
            "opened_at": T0 + number * HOUR,
            "revision": 0,
            "scored_at": T0,
            "model": model,
            "version": version,
            "role": role,
            "loss": loss,
            "actual": [("abnormal", float(number % 2)), ("action", float(number % 3))],
            "measures": [],
            "known_at": T0,
        }
        for symbol in ("BTCUSDT", "ETHUSDT")
        for number in range(windows)
    ]
    return _table(OUTCOMES, rows)


def _table(name: str, rows: list[dict[str, Any]]) -> pa.Table:
    fields = [each for each in SCHEMAS[name] if each.name not in ("date", "month")]
    return pa.Table.from_pylist(rows, pa.schema(fields))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    found = Desk(tmp_path)
    found.moves.promote(RISK, "1", "first sane model")
    found.moves.challenge(RISK, "2", "passed the gate")
    return found


def test_before_anything_is_known_it_waits_and_nothing_is_written(desk: Desk) -> None:
    before = desk.changes()
    assert desk.turn() == [(RISK, "2", Verdict.WAITS)]
    desk.outcomes("champion", "1", 0.3)
    desk.outcomes("challenger", "2", 0.2, windows=11)
    assert desk.turn() == [(RISK, "2", Verdict.WAITS)]
    assert desk.changes() == before


def test_one_that_was_no_worse_on_the_same_candles_is_promoted_once(desk: Desk) -> None:
    desk.outcomes("champion", "1", 0.3, windows=40)
    desk.outcomes("challenger", "2", 0.2)
    desk.outcomes("challenger", "3", 9.9)  # of another version
    desk.outcomes("challenger", "2", 9.9, model="quantstream-signal")  # of another model
    assert desk.turn() == [(RISK, "2", Verdict.PROMOTED)]
    assert desk.turn() == []
    assert desk.registry.aliases == {(RISK, "champion"): "2", (RISK, "previous"): "1"}
    (promoted,) = decisions.decisions_of(desk.lake)[2:]
    assert (promoted.change, promoted.by) == (Change.PROMOTED, "a run")
    assert "Brier score 0.2 against the champion's 0.3 on 24 pairs of 12 closed windows" in promoted.why
    assert '"champions_loss": 0.3' in promoted.evidence


def test_one_that_never_earned_it_leaves_when_its_days_are_over(desk: Desk) -> None:
    desk.now += timedelta(days=8)
    assert desk.turn() == [(RISK, "2", Verdict.EXPIRED)]
    assert desk.registry.aliases == {(RISK, "champion"): "1"}
    assert desk.changes()[-1] == (Change.EXPIRED, "2")


def test_losses_against_a_champion_of_before_do_not_count(desk: Desk) -> None:
    desk.outcomes("champion", "1", 0.3)
    desk.outcomes("challenger", "2", 0.2)
    desk.moves.promote(RISK, "7", "by hand")
    assert desk.turn() == [(RISK, "2", Verdict.WAITS)]


def test_a_ruling_against_a_champion_that_serves_no_more_moves_nothing(desk: Desk) -> None:
    desk.outcomes("champion", "1", 0.3)
    desk.outcomes("challenger", "2", 0.2)
    (trial,) = trials.judged(desk.moves, desk.lake, RULE, desk._tick)
    desk.moves.promote(RISK, "7", "by hand, meanwhile")
    assert trials.act(desk.moves, trial) is None
    assert desk.registry.aliases[RISK, "champion"] == "7"


def test_an_anomaly_model_is_held_to_the_share_of_candles_that_it_calls_novel(desk: Desk) -> None:
    desk.moves.expire(RISK, "2", "out of the way")
    desk.moves.promote(ANOMALY, "1", "first sane model")
    desk.moves.challenge(ANOMALY, "2", "passed the gate")
    desk.novelties("scores", "1", 0.1)
    desk.novelties(SHADOW_SCORES, "2", 0.9)
    assert desk.turn() == [(ANOMALY, "2", Verdict.WAITS)]  # an hour proves nothing
    desk.moves.challenge(ANOMALY, "3", "passed the gate")
    desk.novelties(SHADOW_SCORES, "3", 0.2)
    assert desk.turn() == [(ANOMALY, "3", Verdict.PROMOTED)]


def test_where_nothing_serves_or_no_time_in_the_shadow_is_asked_for_it_serves_at_once(desk: Desk) -> None:
    assert desk.turn(Rule(0, timedelta(days=1))) == [(RISK, "2", Verdict.PROMOTED)]
    desk.registry.aliases = {(RISK, "challenger"): "5"}
    assert desk.turn() == [(RISK, "5", Verdict.PROMOTED)]


def test_a_challenger_that_nobody_recorded_is_recorded_and_its_time_begins(desk: Desk) -> None:
    desk.registry.aliases[RISK, "challenger"] = "5"
    desk.now += timedelta(days=30)
    assert desk.turn() == [(RISK, "5", Verdict.WAITS)]
    assert desk.changes()[-1] == (Change.CHALLENGER, "5")
    desk.now += timedelta(days=8)
    assert desk.turn() == [(RISK, "5", Verdict.EXPIRED)]


def test_a_promotion_whose_writer_died_between_the_aliases_is_finished(desk: Desk) -> None:
    desk.registry.aliases |= {(RISK, "champion"): "2", (RISK, "previous"): "1"}
    assert desk.turn() == []
    assert desk.registry.aliases == {(RISK, "champion"): "2", (RISK, "previous"): "1"}


def test_what_a_person_lets_go_expires_with_the_figures(desk: Desk) -> None:
    desk.outcomes("champion", "1", 0.3)
    desk.outcomes("challenger", "2", 0.2)
    (trial,) = trials.judged(desk.moves, desk.lake, RULE, desk._tick)
    decided = trials.decline(desk.moves, trial, "a person let it go")
    assert decided is not None
    assert (decided.change, desk.registry.aliases) == (Change.EXPIRED, {(RISK, "champion"): "1"})
    assert decided.why.startswith("a person let it go; no worse in the shadow")
    assert trials.act(desk.moves, trial) is None  # it is no challenger any more
