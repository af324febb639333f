"""Whom a new version is held against, and which champion is kept as the reference."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ml.promotion.decisions import Change, Decision, decisions_of
from ml.promotion.gate import Outcome, Rival, Verdict
from ml.promotion.moves import Moves
from ml.serving.loaded import LoadedModel
from ml.serving.registry import CHAMPION, REFERENCE
from ml.training.examination import Examined
from ml.training.rivals import keep_reference, rivals_of
from quantstream.core.errors import ModelRejected, Unfetched
from quantstream.lake.store import Lake
from tests.unit.ml.promotion.test_gate import judged
from tests.unit.ml.promotion.test_moves import FakeRegistry

NAME = "quantstream-risk"


class Shelf:
    """Aliases, and versions that load or do not."""

    def __init__(self, aliases: dict[str, str], broken: dict[str, Exception] | None = None) -> None:
        self.aliases, self.broken, self.loads = aliases, broken or {}, list[str]()

    def alias_version(self, name: str, alias: str) -> str | None:
        return self.aliases.get(alias)

    def load(self, name: str, version: str) -> LoadedModel:
        self.loads.append(version)
        if version in self.broken:
            raise self.broken[version]
        return LoadedModel(name, version, "", None)  # type: ignore[arg-type]


def versions(shelf: Any) -> tuple[str | None, str | None]:
    found = rivals_of(shelf, NAME)
    champion, fixed = (one.version if one is not None else None for one in (found.champion, found.reference))
    return champion, fixed


def test_champion_and_reference_are_loaded_and_one_that_is_both_once() -> None:
    assert versions(Shelf({})) == (None, None)
    assert versions(Shelf({CHAMPION: "7", REFERENCE: "5"})) == ("7", "5")
    for aliases in ({CHAMPION: "7"}, {CHAMPION: "7", REFERENCE: "7"}):  # the former is of a release without references
        shelf = Shelf(aliases)
        assert versions(shelf) == ("7", "7")
        assert shelf.loads == ["7"]


def test_what_cannot_be_loaded_is_none_and_noted_but_a_store_that_is_away_is_waited_for() -> None:
    old = Shelf({CHAMPION: "7", REFERENCE: "5"}, {"5": ModelRejected("it reads other features")})
    assert rivals_of(old, NAME).notes == ["the reference, version 5, cannot be compared: it reads other features"]  # type: ignore[arg-type]
    assert versions(old) == ("7", None)
    assert versions(Shelf({CHAMPION: "7", REFERENCE: "5"}, {"5": Unfetched("lost")})) == ("7", None)
    with pytest.raises(Unfetched):
        versions(Shelf({CHAMPION: "7", REFERENCE: "5"}, {"7": Unfetched("the store is away")}))


def moved(
    folder: Path, outcome: Outcome, champion: float | None, reference: float | None, alias: str | None
) -> tuple[str | None, Decision | None]:
    """The reference after version 9 was examined, and what was decided; champion 7 and reference 5 lose as told."""
    registry, lake = FakeRegistry(), Lake(str(folder))
    if alias:
        registry.set_alias(NAME, REFERENCE, alias)
    serving, fixed = (
        Rival(role, version, judged(level)) if level else None
        for role, version, level in (("champion", "7", champion), ("reference", "5", reference))
    )
    examined = Examined(Verdict(outcome, [], ""), judged(1.0), serving, fixed)
    decided = keep_reference(Moves(registry, lake, "a run"), NAME, "9", examined)  # type: ignore[arg-type]
    assert decisions_of(lake) == ([] if decided is None else [decided])
    return registry.alias_version(NAME, REFERENCE), decided


@pytest.fixture
def kept(tmp_path: Path) -> Callable[..., str | None]:
    numbers = iter(range(99))
    return lambda *args: moved(tmp_path / str(next(numbers)), *args)[0]


def test_why_the_reference_moved_and_from_where_is_on_the_record(tmp_path: Path) -> None:
    _, decided = moved(tmp_path, Outcome.REFUSED, 1.0, 1.1, "5")
    assert decided is not None
    assert (decided.change, decided.before, decided.version, decided.by) == (Change.REFERENCE, "5", "7", "a run")
    assert decided.why == "as champion it is surely better than version 5 on the rows that version 9 is judged on"
    assert json.loads(decided.evidence)["judged_with"] == "9"


def test_the_best_champion_so_far_is_the_reference(kept: Callable[..., str | None]) -> None:
    assert kept(Outcome.PROMOTED, None, None, None) == "9"  # the first
    assert kept(Outcome.REFUSED, None, None, None) is None
    assert kept(Outcome.PROMOTED, 1.0, None, "3") == "7"  # the old one cannot be read any more
    assert kept(Outcome.REFUSED, 1.0, 1.1, "5") == "7"  # surely better
    assert kept(Outcome.PROMOTED, 1.0, 1.0, "5") == "5"
    assert kept(Outcome.PROMOTED, 1.01, 1.0, "5") == "5"
    assert kept(Outcome.CHALLENGER, 1.0, 1.0, None) == "5"  # of a release without references: written down
