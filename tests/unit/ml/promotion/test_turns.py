"""One training of a kind at a time; what one that was killed leaves is refused, and told."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ml.promotion import decisions, turns
from ml.promotion.decisions import Change
from ml.promotion.moves import Moves
from ml.promotion.turns import OVER, TRAINING, Turn, UnderWay
from quantstream.core.errors import Unavailable
from quantstream.lake.store import Lake
from tests.unit.ml.promotion.test_moves import RISK, FakeRegistry


class Hall:
    """A registry in memory, its lake, and a clock that stands until it is moved."""

    def __init__(self, folder: Path) -> None:
        self.registry, self.lake, self.now = FakeRegistry(), Lake(str(folder / "lake")), 1_795_000_000.0
        registry: Any = self.registry
        self.moves = Moves(registry, self.lake, "a run", now=lambda: datetime.fromtimestamp(self.now, UTC))

    def training(self, by: str = "a training by hand", sleep: Any = lambda seconds: None) -> Turn:
        """Return a training that has begun."""
        made = Turn(self.registry, RISK, by, lambda: self.now)
        made.take(sleep)
        return made

    def registers(self, training: Turn, version: str) -> None:
        """Let a training put a version in."""
        self.registry.tag(RISK, version, TRAINING, training.id)

    def decided(self) -> list[tuple[str, Change]]:
        return [(one.version, one.change) for one in decisions.decisions_of(self.lake)]


@pytest.fixture
def hall(tmp_path: Path) -> Hall:
    return Hall(tmp_path)


def test_a_second_training_is_refused_in_a_sentence_until_the_first_has_ended(hall: Hall) -> None:
    first = hall.training("alice")
    with pytest.raises(
        UnderWay, match=r"another training of quantstream-risk is under way, begun .* UTC by alice; try"
    ):
        hall.training("bob")
    first.leave()
    hall.training("bob").leave()


def test_of_two_that_claim_at_the_same_moment_one_goes_on(hall: Hall) -> None:
    second = Turn(hall.registry, RISK, "bob", lambda: hall.now)
    with pytest.raises(UnderWay, match="another one took its place, begun"):
        hall.training("alice", sleep=lambda seconds: second._write())
    second.check()


def test_one_that_lives_keeps_its_claim_and_one_that_was_killed_loses_it(hall: Hall) -> None:
    first = hall.training("alice")
    hall.now += OVER - 1
    first.renew()
    hall.now += OVER - 1
    with pytest.raises(UnderWay):
        hall.training("bob")
    hall.now += 2
    hall.training("bob")
    with pytest.raises(UnderWay, match="was given up: another one took its place"):
        first.renew()
    first.leave()  # which changes nothing: the claim is another's
    with pytest.raises(UnderWay):
        hall.training("carol")


def test_a_version_that_was_never_judged_is_refused_once_its_training_is_over(hall: Hall) -> None:
    training = hall.training("alice")
    hall.registers(training, "7")
    hall.registry.tag(RISK, "6", "reasons", "[]")  # of a release of before claims
    assert hall.moves.settle() == []
    (left,) = turns.undecided(hall.registry, RISK, hall.now)
    assert (left.version, "its training is under way, begun" in left.why) == ("7", True)
    hall.now += OVER + 1
    (left,) = turns.undecided(hall.registry, RISK, hall.now)
    assert left.why == "its training was interrupted before it was judged; it serves nobody"
    (refused,) = hall.moves.settle()
    assert (refused.version, refused.why) == ("7", left.why)
    assert hall.registry.described == [(RISK, "7")]
    assert hall.moves.settle() == []
    assert hall.decided() == [("7", Change.REFUSED)]
    with pytest.raises(UnderWay, match="it was not heard of for too long"):
        training.check()  # one that was only paused does not promote what was refused


def test_a_training_that_begins_settles_what_the_one_before_left(hall: Hall) -> None:
    killed = hall.training("alice")
    hall.registers(killed, "7")
    hall.now += OVER + 1
    training = hall.training("bob")
    hall.registers(training, "8")
    hall.moves.refuse_interrupted(RISK)
    assert hall.decided() == [("7", Change.REFUSED)]
    hall.moves.promote(RISK, "8", "first sane model")
    training.leave()
    assert turns.undecided(hall.registry, RISK, hall.now) == []


def test_a_claim_is_given_up_on_every_way_out_and_a_registry_that_is_away_ends_no_training(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "SETTLES", 0.0)
    with pytest.raises(ValueError, match="too little"), turns.turn(hall.registry, RISK, "alice"):
        raise ValueError("too little")
    assert hall.registry.model_tags[RISK, TRAINING] == ""

    def away(*_: str) -> str:
        raise Unavailable("the registry is away")

    with turns.turn(hall.registry, RISK, "bob") as held, monkeypatch.context() as patch:
        patch.setattr(hall.registry, "model_tag", away)
        with pytest.raises(Unavailable):
            held.renew()
    assert hall.registry.model_tags[RISK, TRAINING] == ""
