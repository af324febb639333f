"""The map at the head of ARCHITECTURE.md is what the packages say of themselves; the walks name what there is."""

from __future__ import annotations

import re

import pytest

from tests.unit.docs.tree import DOTTED, ROOT, is_there, rooms

ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """Return the text under a heading of ARCHITECTURE.md."""
    return ARCHITECTURE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_the_map_is_one_line_a_room_as_its_docstring_says() -> None:
    expected = [f"{'    ' * folder.count('/')}- `{folder}/`: {line}" for folder, line in rooms()]
    drawn = [line for line in section("The map").splitlines() if re.match(r" *- `", line)]
    assert drawn == expected, "the map's lines should be:\n" + "\n".join(expected)


@pytest.mark.parametrize(("folder", "line"), list(rooms()))
def test_every_room_says_in_one_sentence_what_it_is(folder: str, line: str) -> None:
    assert line.endswith("."), f"the docstring of {folder}/__init__.py should begin with one sentence on one line"


@pytest.mark.parametrize("title", ["The walk of one trade", "The walk of one candle"])
def test_each_hop_of_a_walk_names_functions_that_exist(title: str) -> None:
    hops = re.findall(r"^\d+\. .*(?:\n   .*)*", section(title), re.MULTILINE)
    assert [int(hop.partition(".")[0]) for hop in hops] == list(range(1, len(hops) + 1))
    assert len(hops) > 10
    named = {hop: DOTTED.findall(hop) for hop in hops}
    assert [hop for hop, names in named.items() if not names] == [], "a hop is a function by its name"
    assert [name for names in named.values() for name in names if not is_there(name)] == []


@pytest.mark.parametrize(
    "name", ["quantstream.core.trade", "streaming.runner.run", "ml.models.base.Model.predict", "dags"]
)
def test_what_exists_is_found(name: str) -> None:
    assert is_there(name)


@pytest.mark.parametrize(
    "name", ["quantstream.core.trades", "streaming.runner.walk", "ml.models.base.Model.fly", "dogs"]
)
def test_what_does_not_exist_is_not_found(name: str) -> None:
    assert not is_there(name)
