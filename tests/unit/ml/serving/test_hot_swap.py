"""Champions swap between two messages; what does not load changes nothing."""

from __future__ import annotations

import gc
import threading
import weakref
from dataclasses import dataclass, field

import pytest

from ml.serving.hot_swap import CHALLENGER, FETCH_AGAIN_AFTER, RETRY_AFTER, HotSwap
from quantstream.core.errors import ModelRejected, Unavailable, Unfetched


@dataclass
class FakeModel:
    name: str
    version: str
    warmed: int = 0

    def warm(self) -> None:
        self.warmed += 1
        if self.version == "odd":
            raise KeyError("leaves")
        if self.version == "bad":
            raise ModelRejected("its output is not finite")


@dataclass
class FakeRegistry:
    aliases: dict[str, str] = field(default_factory=dict)
    loads: list[str] = field(default_factory=list)
    is_down: bool = False
    withheld: set[str] = field(default_factory=set)  # versions whose files it does not give

    def alias_version(self, name: str, alias: str) -> str | None:
        if self.is_down:
            raise Unavailable("no answer")
        if self.aliases.get(name) == "unreadable":
            raise TypeError("a version without a number")
        return self.aliases.get(name)

    def load(self, name: str, version: str) -> FakeModel:
        self.loads.append(version)
        if version in self.withheld:
            raise Unfetched("a timeout")
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


@dataclass
class Watch:
    """A swap whose looks, troubles and clock are seen."""

    registry: FakeRegistry
    told: list[str] = field(default_factory=list)
    now: float = 0.0
    names: tuple[str, ...] = ("signal", "risk")

    def __post_init__(self) -> None:
        self.swap = HotSwap(
            self.registry,
            self.names,
            lambda model, before: self.told.append(f"{model.name} {before}->{model.version}"),
            lambda name, version, reason: self.told.append(f"{name} {version} refused: {reason}"),
            lambda: self.told.append("looked"),
            lambda text: self.told.append(f"trouble: {text}"),
            lambda: self.now,
        )


def test_an_error_that_nobody_foresaw_refuses_that_model_and_the_others_are_taken_over() -> None:
    watch = Watch(FakeRegistry({"signal": "odd", "risk": "1"}))
    watch.swap.look()
    watch.swap.look()
    assert watch.told == ["signal odd refused: KeyError: 'leaves'", "risk ->1", "looked", "looked"]
    watch.now = RETRY_AFTER
    watch.swap.look()  # it may have been a full disk
    assert watch.told[4:] == ["looked"]  # what is refused for the same reason was told
    assert watch.registry.loads.count("odd") == 2


def test_a_version_whose_files_cannot_be_fetched_is_told_once_and_fetched_as_soon_as_they_can_be() -> None:
    registry = FakeRegistry({"signal": "3", "risk": "1"}, withheld={"3"})
    watch = Watch(registry)
    watch.swap.look()
    watch.swap.look()
    assert watch.told == ["signal 3 refused: a timeout", "risk ->1", "looked", "looked"]
    assert registry.loads == ["3", "1"]
    watch.now = FETCH_AGAIN_AFTER
    watch.swap.look()
    assert watch.told[4:] == ["looked"]
    registry.withheld.clear()
    watch.now *= 2
    watch.swap.look()
    assert watch.told[5:] == ["signal ->3", "looked"]


def test_an_answer_that_nobody_understands_is_told_once_and_looked_at_again() -> None:
    watch = Watch(FakeRegistry({"signal": "unreadable", "risk": "1"}))
    watch.swap.look()
    watch.swap.look()
    trouble = "trouble: signal could not be looked up: TypeError: a version without a number"
    assert watch.told == [trouble, "risk ->1"]  # and no look is said to be complete
    watch.registry.aliases["signal"] = "2"
    watch.swap.look()
    assert watch.told[2:] == ["signal ->2", "looked"]


