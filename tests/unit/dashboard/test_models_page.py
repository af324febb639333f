"""The models' page says which champion the stages would not take, and why; what they took since is well again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from dashboard import model_troubles
from dashboard.model_troubles import CalendarEnd, refused
from ml.serving.registry import Card
from quantstream.core.time import DAY
from quantstream.features import releases
from quantstream.lake.store import Lake
from quantstream.messages.payloads import Event, EventKind

PAGE = Path(__file__).resolve().parents[3] / "dashboard" / "views" / "models_view.py"
RISK = "quantstream-risk"
WHY = f"{RISK} 3 was not taken into service: the model's files are damaged: <trees> does not match its checksum"


def card(version: str, alias: str = "champion") -> Card:
    return Card(RISK, version, alias, "hash", "7", 0, 0, {}, ["no worse"])


def event(kind: EventKind, text: str, source: str = "score") -> Event:
    return Event(source, kind, text, 0)


def drawn(cards: list[Card], events: list[Event], ends: Sequence[str] = ()) -> str:
    champions: Any = SimpleNamespace(trouble="", all=lambda: tuple(cards))
    app = AppTest.from_file(str(PAGE), default_timeout=60)
    app.session_state["sources"] = SimpleNamespace(
        champions=champions, tail=SimpleNamespace(events=lambda: events), calendar=SimpleNamespace(sentences=ends)
    )
    app.run()
    assert not app.exception
    return "".join(each.proto.body for each in app.get("html"))


def test_a_champion_that_was_refused_is_on_the_page_with_the_reason() -> None:
    page = drawn([card("3"), card("2", "previous")], [event(EventKind.MODEL_REFUSED, WHY)])
    assert "&lt;trees&gt; does not match its checksum. The version before serves on (says score)." in page


def test_one_that_was_taken_since_or_is_another_version_is_well() -> None:
    no = event(EventKind.MODEL_REFUSED, WHY)
    taken = event(EventKind.MODEL_SWAPPED, f"{RISK} 3 serves now instead of 2")
    assert refused([card("3")], [taken, no]) == []
    assert refused([card("4")], [no]) == []
    assert refused([card("3", "challenger")], [no]) == []
    assert refused([card("3")], [no, taken]) == [f"{WHY}. The version before serves on (says score)."]
    assert len(refused([card("3")], [taken, event(EventKind.MODEL_REFUSED, WHY, "detect")])) == 1


def test_a_calendar_that_ended_is_a_note_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = releases.packaged().ends("employment")
    monkeypatch.setattr(model_troubles.time, "time_ns", lambda: ended * 1000)
    calendar = CalendarEnd(Lake(str(tmp_path / "lake"), may_create=False))
    calendar.turn()
    assert not (tmp_path / "lake").exists()
    page = drawn([card("3")], [], calendar.sentences)
    assert "When the U.S. employment situation comes is known until 2026-12-31 only: hours after that count as" in page
    monkeypatch.setattr(model_troubles.time, "time_ns", lambda: (ended - 15 * DAY) * 1000)
    calendar.turn()
    assert calendar.sentences == []
