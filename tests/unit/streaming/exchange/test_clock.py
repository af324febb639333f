"""The exchange's clock never goes back, also not over a restart."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from quantstream.core.errors import Misconfigured
from quantstream.core.time import SECOND
from streaming.exchange.clock import Clock
from streaming.exchange.clock_file import LEASE, Keeper, Saved, read_clock, write_clock

START = 1_763_800_000 * SECOND


class Wall:
    """A wall clock that a test moves."""

    at = 50.0

    def __call__(self) -> float:
        return self.at


def test_it_stands_still_until_started_and_then_runs_at_its_speed() -> None:
    wall = Wall()
    clock = Clock(START, 30.0, monotonic=wall)
    wall.at += 5
    assert clock.now() == START
    clock.start()
    wall.at += 2
    clock.start()
    assert clock.now() == START + 60 * SECOND


def test_it_stops_at_the_end_of_a_recording() -> None:
    wall = Wall()
    clock = Clock(START, 1.0, START + 3 * SECOND, wall)
    clock.start()
    wall.at += 10
    assert clock.now() == START + 3 * SECOND


def test_it_does_not_pass_what_was_written_down() -> None:
    wall = Wall()
    clock = Clock(START, 10.0, monotonic=wall)
    clock.start()
    clock.lease_until(START + 20 * SECOND)
    wall.at += 5
    assert clock.now() == START + 20 * SECOND
    clock.lease_until(START + 100 * SECOND)
    assert clock.now() == START + 50 * SECOND


async def test_the_file_is_ahead_of_the_clock_and_exact_after_a_clean_end(tmp_path: Path) -> None:
    wall, path = Wall(), tmp_path / "deep" / "clock.json"
    clock = Clock(START, 10.0, monotonic=wall)
    clock.start()
    keeper = Keeper(clock, path, {"seed": 1})
    assert read_clock(path) == Saved({"seed": 1}, START + int(LEASE * 10) * SECOND)
    work = asyncio.create_task(keeper.run())
    wall.at += 1.5
    while read_clock(path) == Saved({"seed": 1}, START + int(LEASE * 10) * SECOND):
        await asyncio.sleep(0.01)
    assert read_clock(path) == Saved({"seed": 1}, START + int((LEASE + 1.5) * 10) * SECOND)
    work.cancel()
    keeper.finish()
    assert read_clock(path) == Saved({"seed": 1}, START + 15 * SECOND)


async def test_a_clock_that_cannot_be_kept_ends_the_exchange(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    keeper = Keeper(Clock(START), folder / "clock.json", {})
    shutil.rmtree(folder)
    folder.touch()
    with pytest.raises(Misconfigured, match="cannot be written"):
        await keeper.run()


def test_a_missing_or_empty_file_means_a_new_market(tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    assert read_clock(path) is None
    path.touch()
    assert read_clock(path) is None


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    path.write_text(json.dumps({"hello": 1}))
    with pytest.raises(Misconfigured, match="is not an exchange's clock file"):
        read_clock(path)


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Misconfigured, match="cannot be written"):
        write_clock(tmp_path / "file" / "clock.json", Saved({}, 1))
