"""The health page as it is drawn: the balance of the stages, the days that are not whole and those that are held are on it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from streamlit.testing.v1 import AppTest

from dashboard.balance_cards import DayConditions
from dashboard.quality.quarantine_card import HeldDays
from quantstream.core.accounts import Account
from quantstream.core.day_condition import DayProof
from quantstream.lake.quarantine import HELD, Change, note
from quantstream.lake.store import Lake
from streaming.sink.daily_accounts import keep_accounts
from tests.unit.dashboard.conftest import MIDNIGHT
from tests.unit.dashboard.test_balance_cards import stage

PAGE = Path(__file__).resolve().parents[3] / "dashboard" / "views" / "health_view.py"


def drawn(conditions: DayConditions, *stages: Any, held: HeldDays | None = None) -> str:
    held = held or HeldDays(conditions.lake)
    quiet = SimpleNamespace(trouble="", word="well")
    tail = SimpleNamespace(trouble="", word="well", events=list, dead=list, dead_total=0)
    processes = SimpleNamespace(trouble="", word="well", all=lambda: list(stages))
    proofs = SimpleNamespace(trouble="", latest=None)
    app = AppTest.from_file(str(PAGE), default_timeout=60)
    app.session_state["sources"] = SimpleNamespace(
        tail=tail, history=quiet, stages=processes, champions=quiet, proofs=proofs, conditions=conditions, held=held
    )
    app.run()
    assert not app.exception
    return "".join(each.proto.body for each in app.get("html"))


def test_the_page_shows_what_does_not_add_up_and_which_days_are_not_whole(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    keep_accounts(lake, [DayProof("BTCUSDT", MIDNIGHT, equal=280, missing=8)], MIDNIGHT)
    conditions = DayConditions(lake)
    conditions.turn()
    page = drawn(conditions, stage("sink", Account(3, 3)), stage("detect", Account(3, 2)))
    assert 'data-testid="card-balance"' in page
    assert "1 symbols do not add up" in page
    assert "8 of 288 candles are missing" in page


def test_trouble_with_the_lake_is_said_in_its_card(tmp_path: Path) -> None:
    conditions = DayConditions(Lake(str(tmp_path)))
    conditions.trouble = "the lake cannot be read now"
    page = drawn(conditions)
    assert "the lake cannot be read now" in page
    assert "no stage has said anything of its balance yet" in page


def test_days_in_quarantine_are_on_the_page_and_lead_to_their_data_docs(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    at = datetime(2026, 3, 1, tzinfo=UTC)
    note(lake, [Change("BTCUSDT", date(2026, 2, 4), "candles", "expect_x", HELD, "2 rows are swapped", at, "gate")])
    held = HeldDays(lake)
    held.turn()
    page = drawn(DayConditions(lake), held=held)
    assert 'data-testid="card-quarantine"' in page
    assert "2 rows are swapped" in page
    assert "data_docs?page=candles/BTCUSDT/2026-02-04" in page
    held.trouble = "the lake is away"
    assert "the lake is away" in (kept := drawn(DayConditions(lake), held=held))
    assert "2 rows are swapped" in kept  # what was read last stays
