"""The model of the lake's commits and Delta itself: the same steps, the same outcome."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from quantstream.core.candle import Candle
from quantstream.core.errors import Fenced
from quantstream.lake import store as delta
from quantstream.lake.commits import staging
from quantstream.lake.schemas import candle_rows
from quantstream.lake.store import Step
from tests.dst import lake as model
from tests.dst import simulation
from tests.dst.simulation import EPOCH, SECOND, Process, Simulation

ROWS = candle_rows([Candle("S", "1m", EPOCH, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, True)])


def steps(lake: Any) -> list[Any]:
    """Write, go on, say what is not so: what the lake says each time."""
    seen: list[Any] = [lake.progress("candles", "a")]
    lake.append("candles", ROWS, {"a": Step(None, 3)}, {"a": b"three"})
    opened = lake.table("candles")
    lake.append("candles", ROWS, {"b": Step(None, 1)})
    lake.append("candles", ROWS, {"a": Step(3, 4)}, {"a": b"four"})
    seen += [lake.progress("candles", "a"), lake.progress("candles", "b"), lake.progress("candles", "a", opened)]
    seen += [lake.state("candles", "a", 3), lake.state("candles", "a", 4), lake.state("candles", "b", 1)]
    seen += [lake.states("candles"), lake.rows("candles"), lake.rows("candles", opened)]
    for late in (Step(3, 5), Step(None, 4)):
        try:
            lake.append("candles", ROWS, {"a": late})
        except Fenced:
            seen.append("fenced")
    lake.append(
        "candles", ROWS, {"a": Step(4, 2)}, {"a": b"two"}
    )  # nothing but the caller keeps progress from going back
    return [*seen, lake.progress("candles", "a"), lake.state("candles", "a", 2)]


EXPECTED = [None, 4, 1, 3, b"three", b"four", None, {"a": b"four"}, {"S": 3}, {"S": 1}, "fenced", "fenced", 2, b"two"]


def fenced(lake: Any, race: Callable[[Any, dict[str, Step]], None], other: dict[str, Step]) -> str:
    """Move the progress of `a` while another commits `other` between the opening of the table and the commit."""
    try:
        race(lake, other)
    except Fenced:
        return "refused"
    return "taken"


@contextmanager
def process() -> Iterator[tuple[model.Lake, Callable[[Callable[[], None]], None]]]:
    """Give the model's lake and what runs something in a process of its world, to the end."""
    sim = Simulation(1)
    simulation.entered(sim)

    def run(act: Callable[[], None]) -> None:
        def work(process: Process) -> None:
            act()

        done = sim.spawn("p", work, lambda process: None)
        sim.run(sim.now + 60 * SECOND, lambda: done.is_dead, every=1)
        if done.error:
            raise done.error

    try:
        yield model.Lake(sim), run
    finally:
        sim.end()
        simulation.entered(None)


def test_progress_and_metadata_are_those_of_delta(tmp_path: Path) -> None:
    assert steps(delta.Lake(str(tmp_path))) == EXPECTED
    found: list[Any] = []
    with process() as (lake, run):
        run(lambda: found.extend(steps(lake)))
    assert found == EXPECTED


@pytest.mark.parametrize(("other", "expected"), [({"a": Step(3, 4)}, "refused"), ({"b": Step(3, 4)}, "taken")])
def test_a_commit_that_moved_the_same_progress_meanwhile_refuses_the_other(
    other: dict[str, Step], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = delta.Lake(str(tmp_path))
    real.append("candles", ROWS, {"a": Step(None, 3), "b": Step(None, 3)})
    write = staging.write_deltalake

    def late(table: Any, rows: Any, **named: Any) -> None:
        monkeypatch.setattr(staging, "write_deltalake", write)
        real.append("candles", ROWS, other)
        write(table, rows, **named)

    monkeypatch.setattr(staging, "write_deltalake", late)
    assert fenced(real, lambda lake, _: lake.append("candles", ROWS, {"a": Step(3, 5)}), other) == expected
    with process() as (lake, run):
        run(lambda: lake.append("candles", ROWS, {"a": Step(None, 3), "b": Step(None, 3)}))
        ask = lake._ask

        def between(what: str, detail: object) -> None:
            if what == "write":
                lake._ask = ask  # type: ignore[method-assign]
                lake.append("candles", ROWS, other)
            ask(what, detail)

        lake._ask = between  # type: ignore[method-assign]
        found: list[str] = []
        run(lambda: found.append(fenced(lake, lambda one, _: one.append("candles", ROWS, {"a": Step(3, 5)}), other)))
    assert found == [expected]
