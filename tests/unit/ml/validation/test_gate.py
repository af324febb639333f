"""The gate holds and releases; a person's word stands; what is held stays out of training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ml.data import dataset
from ml.validation import engine
from ml.validation.cli import commands, hold, let_out
from ml.validation.custom import CUSTOM
from ml.validation.engine import suite_of
from ml.validation.gate import TABLES
from ml.validation.outages import Outage, declared
from ml.validation.takeover import TAKEN_OVER, take_over
from quantstream.core.errors import Misconfigured
from quantstream.lake.quarantine import quarantine_of
from quantstream.lake.store import Lake
from quantstream.settings import Settings
from tests.unit.ml.validation.markets import AT, BAD, DAYS, FIRST, ROWS, SYMBOLS, candles, gate, lake_of, rows

FAULTY = SYMBOLS[1]
ROW = 3 * ROWS + 100


def with_a_hole(frame):
    return frame.drop(index=range(ROW, ROW + 2))


def days_held(lake: Lake) -> list[str]:
    return sorted({f"{one.symbol} {one.day}" for one in quarantine_of(lake).held()})


def test_a_corrected_day_is_released_and_the_next_run_says_nothing_new(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", {FAULTY: with_a_hole})
    assert gate(lake, tmp_path).check("candles", FAULTY).outcome == "held"
    again = gate(lake, tmp_path).check("candles", FAULTY)
    assert (again.outcome, list(again.held), again.newly_held) == ("passed", [str(BAD)], ())
    assert len(quarantine_of(lake).changes) == 1

    lake.append("candles", rows(candles(FAULTY).iloc[ROW : ROW + 2]))
    repaired = gate(lake, tmp_path, at=AT + timedelta(hours=1)).check("candles", FAULTY)
    assert (repaired.outcome, repaired.held, repaired.released) == ("passed", {}, (str(BAD),))
    assert days_held(lake) == []
    assert len(lake.candles([FAULTY])) == DAYS * ROWS


def test_a_day_that_a_person_released_stays_so_until_the_finding_is_another_one(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", {FAULTY: with_a_hole})
    gate(lake, tmp_path).check("candles", FAULTY)
    (change,) = let_out(lake, "candles", FAULTY, BAD, "the exchange was away")
    assert (change.change, change.reason) == ("released", "the exchange was away")
    later = datetime.now(UTC) + timedelta(hours=1)
    assert gate(lake, tmp_path, at=later).check("candles", FAULTY).outcome == "passed"

    worse = lake_of(tmp_path / "worse", {FAULTY: lambda frame: frame.drop(index=range(ROW, ROW + 3))})
    assert worse.has("candles")
    (tmp_path / "lake" / "candles").rename(tmp_path / "before")
    (tmp_path / "worse" / "candles").rename(tmp_path / "lake" / "candles")
    assert gate(lake, tmp_path, at=later).check("candles", FAULTY).newly_held == (str(BAD),)


def test_what_a_person_holds_the_gate_does_not_let_out(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake")
    hold(lake, "candles", FAULTY, BAD, "I do not trust it")
    report = gate(lake, tmp_path, at=datetime.now(UTC) + timedelta(hours=1)).check("candles", FAULTY)
    assert (report.outcome, report.held) == ("passed", {str(BAD): "I do not trust it"})
    assert days_held(lake) == [f"{FAULTY} {BAD}"]


def test_a_declared_outage_is_no_hole_and_is_listed(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", {FAULTY: with_a_hole})
    start = FIRST + timedelta(days=3, minutes=500)
    known: Sequence[Outage] = [Outage(start, start + timedelta(minutes=10), "the exchange's notice", [FAULTY])]
    report = gate(lake, tmp_path, outages=known).check("candles", FAULTY)
    assert (report.outcome, report.held, report.outages) == ("passed", {}, {str(BAD): 2})
    others: Sequence[Outage] = [Outage(start, start + timedelta(minutes=10), "a notice", ["ZZZUSDT"])]
    assert gate(lake, tmp_path, outages=others).check("candles", FAULTY).outcome == "held"


@pytest.mark.parametrize(
    "wrong", ['{"outages": [{}]}', "{", '{"outages": [{"start": "2021-01-01", "end": "2021-01-02", "source": "x"}]}']
)
def test_outages_that_cannot_be_read_are_named(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "outages.json").write_text(wrong)
    with pytest.raises(Misconfigured, match=r"outages.json"):
        declared(tmp_path / "outages.json")


def test_too_few_candles_are_not_called_wrong(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    lake.append("candles", rows(candles(FAULTY, days=1).iloc[:287]))
    noon = int((FIRST + timedelta(hours=23, minutes=57)).timestamp() * 1e6)
    report = gate(lake, tmp_path, now=noon).check("candles", FAULTY)
    assert (report.outcome, report.is_enough) == ("short", False)
    assert str(report) == f"{FAULTY} candles: 287 rows are too few to learn from, nothing is wrong with them"
    nobody = gate(lake, tmp_path, now=noon).check("candles", "ZZZUSDT")
    assert (nobody.outcome, nobody.rows, nobody.first) == ("short", 0, "")


def test_no_row_to_learn_from_reaches_into_a_day_that_is_left_out(tmp_path: Path) -> None:
    """Whatever the day's candles say, features and labels of all other rows are the same."""

    def loud(frame):
        for row in range(3 * ROWS, 4 * ROWS):
            frame.at[row, "volume"] *= 99
        return frame

    lake = lake_of(tmp_path / "lake")
    wild = lake_of(tmp_path / "wild", {FAULTY: loud})
    for one in (lake, wild):
        hold(one, "candles", FAULTY, BAD, "odd")
    left, right = (dataset.build({FAULTY: one.candle_frame([FAULTY])}) for one in (lake, wild))
    assert len(left.opened_at) == (DAYS - 1) * ROWS
    assert np.asarray(left.features).tobytes() == np.asarray(right.features).tobytes()
    assert {name: values.tobytes() for name, values in left.labels.items()} == {
        name: values.tobytes() for name, values in right.labels.items()
    }
    last = (left.opened_at // 86_400_000_000 == (BAD - date(1970, 1, 1)).days - 1).nonzero()[0][-12:]
    assert all(bool((values[last] != values[last]).any()) for values in left.labels.values())  # no label spans the day


def test_the_file_of_before_is_taken_over_and_the_next_validation_finds_the_day(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", {FAULTY: with_a_hole})
    marker = tmp_path / "quarantine" / f"{FAULTY}.json"
    marker.parent.mkdir()
    marker.write_text(json.dumps({"symbol": FAULTY, "reason": "high is below open", "at": "x", "table_version": 1}))
    (said,) = take_over(lake, tmp_path, AT)
    assert f"{FAULTY}: " in said
    assert "is taken over, 8 days are in the lake's quarantine" in said
    assert not marker.exists()
    assert {one.expectation for one in quarantine_of(lake).held()} == {TAKEN_OVER}
    assert len(lake.candles([FAULTY])) == 0
    gate(lake, tmp_path, at=AT + timedelta(seconds=1)).check("candles", FAULTY)
    assert days_held(lake) == [f"{FAULTY} {BAD}"]
    assert take_over(lake, tmp_path, AT) == []
    marker.write_text("{")
    with pytest.raises(Misconfigured, match=r"cannot be read .*remove it, or name the days"):
        take_over(lake, tmp_path, AT)


def test_the_commands_list_hold_and_release_with_a_reason(tmp_path: Path) -> None:
    lake_of(tmp_path / "lake")
    app, run = commands(lambda state: Settings(state=state or tmp_path)), CliRunner().invoke
    assert "nothing is in quarantine" in run(app, ["list"]).output
    held = run(app, ["add", FAULTY, str(BAD), "--why", "odd"]).output
    assert f"{FAULTY} {BAD} candles: held for by hand" in held
    assert run(app, ["list", "--symbol", FAULTY]).output == held
    assert "nothing" in run(app, ["list", "--symbol", "ZZZUSDT"]).output
    assert "released" in run(app, ["release", FAULTY, str(BAD), "--why", "it was right"]).output
    assert len(run(app, ["list", "--changes"]).output.splitlines()) == 2
    assert "nothing is in quarantine" in run(app, ["list"]).output


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["add", FAULTY, "31.1.", "--why", "x"], "'31.1.' is no day; write it like 2026-01-31"),
        (["add", FAULTY, "2020-01-01", "--why", "x"], "the lake has no candles of BBBUSDT on 2020-01-01"),
        (["add", FAULTY, str(BAD), "--why", " "], "say why: whoever looks later must know"),
        (
            ["add", FAULTY, str(BAD), "--why", "x", "--table", "proofs"],
            "choose one of trades, candles, features, scores",
        ),
        (["release", FAULTY, str(BAD), "--why", "x"], "candles; see `quantstream quarantine list`"),
    ],
)
def test_wrong_words_get_a_sentence(tmp_path: Path, words: list[str], sentence: str) -> None:
    lake_of(tmp_path / "lake", days=4)
    app = commands(lambda state: Settings(state=state or tmp_path))
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, Misconfigured)
    assert sentence in str(result.exception)


def test_a_broken_suite_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "candles.json").write_text("{")
    monkeypatch.setattr(engine, "SUITES", tmp_path)
    with pytest.raises(Misconfigured, match=r"the expectations in .*candles.json cannot be read"):
        suite_of("candles")


def test_every_custom_expectation_is_used_by_a_suite_and_explained() -> None:
    used = {one["type"] for table in TABLES for one in suite_of(table)["expectations"]}
    text = (engine.SUITES / "README.md").read_text()
    names = {one.name for one in CUSTOM}
    assert names - used == set()
    assert {name for name in names if f"| `{name}` |" not in text} == set()
