"""A renewed calendar lies in the lake; who follows it reads it within a look, and tells of its end once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from ml.calendar import horizon, stored
from ml.calendar.cli import commands
from ml.calendar.horizon import Following, ends
from quantstream import features
from quantstream.core.errors import DataRejected, Fenced, Misconfigured
from quantstream.core.time import DAY
from quantstream.features import releases
from quantstream.features.releases import Calendar
from quantstream.lake.schemas import RELEASES
from quantstream.lake.store import Lake, Step
from quantstream.messages.payloads import EventKind
from quantstream.settings import Settings
from tests.unit.ml import markets
from tests.unit.ml.calendar.calendars import NOW, at, given

JANUARY = "2027-01-13T13:30"


@pytest.fixture(autouse=True)
def _of_this_version() -> Iterator[None]:
    yield
    releases.use(None)
    stored._taken.clear()


def test_a_renewal_is_read_back_as_it_was_and_survives_the_next(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    assert stored.stored(lake) is None
    assert stored.take_up(lake) is releases.packaged()
    first = stored.renew(lake, given(JANUARY, until="2027-01-31"), "somebody", NOW)
    assert stored.stored(lake) == first.calendar
    second = stored.renew(lake, given("2027-02-10T13:30"), "somebody", NOW)
    assert {at(JANUARY), at("2027-02-10T13:30")} < set(second.calendar.times("consumer_prices").tolist())
    assert stored.take_up(Lake(str(tmp_path), may_create=False)) == second.calendar
    assert releases.current() == second.calendar


def test_only_said_changes_nothing(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path), may_create=False)
    assert stored.renew(lake, given(JANUARY), "somebody", NOW, dry_run=True).added
    assert not (tmp_path / RELEASES).exists()


def test_of_two_renewals_at_once_one_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake(str(tmp_path))
    stored.renew(lake, given(JANUARY, until="2027-01-31"), "one", NOW)
    rows = stored._rows(releases.packaged(), 2, "another", NOW)
    read = stored.stored

    def meanwhile(of: Lake) -> Calendar | None:
        Lake(str(tmp_path)).append(RELEASES, rows, {stored.APPLICATION: Step(1, 2)})
        return read(of)

    monkeypatch.setattr(stored, "stored", meanwhile)
    with pytest.raises(Fenced):
        stored.renew(lake, given("2027-02-10T13:30"), "two", NOW)


def test_a_newer_version_of_ours_adds_what_lies_beyond_the_lakes_calendar() -> None:
    ours = releases.packaged()
    shorter = Calendar(
        tuple(one for one in ours.releases if one.at < at("2027-01-01T00:00")),
        {**ours.known_until, "fed_decision": date(2026, 12, 31)},
    )
    assert stored.together(ours, shorter) == ours
    moved = Calendar(shorter.releases[:-1], shorter.known_until)  # the lake's word counts until its end
    assert shorter.releases[-1] not in stored.together(ours, moved).releases


class Operators:
    """Hears events."""

    def __init__(self) -> None:
        self.told: list[tuple[EventKind, str]] = []

    def tell(self, kind: EventKind, text: str, symbol: str) -> None:
        self.told.append((kind, text))


def test_who_follows_takes_a_renewal_up_without_a_restart_and_tells_of_the_end_once(tmp_path: Path) -> None:
    clock, operators = [at("2027-01-05T12:00")], Operators()
    following = Following(Lake(str(tmp_path), may_create=False), operators.tell, lambda: clock[0])
    following.look()
    following.look()
    assert [kind for kind, _ in operators.told] == [EventKind.CALENDAR_ENDS, EventKind.CALENDAR_ENDS]
    assert (
        "the U.S. consumer price index comes is known until 2026-12-31 only: hours after that count as ordinary"
        in operators.told[0][1]
    )
    frame = markets.candles(3).assign(opened_at=pd.date_range("2027-01-13 12:40", periods=3, freq="5min", tz="UTC"))
    assert features.compute(frame)["consumer_prices_next_1h"].tolist() == [0, 0, 0]
    stored.renew(Lake(str(tmp_path)), given(JANUARY), "somebody", clock[0])
    following.look()
    assert operators.told[2] == (EventKind.CALENDAR_RENEWED, f"releases are known: {horizon.until(releases.current())}")
    assert features.compute(frame)["consumer_prices_next_1h"].tolist() == [1, 1, 1]
    clock[0] = at("2027-12-20T12:00")
    following.look()
    following.look()
    told = [text for kind, text in operators.told[3:] if kind is EventKind.CALENDAR_ENDS]
    assert told == [
        "when the U.S. consumer price index comes is known until 2027-12-31: 12 days more; quantstream calendar renew FILE"
    ]


def test_a_start_has_the_lakes_calendar_when_it_returns(tmp_path: Path) -> None:
    stored.renew(Lake(str(tmp_path)), given(JANUARY), "somebody", NOW)
    following = Following(Lake(str(tmp_path), may_create=False), Operators().tell, lambda: NOW)
    following.start()
    following.stop()
    assert at(JANUARY) in releases.current().times("consumer_prices")


def test_a_lake_that_cannot_be_read_leaves_the_calendar_as_it_is(tmp_path: Path) -> None:
    operators = Operators()
    following = Following(Lake(str(tmp_path)), operators.tell, lambda: NOW)
    stored.renew(following.lake, given(JANUARY), "somebody", NOW)
    following.look()
    for file in tmp_path.glob(f"{RELEASES}/**/*.parquet"):
        file.write_bytes(b"PAR1 damaged")
    stored._taken.clear()
    following.look()
    assert at(JANUARY) in releases.current().times("consumer_prices")
    assert operators.told == []


def test_the_end_is_told_from_two_weeks_before() -> None:
    ours = releases.packaged()
    last = ours.ends("employment")
    assert ends(ours, last - 15 * DAY) == {}
    assert set(ends(ours, last - 14 * DAY)) == {"consumer_prices", "employment"}
    assert "1 days more" in ends(ours, last - 1)["employment"]
    assert "only" in ends(ours, last)["employment"]


def test_the_command_shows_checks_and_renews(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = commands(lambda state: Settings(state=state or tmp_path))
    run = CliRunner()
    file = tmp_path / "cpi.csv"
    file.write_text("kind,at,source,announced_on\nconsumer_prices,2030-01-15,bls.gov,2026-11-20\n")
    tried = run.invoke(app, ["renew", str(file), "--until", "2030-12-31", "--dry-run"])
    assert "would be known: consumer_prices until 2030-12-31" in tried.output
    assert json.loads(run.invoke(app, ["--json"]).output)["known_until"]["consumer_prices"] == "2026-12-31"
    assert (
        "1 releases added (consumer_prices 2030-01-15 13:30)"
        in run.invoke(app, ["renew", str(file), "--until", "2030-12-31"]).output
    )
    shown = json.loads(run.invoke(app, ["--json"]).output)
    assert shown["known_until"]["consumer_prices"] == "2030-12-31"
    assert {
        "kind": "consumer_prices",
        "at": "2030-01-15T13:30:00Z",
        "source": "bls.gov",
        "announced_on": "2026-11-20",
    } in shown["releases"]
    lines = run.invoke(app, []).output
    assert "2030-01-15 13:30 UTC  consumer_prices  bls.gov, announced on 2026-11-20" in lines
    assert isinstance(run.invoke(app, ["renew", str(file)]).exception, DataRejected)
    assert isinstance(run.invoke(app, ["renew", str(tmp_path / "no.csv")]).exception, Misconfigured)
