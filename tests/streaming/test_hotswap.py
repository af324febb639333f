"""Champions swap between two messages; what does not load changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from quantstream.errors import ModelRejected, Unavailable
from streaming.hotswap import HotSwap


@dataclass
class FakeModel:
    name: str
    version: str
    warmed: int = 0

    def warm(self) -> None:
        self.warmed += 1
        if self.version == "bad":
            raise ModelRejected("its output is not finite")


@dataclass
class FakeRegistry:
    aliases: dict[str, str] = field(default_factory=dict)
    loads: list[str] = field(default_factory=list)
    is_down: bool = False

    def alias_version(self, name: str, alias: str) -> str | None:
        if self.is_down:
            raise Unavailable("no answer")
        return self.aliases.get(name)

    def load(self, name: str, version: str) -> FakeModel:
        self.loads.append(version)
        return FakeModel(name, version)


def make(registry: FakeRegistry) -> tuple[HotSwap, list[str]]:
    told: list[str] = []
    swap = HotSwap(
        registry,
        ("signal",),
        lambda model, before: told.append(f"{before}->{model.version}"),
        lambda name, version, reason: told.append(f"refused {version}: {reason}"),
    )
    return swap, told


def test_a_moved_alias_is_served_and_the_old_one_kept() -> None:
    registry = FakeRegistry({"signal": "1"})
    swap, told = make(registry)
    swap.look()
    registry.aliases["signal"] = "2"
    swap.look()
    swap.look()
    assert told == ["->1", "1->2"]
    assert swap.current["signal"].version == "2"
    assert swap.current["signal"].warmed == 1  # type: ignore[attr-defined]
    assert swap.previous["signal"].version == "1"


def test_a_rollback_needs_no_second_load() -> None:
    registry = FakeRegistry({"signal": "1"})
    swap, _ = make(registry)
    for version in ("1", "2", "1"):
        registry.aliases["signal"] = version
        swap.look()
    assert registry.loads == ["1", "2"]
    assert swap.current["signal"].version == "1"


def test_a_model_that_does_not_warm_changes_nothing_and_is_tried_once() -> None:
    registry = FakeRegistry({"signal": "1"})
    swap, told = make(registry)
    swap.look()
    registry.aliases["signal"] = "bad"
    swap.look()
    swap.look()
    assert swap.current["signal"].version == "1"
    assert told == ["->1", "refused bad: its output is not finite"]


def test_a_registry_that_is_away_leaves_the_champion_in_service() -> None:
    registry = FakeRegistry({"signal": "1"})
    swap, _ = make(registry)
    swap.look()
    registry.is_down = True
    swap.look()
    assert swap.current["signal"].version == "1"


def test_readers_that_hold_the_old_set_are_not_disturbed() -> None:
    registry = FakeRegistry({"signal": "1"})
    swap, _ = make(registry)
    swap.look()
    held = swap.current
    registry.aliases["signal"] = "2"
    swap.look()
    assert held["signal"].version == "1"


def test_a_stage_waits_for_the_registrys_first_answer_before_it_judges_anything() -> None:
    registry = FakeRegistry({"signal": "1"}, is_down=True)
    swap, _ = make(registry)
    beats: list[int] = []

    def beat() -> None:
        beats.append(len(beats))
        registry.is_down = len(beats) < 3
        swap.look()

    swap.look()
    assert swap.wait(beat, lambda: False, every=0)
    assert len(beats) == 3
    assert swap.current["signal"].version == "1"
    assert swap.wait(beat, lambda: False, every=0)
    assert len(beats) == 3


def test_a_registry_that_knows_no_champion_has_answered_and_a_stop_ends_the_waiting() -> None:
    swap, _ = make(FakeRegistry())
    swap.look()
    assert swap.wait(lambda: None, lambda: False, every=0)
    swap, _ = make(FakeRegistry(is_down=True))
    swap.look()
    assert not swap.wait(lambda: None, lambda: True, every=0)
