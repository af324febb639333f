"""CSV, JSON and iCalendar give the same releases; every time has a zone, or is a day at the usual time in New York."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from ml.calendar.files import Defaults, read
from quantstream.core.errors import DataRejected, Misconfigured
from quantstream.features import releases
from quantstream.features.releases import Release
from tests.unit.ml.calendar.calendars import at

DEFAULTS = Defaults("2026-11-28", "bls.gov")
WINTER, SUMMER = at("2027-01-13T13:30"), at("2027-07-14T12:30")
EXPECTED = [Release(one, "consumer_prices", "bls.gov", "2026-11-28") for one in (WINTER, SUMMER)]
ICS = """BEGIN:VCALENDAR
VERSION:2.0
BEGIN:VEVENT
UID:2
DTSTART;TZID=US-Eastern:20270714T083000
SUMMARY:Consumer
  Price Index
END:VEVENT
BEGIN:VEVENT
DTSTART:20270113T133000Z
SUMMARY:Consumer Price Index for December 2026
END:VEVENT
BEGIN:VEVENT
DTSTART;VALUE=DATE:20270115
SUMMARY:Real Earnings
END:VEVENT
END:VCALENDAR
"""


def written(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "kind,at\nconsumer_prices,2027-01-13\nconsumer_prices,2027-07-14\n"),
        (
            "a.csv",
            "at,kind,announced_on,note\n2027-01-13T08:30-05:00,consumer_prices,2026-11-28,x\n2027-07-14T12:30Z,consumer_prices,,y\n",
        ),
        (
            "a.json",
            '[{"kind": "consumer_prices", "at": "2027-01-13T13:30Z"}, {"kind": "consumer_prices", "at": "2027-07-14"}]',
        ),
        ("a.ics", ICS),
        ("a.ics", ICS.replace("\n", "\r\n")),
    ],
)
def test_each_form_gives_the_same(name: str, text: str, tmp_path: Path) -> None:
    found = read(written(tmp_path, name, text), DEFAULTS)
    assert found.releases == EXPECTED
    assert found.known_until == {"consumer_prices": date(2027, 7, 14)}
    assert found.ignored == (1 if name.endswith("ics") else 0)


def test_the_packages_own_file_is_one_of_these() -> None:
    found = read(releases.FILE, DEFAULTS)
    assert sorted(one.at for one in found.releases) == [one.at for one in releases.packaged().releases]
    assert found.known_until == releases.packaged().known_until


def test_until_when_a_file_knows_all_may_be_told(tmp_path: Path) -> None:
    file = written(tmp_path, "a.csv", "kind,at\nconsumer_prices,2027-01-13\n")
    assert read(file, Defaults("2026-11-28", "x", "2027-12-31")).known_until == {"consumer_prices": date(2027, 12, 31)}
    told = {
        "known_until": {"employment": "2027-06-30"},
        "sources": {"a": "BLS"},
        "releases": [{"kind": "employment", "at": "2027-01-08", "source": "a"}],
    }
    found = read(written(tmp_path, "a.json", json.dumps(told)), DEFAULTS)
    assert (found.known_until["employment"], found.releases[0].source) == (date(2027, 6, 30), "BLS")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "kind,at\nconsumer_prices,2027-01-13T08:30\n", "row 1: '2027-01-13T08:30' has no zone"),
        ("a.csv", "kind,at\nconsumer_prices,soon\n", "row 1: 'soon' is no time"),
        ("a.csv", "kind,at\nconsumer_prices,2027-02-30\n", "is no day"),
        ("a.csv", "kind,at\nconsumer_prices,1970-01-01T00:00Z\n", "is not of this century"),
        ("a.csv", "kind,at\npayrolls,2027-01-13\n", "row 1: 'payrolls' is no kind of release; known are fed_decision"),
        ("a.csv", "when\n2027-01-13\n", "needs the columns kind and at"),
        ("a.csv", "", "needs the columns kind and at"),
        ("a.csv", "kind,at,announced_on\nconsumer_prices,2027-01-13,yesterday\n", "'yesterday' is no day"),
        ("a.json", "{", "the file is no JSON"),
        ("a.json", '{"releases": [3]}', "should be a list of objects"),
        ("a.json", '{"releases": {"a": 1}}', "should be a list of objects"),
        ("a.ics", ICS.replace("US-Eastern", "Moon/Crater"), "in the zone 'Moon/Crater' cannot be read"),
        ("a.ics", ICS.replace(";TZID=US-Eastern", ""), "is no time|has no zone"),
        ("a.ics", ICS.replace("UID:2", "RRULE:FREQ=MONTHLY"), "repeats by a rule"),
    ],
)
def test_what_is_wrong_is_said_with_its_row(name: str, text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataRejected, match=said):
        read(written(tmp_path, name, text), DEFAULTS)


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"should end in \.csv, \.json, \.ics"):
        read(written(tmp_path, "a.txt", ""), DEFAULTS)
    with pytest.raises(Misconfigured, match="cannot be read"):
        read(tmp_path / "gone.csv", DEFAULTS)
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Misconfigured, match="cannot be read"):
        read(tmp_path / "b.csv", DEFAULTS)
    (tmp_path / "large.csv").write_bytes(b"x" * 5_000_001)
    with pytest.raises(Misconfigured, match="larger than 5 MB"):
        read(tmp_path / "large.csv", DEFAULTS)
