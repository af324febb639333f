"""What a schedule says is done to real processes, and no process is left standing still."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from tests.chaos.outages import LakeFolder, RegistryServer
from tests.chaos.schedule import JOIN, KILL, LAKE_AWAY, LEAVE, PAUSE, Blow
from tests.chaos.strikes import Striker

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]


class FakePlatform:
    """Sleepers in the stages' place; one that is killed is started again, as the supervisor does."""

    def __init__(self) -> None:
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.output: dict[str, str] = {}
        self.calls: list[tuple[str, str]] = []
        self.states: list[str] = []  # of sink, at each look at its readiness
        for name in ("sink", "score"):
            self.start(name)

    @property
    def supervisor(self) -> FakePlatform:
        return self

    @property
    def processes(self) -> dict[str, None]:
        return dict.fromkeys(("sink", "score", "sink-2"))

    def start(self, name: str) -> None:
        self.calls.append(("start", name))
        self.children[name] = subprocess.Popen(SLEEPER)

    def stop(self, name: str) -> None:
        self.calls.append(("stop", name))
        self.children[name].terminate()
        self.children.pop(name).wait(30)

    def pid(self, name: str) -> int | None:
        child = self.children.get(name)
        if child is not None and child.poll() is not None:
            self.start(name)
        return self.children[name].pid if name in self.children else None

    def is_ready(self, name: str) -> bool:
        return name in self.children

    def log(self, name: str, since: int = 0) -> str:
        return self.output.get(name, "")[since:]


def stands_still(pid: int | None) -> bool:
    """Whether a process is stopped."""
    return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)


class NoRecoveries:
    def hit(self, name: str, pid: int | None) -> None:
        """Nobody waits for these."""


@pytest.fixture
def striker(tmp_path: Path) -> Iterator[Striker]:
    platform = FakePlatform()
    with RegistryServer({}).serving() as registry:
        lake = LakeFolder(tmp_path / "lake")
        yield Striker(cast(Any, platform), cast(Any, NoRecoveries()), lake, registry, lambda _: None)
    for child in platform.children.values():
        child.kill()
        child.wait(30)


def test_what_is_paused_is_woken_and_the_same_process(striker: Striker) -> None:
    platform = cast(FakePlatform, striker.platform)
    pid, stood_still = platform.pid("sink"), list[bool]()
    striker.say = lambda _: stood_still.append(stands_still(pid))
    striker.run([Blow(0, PAUSE, "sink", 0.5), Blow(0.3, JOIN, "sink-2")], 2)
    striker.look_at_woken()
    assert stood_still == [False, True, True]  # as it is said that it is paused, that a replica joins, that it is woken
    assert not stands_still(pid)
    assert platform.pid("sink") == pid
    assert striker.done.pauses == Counter(sink=1)
    assert striker.done.joins == Counter({"sink-2": 1})
    assert platform.calls[-1] == ("stop", "sink-2")
    assert striker.done.wrong == []


def test_a_process_that_ends_on_waking_without_a_word_is_seen(striker: Striker) -> None:
    platform = cast(FakePlatform, striker.platform)
    striker.run([Blow(0, PAUSE, "sink", 0.2), Blow(0, PAUSE, "score", 0.2)], 1)
    for name in ("sink", "score"):
        platform.children[name].kill()
        platform.children[name].wait(30)
    platform.output["score"] = '{"message": "stage ends", "reason": "no broker answers"}\n'
    striker.look_at_woken()
    assert striker.done.wrong == ["sink was paused, and ended without a word"]


def test_the_successor_of_a_process_that_was_killed_while_it_stood_still_is_not_woken_in_its_place(
    striker: Striker,
) -> None:
    platform = cast(FakePlatform, striker.platform)
    stood_still: list[bool] = []
    striker.say = lambda text: stood_still.append(stands_still(platform.pid("sink"))) if "woken" in text else None
    blows = [
        Blow(0, PAUSE, "sink", 1.0),
        Blow(0.2, KILL, "sink"),
        Blow(0.4, PAUSE, "sink", 60.0),
        Blow(1.2, LEAVE, "sink-2"),
    ]
    platform.start("sink-2")
    striker.run(blows, 2)
    assert stood_still == [True]  # when the first was to be woken
    assert striker.done.kills == Counter(sink=1)
    assert striker.done.pauses == Counter(sink=2)
    assert not stands_still(platform.pid("sink"))


def test_a_lake_that_is_away_at_the_end_is_brought_back_and_what_has_left_is_not_paused(striker: Striker) -> None:
    striker.run([Blow(0, LAKE_AWAY, "lake", 60.0), Blow(0.1, PAUSE, "sink-3", 5.0)], 0.5)
    assert striker.lake.link.is_dir()
    assert striker.done.others == Counter({LAKE_AWAY: 1})
    assert striker.done.not_done == Counter({PAUSE: 1})
