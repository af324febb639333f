"""What was checked is not read again until something changes that the check depends on; what is lost is checked again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ml.validation import engine, pages
from ml.validation.report import Report
from quantstream.core.time import micros
from quantstream.lake.quarantine import QUARANTINE, quarantine_of
from quantstream.lake.store import Lake
from quantstream.lake.upkeep.compaction import compact
from tests.unit.ml.validation.markets import AT, FIRST, ROWS, SYMBOLS, candles, gate, rows

DAYS = 120  # February to May: a month that nothing in the others looks at
LATER = micros(FIRST + timedelta(days=200))  # all of it is over
LATER_AT = AT + timedelta(hours=1)
SYMBOL = SYMBOLS[0]
HOLE = 40 * ROWS + 5  # in March


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with a lake of one symbol that lacks candles of a day in March, checked once."""
    folder = tmp_path_factory.mktemp("checked")
    Lake(str(folder / "lake")).append("candles", rows(candles(SYMBOL, DAYS).drop(index=range(HOLE, HOLE + 2))))
    assert check(folder).months_anew == 4
    return folder


@pytest.fixture
def state(filled: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(filled, tmp_path / "state")
    return tmp_path / "state"


def check(state: Path, table: str = "candles", **given: Any) -> Report:
    asked = gate(Lake(str(state / "lake")), state, **{"now": LATER, **given})
    asked.symbols = [SYMBOL]
    return asked.check(table, SYMBOL)


def test_a_second_check_reads_nothing_and_says_the_same(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = json.loads((state / pages.report_path("candles", SYMBOL)).read_text())
    library = (state / pages.folder_of("candles", SYMBOL) / "days.html").read_text()

    def run(*_: Any) -> engine.Run:
        raise AssertionError("nothing is to be checked")

    monkeypatch.setattr(engine, "run", run)
    report = check(state)
    after = json.loads((state / pages.report_path("candles", SYMBOL)).read_text())
    assert (report.months, report.months_anew, report.newly_held) == (4, 0, ())
    assert list(report.held) == ["2026-03-13"]
    assert "0 of 4 months read anew" in str(report)
    new = ("outcome", "newly_held", "months_anew", "data_docs")  # it was held by the first, in another folder
    assert {name: value for name, value in after.items() if name not in new} == {
        name: value for name, value in before.items() if name not in new
    }
    assert (
        state / pages.folder_of("candles", SYMBOL) / "days.html"
    ).read_text() == library  # what failed is still shown


@pytest.mark.parametrize(
    ("given", "anew"),
    [({"anew": True}, 4), ({"outages": ("another",)}, 4), ({"now": micros(FIRST + timedelta(days=119))}, 0)],
)
def test_what_is_asked_for_or_decided_otherwise_is_read_again(
    state: Path, given: Mapping[str, Any], anew: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml.validation.candle_frames.is_declared", lambda _, __, at, ___: at < 0)
    report = check(state, **given)
    assert report.months_anew == anew
    assert list(report.held) == ["2026-03-13"]


def test_a_correction_reads_its_month_and_those_that_look_at_it(state: Path) -> None:
    Lake(str(state / "lake")).append("candles", rows(candles(SYMBOL, DAYS).iloc[HOLE : HOLE + 2]))
    report = check(state, at=LATER_AT)
    assert (report.months_anew, report.released, report.held) == (4, ("2026-03-13",), {})
    late = candles(SYMBOL, DAYS).iloc[-5:].assign(revision=1)  # of May: February does not look at it
    Lake(str(state / "lake")).append("candles", rows(late))
    assert check(state).months_anew == 3


def test_merged_files_are_no_news(state: Path) -> None:
    lake = Lake(str(state / "lake"))
    for revision in (1, 2):
        lake.append("candles", rows(candles(SYMBOL, DAYS).iloc[:1].assign(revision=revision)))
    check(state)
    assert compact(lake, "candles")["files_removed"] == 2
    assert check(state).months_anew == 0


@pytest.mark.parametrize("text", [None, "{", '{"2026-02": 1}'])
def test_what_was_checked_and_is_lost_is_checked_again(state: Path, text: str | None) -> None:
    (path,) = (state / "lake").rglob("_checks/candles/*.json")
    path.unlink() if text is None else path.write_text(text)
    assert check(state).months_anew == 4
    assert check(state).months_anew == 0


def test_another_suite_is_asked_of_everything(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = json.loads((engine.SUITES / "candles.json").read_text())
    suite["expectations"] = [one for one in suite["expectations"] if one["type"] != "expect_day_to_be_whole"]
    (tmp_path / "candles.json").write_text(json.dumps(suite))
    monkeypatch.setattr(engine, "SUITES", tmp_path)
    report = check(state, at=LATER_AT)
    assert (report.months_anew, report.released) == (4, ("2026-03-13",))


def test_a_quarantine_that_was_lost_is_made_again_of_what_is_known(state: Path) -> None:
    shutil.rmtree(state / "lake" / QUARANTINE)
    report = check(state)
    assert (report.months_anew, report.newly_held) == (0, ("2026-03-13",))
    assert [str(one.day) for one in quarantine_of(Lake(str(state / "lake"))).held()] == ["2026-03-13"]


def test_features_are_checked_again_where_a_day_that_they_look_back_on_is_held(state: Path) -> None:
    assert check(state, "features").months_anew == 4
    assert check(state, "features").months_anew == 0
    Lake(str(state / "lake")).append("candles", rows(candles(SYMBOL, DAYS).iloc[HOLE : HOLE + 2]))
    check(state, at=LATER_AT)
    report = check(state, "features", at=LATER_AT)
    assert report.months_anew == 4  # the day is back: February, too, for its candles lie near
    assert report.days == DAYS