def test_a_registry_that_is_away_completes_no_look_and_is_no_trouble_of_ours() -> None:
    watch = Watch(FakeRegistry({"signal": "1"}, is_down=True))
    watch.swap.look()
    assert watch.told == []
    watch.registry.is_down = False
    watch.swap.look()
    assert watch.told == ["signal ->1", "looked"]


def test_who_cannot_be_told_does_not_end_the_watching(caplog: pytest.LogCaptureFixture) -> None:
    def deaf(*_: object) -> None:
        raise RuntimeError("no broker")

    swap = HotSwap(FakeRegistry({"signal": "1"}), ("signal",), deaf, deaf, deaf, deaf)
    swap.look()
    assert swap.current["signal"].version == "1"
    assert "nobody could be told" in caplog.text


def test_the_watching_thread_outlives_whatever_happens_in_a_look() -> None:
    watch = Watch(FakeRegistry({"signal": "unreadable"}))
    ended = threading.Event()

    def on_look() -> None:
        watch.swap.stop()
        ended.set()

    def on_trouble(text: str) -> None:
        watch.registry.aliases["signal"] = "2"

    watch.swap.on_look, watch.swap.on_trouble, watch.swap.poll_every = on_look, on_trouble, 0.01
    watch.swap.start()
    assert ended.wait(30)
    assert watch.swap.current["signal"].version == "2"


class TwoAliases(FakeRegistry):
    """A registry with challengers, too."""

    challengers: dict[str, str]

    def alias_version(self, name: str, alias: str) -> str | None:
        return self.challengers.get(name) if alias == CHALLENGER else super().alias_version(name, alias)


def pair(champion: str, challenger: str) -> tuple[TwoAliases, HotSwap, HotSwap]:
    registry = TwoAliases({"signal": champion})
    registry.challengers = {"signal": challenger}
    beside = HotSwap(registry, ("signal",), lambda *_: None, lambda *_: None, alias=CHALLENGER, is_left=True)
    swap, _ = make(registry)
    swap.beside = beside
    swap.look()
    beside.look()
    return registry, swap, beside


def test_a_challenger_that_is_promoted_is_loaded_once_and_leaves_the_shadow() -> None:
    registry, swap, beside = pair("1", "2")
    assert (swap.current["signal"].version, beside.current["signal"].version) == ("1", "2")
    registry.aliases["signal"] = "2"
    del registry.challengers["signal"]
    swap.look()
    beside.look()
    assert (swap.current["signal"].version, beside.current) == ("2", {})
    assert registry.loads == ["1", "2"]


def test_a_champion_whose_alias_is_gone_goes_on_serving() -> None:
    registry, swap, _ = pair("1", "2")
    registry.aliases.clear()
    swap.look()
    assert swap.current["signal"].version == "1"


def test_news_make_it_look_at_once() -> None:
    registry, swap, beside = pair("1", "2")
    seen: list[tuple[str, str]] = []
    heard = threading.Event()

    def wait_for_news(seconds: float) -> None:
        seen.append((swap.current["signal"].version, beside.current["signal"].version))
        registry.aliases["signal"], registry.challengers["signal"] = "3", "4"
        if len(seen) == 2:
            swap.stop()
            heard.set()

    swap.wait_for_news = wait_for_news
    swap.start()
    assert heard.wait(30)
    assert seen == [("1", "2"), ("3", "4")]


def test_after_fifty_swaps_only_two_models_are_left_in_memory() -> None:
    registry, swap, beside = pair("1", "2")
    alive: list[weakref.ref[object]] = []
    for number in range(3, 53):
        alive += [weakref.ref(swap.current["signal"]), weakref.ref(beside.current["signal"])]
        registry.aliases["signal"], registry.challengers["signal"] = registry.challengers["signal"], str(number)
        swap.look()
        beside.look()
    gc.collect()
    held = {id(one) for one in (*swap.current.values(), *swap.previous.values(), *beside.current.values())}
    assert {id(one()) for one in alive if one() is not None} <= held
    assert len(held) == 3
