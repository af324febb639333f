"""Aliases move on the record: against a registry in memory and a real lake."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ml.promotion import decisions
from ml.promotion.decisions import Change, Decision
from ml.promotion.moves import Moves
from ml.serving import descriptions
from ml.serving.descriptions import ENDED, Facts
from ml.serving.registry import Kept
from quantstream.core.errors import ModelRejected, Unavailable
from quantstream.lake.store import Lake

RISK = "quantstream-risk"


class FakeRegistry:
    """Aliases and tags of versions, and a call after which it is away."""

    def __init__(self) -> None:
        self.aliases: dict[tuple[str, str], str] = {}
        self.tags: dict[tuple[str, str], dict[str, str]] = {}
        self.model_tags: dict[tuple[str, str], str] = {}
        self.described: list[tuple[str, str]] = []

    def alias_version(self, name: str, alias: str) -> str | None:
        return self.aliases.get((name, alias))

    def set_alias(self, name: str, alias: str, version: str) -> None:
        self.aliases[name, alias] = version

    def remove_alias(self, name: str, alias: str) -> None:
        del self.aliases[name, alias]

    def tag(self, name: str, version: str, key: str, value: str) -> None:
        self.tags.setdefault((name, version), {})[key] = value

    def describe(self, name: str, version: str) -> None:
        self.described.append((name, version))

    def all_tags(self) -> list[dict[str, str]]:
        return [dict(tags) for tags in self.tags.values()]

    def versions(self, name: str) -> list[Kept]:
        return [Kept(one, int(one), dict(tags)) for (whose, one), tags in self.tags.items() if whose == name]

    def model_tag(self, name: str, key: str) -> str:
        return self.model_tags.get((name, key), "")

    def tag_model(self, name: str, key: str, value: str) -> None:
        self.model_tags[name, key] = value


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry()


def moves(registry: FakeRegistry, lake: Any, told: list[Decision] | None = None) -> Moves:
    """Moves by one person whose clock goes by seconds."""
    seconds = iter(range(1000))
    start = datetime(2026, 11, 28, tzinfo=UTC)
    heard = told if told is not None else []

    def announce(decision: Decision, is_last: bool) -> bool:
        heard.append(decision)
        return True

    return Moves(registry, lake, "a test", announce, lambda: start + timedelta(seconds=next(seconds)))  # type: ignore[arg-type]


def changes(lake: Lake) -> list[tuple[Change, str, str]]:
    return [(one.change, one.version, one.before) for one in decisions.decisions_of(lake)]


def test_a_version_goes_from_the_shadow_to_service_and_back_on_the_record(registry: FakeRegistry, lake: Lake) -> None:
    told: list[Decision] = []
    mover = moves(registry, lake, told)
    mover.promote(RISK, "1", "first sane model")
    mover.challenge(RISK, "2", "passed the gate", {"brier": 0.1})
    assert registry.aliases == {(RISK, "champion"): "1", (RISK, "challenger"): "2"}
    mover.promote(RISK, "2", "no worse over 288 candles")
    assert registry.aliases == {(RISK, "champion"): "2", (RISK, "previous"): "1"}
    mover.roll_back(RISK, "live loss above what was promised")
    assert registry.aliases == {(RISK, "champion"): "1", (RISK, "previous"): "2"}
    assert changes(lake) == [
        (Change.PROMOTED, "1", ""),
        (Change.CHALLENGER, "2", "1"),
        (Change.PROMOTED, "2", "1"),
        (Change.ROLLED_BACK, "1", "2"),
    ]
    assert [one.change for one in told] == [one.change for one in decisions.decisions_of(lake)]


def test_a_newer_challenger_takes_the_place_of_the_one_before(registry: FakeRegistry, lake: Lake) -> None:
    mover = moves(registry, lake)
    mover.challenge(RISK, "2", "passed the gate")
    mover.challenge(RISK, "3", "passed the gate")
    assert registry.aliases == {(RISK, "challenger"): "3"}
    assert (Change.EXPIRED, "2", "") in changes(lake)


def test_without_a_version_before_there_is_no_way_back(registry: FakeRegistry, lake: Lake) -> None:
    mover = moves(registry, lake)
    mover.promote(RISK, "1", "first sane model")
    with pytest.raises(ModelRejected, match="no previous version"):
        mover.roll_back(RISK, "why not")


def test_what_a_writer_that_died_left_unsaid_is_written_once(registry: FakeRegistry, lake: Lake) -> None:
    class Away:
        def has(self, name: str) -> bool:
            return lake.has(name)

        def read(self, name: str) -> Any:
            return lake.read(name)

        def append(self, name: str, rows: Any) -> None:
            raise Unavailable("the lake is away")

    with pytest.raises(Unavailable):
        moves(registry, Away()).promote(RISK, "1", "first sane model")
    assert registry.aliases == {(RISK, "champion"): "1"}
    assert [one.why for one in moves(registry, lake).settle()] == ["first sane model"]
    assert moves(registry, lake).settle() == []
    assert changes(lake) == [(Change.PROMOTED, "1", "")]


def test_what_the_lake_did_not_take_is_announced_all_the_same_and_none_of_it_is_lost(
    registry: FakeRegistry, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(lake: Lake, name: str, rows: Any) -> None:
        raise Unavailable("the lake is away")

    told: list[Decision] = []
    mover = moves(registry, lake, told)
    with monkeypatch.context() as patch:
        patch.setattr(Lake, "append", away)
        for act in (mover.challenge, mover.promote):
            with pytest.raises(Unavailable):
                act(RISK, "1", "it earned it")
        with pytest.raises(Unavailable):
            mover.refuse(RISK, "2", "not sane")
    assert [one.change for one in told] == [Change.CHALLENGER, Change.PROMOTED]  # what moved no alias is told to nobody
    mover.settle()
    assert changes(lake) == [(Change.CHALLENGER, "1", ""), (Change.PROMOTED, "1", ""), (Change.REFUSED, "2", "1")]


def test_a_promotion_that_another_process_is_about_to_write_is_not_taken_for_a_foreign_one(
    registry: FakeRegistry, lake: Lake
) -> None:
    mover, other = moves(registry, lake), moves(registry, lake)
    asked = iter([lambda: other.promote(RISK, "1", "first sane model")])
    tags = registry.all_tags

    def all_tags() -> list[dict[str, str]]:
        found = tags()
        next(asked, lambda: None)()  # right after the first look
        return found

    registry.all_tags = all_tags  # type: ignore[method-assign]
    mover.settle()
    assert changes(lake) == [(Change.PROMOTED, "1", "")]


def test_a_promotion_whose_writer_died_before_the_alias_moved_is_finished(
    registry: FakeRegistry, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Decision] = []
    mover = moves(registry, lake, told)
    mover.promote(RISK, "1", "first sane model")
    mover.challenge(RISK, "2", "passed the gate")
    with monkeypatch.context() as patch:
        patch.setattr(registry, "set_alias", away_at_the_champion(registry))
        with pytest.raises(Unavailable):
            mover.promote(RISK, "2", "no worse over 288 candles")
    mover.settle()
    assert registry.aliases == {(RISK, "champion"): "2", (RISK, "previous"): "1"}
    assert changes(lake)[-1] == (Change.PROMOTED, "2", "1")
    assert told[-1].version == "2"
    assert mover.settle() == []


def away_at_the_champion(registry: FakeRegistry) -> Callable[[str, str, str], None]:
    def set_alias(name: str, alias: str, version: str) -> None:
        if alias == "champion":
            raise Unavailable("the registry is away")
        registry.aliases[name, alias] = version

    return set_alias


def test_a_promotion_that_never_was_is_not_finished_after_another_one(
    registry: FakeRegistry, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    mover = moves(registry, lake)
    mover.promote(RISK, "1", "first sane model")
    with monkeypatch.context() as patch:
        patch.setattr(registry, "set_alias", away_at_the_champion(registry))
        with pytest.raises(Unavailable):
            mover.promote(RISK, "2", "no worse over 288 candles")
    mover.promote(RISK, "3", "no worse over 288 candles")
    mover.settle()
    assert registry.aliases[RISK, "champion"] == "3"


def test_an_alias_moved_by_other_means_is_found_and_said_once(registry: FakeRegistry, lake: Lake) -> None:
    mover = moves(registry, lake)
    mover.promote(RISK, "1", "first sane model")
    registry.set_alias(RISK, "champion", "7")
    (found,) = mover.settle()
    assert (found.change, found.version, found.before) == (Change.FOUND, "7", "1")
    assert mover.settle() == []


def test_a_version_that_gave_way_says_so_and_no_more_once_it_serves_again(registry: FakeRegistry, lake: Lake) -> None:
    mover = moves(registry, lake)
    mover.promote(RISK, "1", "first sane model")
    mover.promote(RISK, "2", "better")
    assert ENDED in registry.tags[RISK, "1"]
    assert registry.described[-2:] == [(RISK, "1"), (RISK, "2")]
    assert of_version(registry, "1").endswith("It served until 2026-11-28 00:00 UTC: version 2 took its place.")
    mover.roll_back(RISK, "alarms")
    assert "It served until" not in of_version(registry, "1")
    assert of_version(registry, "2").endswith("version 1 served again in its place.")


def test_the_page_of_a_version_that_gave_way_long_ago_is_brought_up_to_date_once(
    registry: FakeRegistry, lake: Lake
) -> None:
    mover = moves(registry, lake)
    for version in ("1", "2", "3"):
        mover.promote(RISK, version, "better")
    for version in ("1", "2"):
        del registry.tags[RISK, version][ENDED]  # as a release of before left it
    registry.described.clear()
    assert mover.settle() == []
    assert of_version(registry, "1").endswith("version 2 took its place.")
    assert of_version(registry, "2").endswith("version 3 took its place.")
    seen = list(registry.described)
    mover.settle()
    assert registry.described == seen


def of_version(registry: FakeRegistry, version: str) -> str:
    """How the description of a version begins."""
    facts = Facts(RISK, version, 0, registry.tags[RISK, version], {})
    return descriptions.of_version(facts).partition("\n")[0]


def test_what_was_promoted_after_its_writer_died_is_described_too(
    registry: FakeRegistry, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    mover = moves(registry, lake)
    mover.promote(RISK, "1", "first sane model")
    with monkeypatch.context() as patch:
        patch.setattr(registry, "set_alias", away_at_the_champion(registry))
        with pytest.raises(Unavailable):
            mover.promote(RISK, "2", "no worse")
    registry.described.clear()
    mover.settle()
    assert registry.described == [(RISK, "1"), (RISK, "2")]


def test_a_move_of_the_reference_is_on_the_record_and_changes_nothing_of_who_serves(
    registry: FakeRegistry, lake: Lake
) -> None:
    told: list[Decision] = []
    mover = moves(registry, lake, told)
    mover.promote(RISK, "1", "first sane model")
    mover.refer(RISK, "1", "there was none")
    mover.promote(RISK, "2", "better")
    mover.refer(RISK, "2", "surely better than version 1", {"compared": {}})
    assert registry.aliases[RISK, "reference"] == "2"
    moved = [one for one in decisions.decisions_of(lake) if one.change is Change.REFERENCE]
    assert [(one.before, one.version, one.by, one.why) for one in moved] == [
        ("", "1", "a test", "there was none"),
        ("1", "2", "a test", "surely better than version 1"),
    ]
    assert [one.change for one in told] == [Change.PROMOTED, Change.PROMOTED]
    assert of_version(registry, "2").startswith("Promoted on")
    assert mover.settle() == []


def test_a_reference_that_no_decision_moved_is_found_and_said_once(registry: FakeRegistry, lake: Lake) -> None:
    registry.set_alias(RISK, "reference", "3")
    mover = moves(registry, lake)
    (found,) = mover.settle()
    assert (found.change, found.before, found.version) == (Change.REFERENCE, "", "3")
    assert "by other means" in found.why
    assert mover.settle() == []


def test_a_reference_whose_writer_died_before_the_alias_moved_is_moved(
    registry: FakeRegistry, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    mover = moves(registry, lake)
    mover.refer(RISK, "1", "there was none")
    with monkeypatch.context() as patch:

        def away(*_: str) -> None:
            raise Unavailable("the registry is away")

        patch.setattr(registry, "set_alias", away)
        with pytest.raises(Unavailable):
            mover.refer(RISK, "2", "surely better")
    mover.settle()
    assert registry.aliases == {(RISK, "reference"): "2"}
    assert changes(lake) == [(Change.REFERENCE, "1", ""), (Change.REFERENCE, "2", "1")]


def test_what_the_broker_did_not_take_is_announced_when_it_is_back_and_only_then(
    registry: FakeRegistry, lake: Lake
) -> None:
    is_away, heard = [True], list[tuple[str, bool]]()

    def announce(decision: Decision, is_last: bool) -> bool:
        heard.append((decision.version, is_last))
        return not is_away[0]

    mover = moves(registry, lake)
    mover.announce = announce
    mover.promote(RISK, "1", "first sane model")
    mover.settle()  # it is still away
    is_away[0] = False
    mover.promote(RISK, "2", "better")
    heard.clear()
    mover.settle()
    assert heard == [("1", False)]  # people are told; the stages have heard of a later one
    mover.settle()
    assert heard == [("1", False)]
    assert changes(lake) == [(Change.PROMOTED, "1", ""), (Change.PROMOTED, "2", "1")]
