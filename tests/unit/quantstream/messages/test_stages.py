"""The stages as data say all that the code writes: a cluster's logins allow a stage no more than that."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from quantstream.messages import topics
from quantstream.messages.stages import STAGES
from quantstream.messages.topics import DEAD, EVENTS, Topic

STREAMING = Path(__file__).resolve().parents[4] / "streaming"
DOORS = {"put_aside": DEAD}  # functions that write to a topic of their own


def named(stage: str) -> set[str]:
    """Return the topics that a stage's modules import, and those of the functions that write for them."""
    found: set[str] = set()
    for module in (STREAMING / stage).glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                values = [DOORS.get(each.name) or getattr(topics, each.name, None) for each in node.names]
                found |= {value.name for value in values if isinstance(value, Topic)}
    return found


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_is_said_to_read_or_write_each_topic_that_its_modules_name(name: str) -> None:
    assert named(name) <= {topic.name for topic in (*STAGES[name].reads, *STAGES[name].writes)}


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_tells_operators_of_a_balance_that_does_not_close(name: str) -> None:
    assert EVENTS in STAGES[name].writes
