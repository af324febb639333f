"""The table of stages is what their code does: read from the code itself, so that no login lacks a right that a stage needs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from quantstream.messages import topics
from quantstream.messages.stages import STAGES
from quantstream.messages.topics import DEAD, EVENTS, Topic

STREAMING = Path(__file__).parents[4] / "streaming"
DECLARED = {name: value for name, value in vars(topics).items() if isinstance(value, Topic)}
LOOKS_BACK = {"ingest": {"TRADES"}, "aggregate": {"OPEN_CANDLES"}}  # where a restart goes on from


def imported(stage: str) -> Iterator[str]:
    """Go through the names that a stage's modules import."""
    for path in sorted((STREAMING / stage).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                yield from (alias.name for alias in node.names)


def touched(stage: str) -> set[str]:
    """Return the names of the topics that a stage's code can read or write."""
    names = set(imported(stage))
    dead = {"DEAD"} if "dead_letter" in names else set()
    return (names & set(DECLARED)) | dead | {"EVENTS"}  # the runner tells of every stage's balance


def name_of(topic: Topic) -> str:
    return next(name for name, value in DECLARED.items() if value is topic)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_said_to_use_the_topics_that_its_code_uses(stage: str) -> None:
    output = {name_of(topic) for topic in (*STAGES[stage].reads, *STAGES[stage].writes)} | LOOKS_BACK.get(stage, set())
    assert touched(stage) == output


@pytest.mark.parametrize("stage", STAGES)
def test_who_puts_records_aside_may_write_dead_letters(stage: str) -> None:
    assert ("dead_letter" in set(imported(stage))) == (DEAD in STAGES[stage].writes)


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_may_tell_operators(stage: str) -> None:
    assert EVENTS in STAGES[stage].writes


WATCHED = {  # where a stage that is not named is not watched, and nothing else says so
    "infra/monitor/parts/options.bash": r"^readonly STAGES='([\w,]+)'$",
    "infra/k8s/sources/services/base/kustomization.yaml": r"QUANTSTREAM_STAGES=(.*)$",
    "infra/k8s/sources/monitoring/rules.yaml": r'up\{job=~"(?:\(\.\+-\)\?)?\(?([\w|]+)\)?"\} == 0',
    "infra/k8s/sources/monitoring/dashboards/platform.json": r'sum\(up\{job=~\\"([\w|]+)\\"\}\)',
    "infra/k8s/sources/namespace/priorities.yaml": r"^description: ([\w, ]+); the market does not wait",
    "README.md": r"`<stage>` is one of `([\w ]+)`",
}


@pytest.mark.parametrize("path", WATCHED)
def test_every_stage_is_watched_wherever_stages_are_listed(path: str) -> None:
    listed = re.search(WATCHED[path], (STREAMING.parent / path).read_text(encoding="utf-8"), re.MULTILINE)
    assert listed, f"no list of stages in {path}"
    assert set(STAGES) - set(re.findall(r"[a-z]+", listed[1])) == set(), f"{path} does not name them"
