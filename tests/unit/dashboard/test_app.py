"""The entry point: every page that it offers is there, under an address that stays."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from dashboard import sources
from quantstream.observability import logs

APP = Path(__file__).resolve().parents[3] / "dashboard" / "app.py"


def test_five_pages_are_offered_under_the_addresses_people_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    offered: list[Any] = []

    def navigation(pages: list[Any], **_: object) -> SimpleNamespace:
        offered.extend(pages)
        return SimpleNamespace(run=lambda: None)

    monkeypatch.setattr(st, "navigation", navigation)
    monkeypatch.setattr(sources, "connect", lambda settings: SimpleNamespace(start=lambda: None))
    monkeypatch.setattr(logs, "set_up_logs", lambda *_: None)
    app = AppTest.from_file(str(APP), default_timeout=60).run()
    assert [each.message for each in app.exception] == []
    assert [(page.title, page.url_path) for page in offered] == [
        ("Market", ""),
        ("Risk & anomalies", "overview"),
        ("Models", "models"),
        ("Health", "health"),
        ("Data docs", "data_docs"),
    ]
