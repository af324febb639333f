"""What time it is where the news is made: New York's clock, and when the releases that move markets are scheduled.

Schedules are published months ahead, so they are known at any candle that they are used for: `releases.json` has each release's
time, source and, where it was looked up, the day of its announcement. What was not announced beforehand is not in here, nor is
what a release said; no candle is asked. A calendar ends: after a kind's `known_until` nothing of it is known to be scheduled, and
its features are 0, an ordinary hour, so that models go on. `use` puts a renewed calendar into its place (`ml.calendar`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from quantstream.core import time
from quantstream.features.grid import Times

Flags = npt.NDArray[np.bool_]

HOUR_US, DAY_US = time.HOUR, time.DAY
STANDARD = -5 * HOUR_US  # New York to UTC; an hour less in summer
FIRST_YEAR, LAST_YEAR = 2007, 2099  # of the rule: summer from March's second Sunday to November's first, at 2 h
THURSDAY = 3  # the weekday of 1970-01-01, Monday being 0
SATURDAY = 5
FILE = Path(__file__).with_name("releases.json")
KINDS = {  # what is meant, and when it comes out in New York, minutes after midnight
    "fed_decision": ("a decision of the Federal Reserve", 14 * 60),
    "consumer_prices": ("the U.S. consumer price index", 8 * 60 + 30),
    "employment": ("the U.S. employment situation", 8 * 60 + 30),
}
AHEAD_US = HOUR_US  # how far after a candle's close features look for releases, and how far back


@dataclass(frozen=True, order=True)
class Release:
    """One scheduled release: `at` in µs UTC; `announced_on` is empty where the day was not looked up."""

    at: int
    kind: str
    source: str = ""
    announced_on: str = ""


@dataclass(frozen=True)
class Calendar:
    """Releases of all kinds in order of time, and the last day (UTC) for which each kind's are known."""

    releases: tuple[Release, ...]
    known_until: Mapping[str, date]

    def times(self, kind: str) -> Times:
        """Return the times of a kind of release, UTC, µs, rising."""
        return self._times[kind]

    def ends(self, kind: str) -> int:
        """Return when what is known of a kind ends, µs UTC."""
        return _micros(self.known_until[kind] + timedelta(days=1))

    @cached_property
    def _times(self) -> dict[str, Times]:
        found = {
            kind: np.array([one.at for one in self.releases if one.kind == kind], dtype=np.int64) for kind in KINDS
        }
        for times in found.values():
            times.flags.writeable = False
        return found


@cache
def packaged() -> Calendar:
    """Return the calendar that this version of QuantStream brings."""
    found = json.loads(FILE.read_text(encoding="utf-8"))
    sources = found["sources"]
    each = (
        Release(_instant(one["at"]), one["kind"], sources[one["source"]], one["announced_on"] or "")
        for one in found["releases"]
    )
    return Calendar(tuple(sorted(each)), {kind: date.fromisoformat(day) for kind, day in found["known_until"].items()})


_used: list[Calendar] = []  # the newest that was taken up; replaced whole, so that a reader sees one or the other


def current() -> Calendar:
    """Return the calendar that features read."""
    return _used[0] if _used else packaged()


def use(calendar: Calendar | None) -> None:
    """Let features of this process read another calendar from their next row on; None: the one of this version."""
    _used[:] = [] if calendar is None else [calendar]


def new_york(at: Times) -> Times:
    """Return New York's wall clock at UTC times, both in µs since the epoch. Before 2007 summers are not told apart."""
    is_summer = np.searchsorted(_changes(), at, side="right") % 2
    return np.asarray(at + STANDARD + is_summer * HOUR_US, dtype=np.int64)


def is_weekend(local: Times) -> Flags:
    """Return which wall-clock times lie on a Saturday or Sunday."""
    return np.asarray((local // DAY_US + THURSDAY) % 7 >= SATURDAY)


def between(kind: str, begin: Times, end: Times) -> Flags:
    """Return whether a release of this kind is scheduled within `[begin, end)`, UTC, µs."""
    found = current().times(kind)
    return np.asarray(np.searchsorted(found, begin) < np.searchsorted(found, end))


def utc_of(local: Times) -> Times:
    """Return the UTC times of New York's wall clock, both in µs since the epoch."""
    found = local - STANDARD
    found -= new_york(found) - local  # an hour earlier in summer
    return np.asarray(found, dtype=np.int64)


def usual_time(kind: str, day: date) -> int:
    """Return when a release of a kind comes out on a day if it does at its usual time, µs UTC."""
    local = np.array([_micros(day) + KINDS[kind][1] * 60_000_000], dtype=np.int64)
    return int(utc_of(local)[0])


@cache
def _changes() -> Times:
    """When New York's summers begin and end, in turn, UTC, µs."""
    ends = []
    for year in range(FIRST_YEAR, LAST_YEAR + 1):
        begins, ceases = _sunday(year, 3, 2), _sunday(year, 11, 1)
        ends += [_micros(begins) + 2 * HOUR_US - STANDARD, _micros(ceases) + HOUR_US - STANDARD]
    return np.array(ends, dtype=np.int64)


def _sunday(year: int, month: int, which: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(6 - first.weekday()) % 7 + 7 * (which - 1))


def _instant(text: str) -> int:
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _micros(day: date) -> int:
    return (datetime(day.year, day.month, day.day) - datetime(1970, 1, 1)) // timedelta(microseconds=1)
