"""Kinds of events: whoever emits, colours or explains one goes by the one declaration."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from dashboard import panels
from quantstream.messages import payloads
from quantstream.messages.payloads import GRAVE, Event, EventKind

ROOT = Path(__file__).resolve().parents[4]
EMITTERS = ("streaming", "ml", "dags", "infra")
CALLS = {"Event": 1, "event": 0, "tell": 0}  # by what is called: place of the kind among its arguments


def emitted(text: str) -> Iterator[str]:
    """Every kind that some code emits: a member of the enum, or a text where a kind belongs."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "EventKind":
            yield EventKind[node.attr].value
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            place = CALLS.get(name, len(node.args))
            if place < len(node.args) and isinstance(kind := node.args[place], ast.Constant):
                yield str(kind.value)


def test_what_is_emitted_is_declared_and_what_is_declared_is_emitted() -> None:
    found = {
        kind
        for folder in (*EMITTERS, "quantstream/kafka")
        for path in (ROOT / folder).rglob("*.py")
        for kind in emitted(path.read_text())
    }
    assert found == {kind.value for kind in EventKind}


def test_a_kind_that_nobody_declared_would_be_found() -> None:
    assert list(emitted('log.event("joy", "text")\nEvent("a", "grief", "text", 0)\ntell(kind)')) == ["joy", "grief"]


def test_the_page_colours_those_that_somebody_should_look_into() -> None:
    for kind in EventKind:
        html = panels.event_feed([Event("s", kind, "text", 0)])
        assert ('qs-badge warn"' in html) == (kind in GRAVE), kind
    assert set(EventKind) - GRAVE == {
        EventKind.FEED_RECOVERED,
        EventKind.GAP_REPAIRED,
        EventKind.MODEL_SWAPPED,
        EventKind.MODEL_IN_SHADOW,
        EventKind.MODEL_PROMOTED,
        EventKind.MODEL_EXPIRED,
        EventKind.LAKE_BACK,
        EventKind.STREAM_RECOVERED,
        EventKind.SILENCE_PROVEN,
        EventKind.SYMBOL_BACK,
        EventKind.CALENDAR_RENEWED,
    }


def test_the_readme_names_every_kind_and_no_other() -> None:
    text = (ROOT / "README.md").read_text()
    section = text[text.index("Events for people are in") :].split("\n\n")[0]
    assert set(re.findall(r"`([a-z]+_[a-z_]+)`", section)) == {kind.value for kind in EventKind}


def test_the_runbook_names_no_event_that_is_not_there() -> None:
    text = (ROOT / "infra" / "RUNBOOK.md").read_text()
    assert set(re.findall(r"event `([a-z_]+)`", text)) <= {kind.value for kind in EventKind}


def test_a_kind_is_plain_text_on_the_wire() -> None:
    event = Event("ingest", EventKind.GAP_FOUND, "text", 1)
    assert b'"kind":"gap_found"' in payloads.encode(event)
    assert payloads.decode(payloads.encode(event), Event) == event
