"""A renewal adds to what comes and leaves what was; what is wrong with a file is said in a sentence."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given as over
from hypothesis import settings
from hypothesis import strategies as st

from ml.calendar.renewal import MARGIN, Given, renewed
from quantstream.core.errors import DataRejected
from quantstream.core.time import DAY, MINUTE, utc
from quantstream.features import releases
from quantstream.features.releases import HOUR_US, Release
from tests.unit.ml.calendar.calendars import ANNOUNCED, NOW, at, given, prices

OURS = releases.packaged()
DECEMBER = "2026-12-10T13:30"  # the last that is known


def test_releases_are_added_and_the_horizon_grows_for_their_kind_alone() -> None:
    found = renewed(OURS, given("2027-01-13T13:30", "2027-02-10T13:30"), NOW)
    assert found.added == prices("2027-01-13T13:30", "2027-02-10T13:30")
    assert (found.dropped, found.left_out) == ([], [])
    assert found.calendar.known_until == {**OURS.known_until, "consumer_prices": date(2027, 12, 31)}
    assert set(found.calendar.releases) == {*OURS.releases, *found.added}
    assert found.sentences() == [
        "2 releases added (consumer_prices 2027-01-13 13:30, consumer_prices 2027-02-10 13:30)"
    ]


def test_what_is_scheduled_is_dropped_only_when_asked() -> None:
    moved = given("2026-12-18T13:30", "2027-01-13T13:30")
    assert renewed(OURS, moved, NOW).dropped == []  # it says nothing of the time before its first release
    again = given("2026-12-08T13:30", "2027-01-13T13:30")
    with pytest.raises(
        DataRejected, match=r"lacks 1 releases that are scheduled \(consumer_prices 2026-12-10 13:30\).*--drop"
    ):
        renewed(OURS, again, NOW)
    found = renewed(OURS, again, NOW, drops=True)
    assert [one.at for one in found.dropped] == [at(DECEMBER)]
    assert at(DECEMBER) not in found.calendar.times("consumer_prices")


def test_releases_of_the_past_are_left_out_and_said() -> None:
    late = at("2027-02-01T00:00")  # the calendar ended a month ago
    found = renewed(OURS, given("2027-01-13T13:30", "2027-02-10T13:30"), late)
    assert found.left_out == prices("2027-01-13T13:30")
    assert found.added == prices("2027-02-10T13:30")
    assert "1 left out (consumer_prices 2027-01-13 13:30): they lie in the past" in found.sentences()[-1]


@settings(max_examples=60, deadline=None)
@over(
    st.sets(st.integers(-200, 300), min_size=1, max_size=25),
    st.integers(0, 2 * DAY),
    st.booleans(),
    st.integers(-400, 60),
)
def test_no_feature_of_a_candle_that_closed_changes_whatever_a_file_says(
    days: set[int], offset: int, drops: bool, minutes: int
) -> None:
    now = NOW + offset
    wanted = sorted(NOW // DAY * DAY + day * DAY + 13 * HOUR_US + 30 * MINUTE for day in days)
    fit = [Release(one, "consumer_prices", "x", ANNOUNCED) for one in wanted if utc(one).weekday() < 5]
    closed = (
        now - np.arange(0, 400 * DAY, 5 * MINUTE) + min(minutes, 14) * MINUTE
    )  # and what closes until all took it up
    try:
        found = renewed(OURS, Given(fit, {"consumer_prices": date(2027, 12, 31)}), now, drops).calendar
    except DataRejected:
        return
    assert len(found.releases) >= len([one for one in OURS.releases if one.at < now])
    for begin, end in ((closed, closed + HOUR_US), (closed - HOUR_US, closed)):
        before, after = (
            np.searchsorted(one.times("consumer_prices"), begin) < np.searchsorted(one.times("consumer_prices"), end)
            for one in (OURS, found)
        )
        assert np.array_equal(before, after)


def test_the_margin_is_longer_than_features_look_ahead() -> None:
    assert MARGIN >= releases.AHEAD_US + 10 * MINUTE


def _given(*some: Release, until: str = "2027-12-31") -> Given:
    return Given(list(some), dict.fromkeys((one.kind for one in some), date.fromisoformat(until)))


def _release(time: str, source: str = "bls.gov", announced_on: str = ANNOUNCED) -> Release:
    return Release(at(time), "consumer_prices", source, announced_on)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (_given(), "holds no release of a known kind"),
        (_given(_release("2027-02-10T13:30"), _release("2027-01-13T13:30")), "put each kind's times in order"),
        (_given(_release("2027-01-13T13:30"), _release("2027-01-13T15:00")), "is there twice for that day"),
        (_given(_release("2027-01-16T13:30")), "on a weekend in New York"),
        (_given(_release("2033-01-13T13:30"), until="2033-12-31"), "more than five years ahead"),
        (_given(_release("2027-01-13T13:30", source="")), "has no source"),
        (_given(_release("2027-01-13T13:30", announced_on="2026-11-29")), "after it or after today"),
        (_given(_release("2027-01-13T13:30"), until="2027-01-12"), "its last release is later"),
        (_given(_release(DECEMBER), until="2026-12-12"), "a calendar does not become shorter"),
        (_given(_release(DECEMBER), until="2026-12-31"), "tells nothing new"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(file: Given, said: str) -> None:
    with pytest.raises(DataRejected, match=said):
        renewed(OURS, file, NOW)
