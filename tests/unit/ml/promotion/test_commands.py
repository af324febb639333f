"""`models` in a person's hands: a word with a reason moves an alias, wrong input gets one sentence and changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from ml.promotion import announcements, cli
from ml.promotion.decisions import Change, decisions_of
from ml.promotion.moves import Moves
from quantstream.core.errors import Misconfigured, ModelRejected, QuantStreamError, Unavailable, Unfetched
from quantstream.lake.store import Lake
from quantstream.settings import Settings
from tests.unit.ml.promotion.test_moves import RISK, FakeRegistry


class Serving(FakeRegistry):
    """A registry of versions 1 to 3, of which 3 is damaged; files may be away."""

    is_unfetched = False

    def load(self, name: str, version: str) -> Any:
        if self.is_unfetched:
            raise Unfetched("the store is away")
        if version not in ("1", "2"):
            raise ModelRejected("its files are not those that were registered" if version == "3" else "no such version")
        return self

    def warm(self) -> None:
        """It predicts."""


class Hand:
    """A person at a terminal, over a registry in memory and a lake in a folder."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.registry = Serving()
        self.settings = Settings(state=folder / "state", lake=str(folder / "lake"))
        self.lake = Lake(self.settings.lake_url)
        patch.setattr("ml.serving.registry.Registry", lambda url: self.registry)
        registry: Any = self.registry
        patch.setattr(announcements, "moves_of", lambda settings, by: Moves(registry, self.lake, by))

    def __call__(self, *words: str) -> Result:
        return CliRunner().invoke(cli.commands(lambda state: self.settings), words)

    def says(self, *words: str) -> str:
        done = self(*words)
        assert done.exit_code == 0, done.exception or done.output
        return done.output

    def refused(self, *words: str) -> str:
        done = self(*words)
        assert isinstance(done.exception, Misconfigured), done.output  # which ends the command with 2
        return str(done.exception)


@pytest.fixture
def hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hand:
    return Hand(tmp_path, monkeypatch)


def test_a_promotion_and_a_rollback_by_hand_are_on_the_record(hand: Hand) -> None:
    assert "RISK" not in hand.says("promote", "risk", "1", "--why", "the first")
    hand.says("promote", RISK, "2", "--why", "better in the paper test", "--by", "alice")
    hand.says("rollback", "risk", "--why", "alarms all night", "--by", "bob")
    assert hand.registry.aliases == {(RISK, "champion"): "1", (RISK, "previous"): "2"}
    assert [(one.change, one.version, one.by, one.why) for one in decisions_of(hand.lake)][1:] == [
        (Change.PROMOTED, "2", "alice", "better in the paper test"),
        (Change.ROLLED_BACK, "1", "bob", "alarms all night"),
    ]
    told = hand.says("history", "risk").splitlines()
    assert [line.rpartition("; ")[2].partition(" UTC")[2] for line in told] == [
        ", when version 2 was promoted",
        ", when version 1 was rolled back to",
        "",
    ]
    assert told[2].endswith("; it serves since then")
    ended = [(one["serves"], one["served_until"]) for one in json.loads(hand.says("history", "--json"))]
    assert [serves for serves, _ in ended] == [False, False, True]
    assert ended[0][1] == json.loads(hand.says("history", "--json"))[1]["decided_at"].replace("Z", "+00:00")
    assert [one["change"] for one in json.loads(hand.says("history", "--json"))] == ["promoted"] * 2 + ["rolled back"]


def test_it_says_of_each_model_who_serves_since_when_why_and_by_whose_word(hand: Hand) -> None:
    hand.says("promote", "risk", "1", "--why", "the first", "--by", "alice")
    hand.says("promote", "risk", "2", "--why", "better", "--by", "bob")
    hand.registry.aliases["quantstream-signal", "champion"] = "7"
    found = json.loads(hand.says("--json"))
    risk = found[RISK]
    assert (risk["champion"]["version"], risk["champion"]["why"], risk["champion"]["by"]) == ("2", "better", "bob")
    assert (risk["previous"]["version"], risk["previous"]["since"]) == ("1", risk["champion"]["since"])
    assert risk["challenger"] is None
    assert [one["version"] for one in risk["decisions"]] == ["2", "1"]
    assert found["quantstream-signal"]["champion"]["since"] is None
    text = hand.says()
    assert "by bob: better" in text
    assert "since when is not on record" in text
    assert "champion    none: nothing serves" in text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("promote", "gold", "1", "--why", "x"), "there is no model 'gold'; choose one of forecast, signal"),
        (("promote", "risk", "one", "--why", "x"), "'one' is no version"),
        (("promote", "risk", "2", "--why", " "), "give a reason with --why"),
        (("promote", "risk", "1", "--why", "x"), "quantstream-risk 1 is the champion already"),
        (("promote", "risk", "3", "--why", "x"), "3 cannot serve, so nothing was changed: its files are not those"),
        (("promote", "risk", "9", "--why", "x"), "9 cannot serve, so nothing was changed: no such version"),
        (("rollback", "risk", "--why", "x"), "quantstream-risk has no previous version to go back to"),
        (("rollback", "risk", "--why", ""), "give a reason with --why"),
        (("history", "gold"), "there is no model 'gold'"),
    ],
)
def test_wrong_input_is_one_sentence_and_changes_nothing(hand: Hand, words: tuple[str, ...], sentence: str) -> None:
    hand.registry.aliases[RISK, "champion"] = "1"
    assert sentence in hand.refused(*words)
    assert hand.registry.aliases == {(RISK, "champion"): "1"}
    assert decisions_of(hand.lake) == []


def test_a_way_back_is_open_while_the_files_are_away(hand: Hand) -> None:
    hand.registry.aliases |= {(RISK, "champion"): "2", (RISK, "previous"): "1"}
    hand.registry.is_unfetched = True
    hand.says("rollback", "risk", "--why", "alarms all night")
    assert hand.registry.aliases[RISK, "champion"] == "1"


def test_while_the_lake_is_away_an_alias_moves_and_the_record_follows(
    hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise Unavailable("the lake is away")

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "append", away)
        done = hand("promote", "risk", "1", "--why", "the first")
        assert isinstance(done.exception, QuantStreamError)
        assert "quantstream-risk 1 serves now, but the lake has not taken the record yet" in str(done.exception)
    hand.says("promote", "risk", "2", "--why", "the second")
    assert [one.why for one in decisions_of(hand.lake)] == ["the first", "the second"]


def test_a_version_that_nobody_judged_is_shown_until_it_is_settled(hand: Hand) -> None:
    hand.registry.tag(RISK, "2", "training", "of a training that was killed")
    (left,) = json.loads(hand.says("--json"))[RISK]["undecided"]
    assert left == {"version": "2", "why": "its training was interrupted before it was judged; it serves nobody"}
    assert "undecided   2  its training was interrupted" in hand.says()
    hand.says("promote", "risk", "1", "--why", "the first")
    assert json.loads(hand.says("--json"))[RISK]["undecided"] == []
    assert (Change.REFUSED, "2") in [(one.change, one.version) for one in decisions_of(hand.lake)]
