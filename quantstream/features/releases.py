"""What time it is where the news is made: New York's clock, and when the releases that move markets are scheduled.

Schedules are published months ahead, so they are known at any candle that they are used for: dates of the Federal Reserve's
decisions (federalreserve.gov, FOMC calendars) and of consumer prices and the employment situation (bls.gov, release
calendar; those of autumn 2025 as they were set anew). What was not announced beforehand is not in here, nor is what a release
said. After `KNOWN_UNTIL` nothing is scheduled: models then see ordinary hours.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import cache

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
KNOWN_UNTIL = date(2026, 12, 31)  # all kinds; the Federal Reserve's own calendar reaches a year farther

# kind → minutes after midnight in New York, and the days
RELEASES: dict[str, tuple[int, str]] = {
    "fed_decision": (
        14 * 60,
        """2021-01-27 2021-03-17 2021-04-28 2021-06-16 2021-07-28 2021-09-22 2021-11-03 2021-12-15
        2022-01-26 2022-03-16 2022-05-04 2022-06-15 2022-07-27 2022-09-21 2022-11-02 2022-12-14
        2023-02-01 2023-03-22 2023-05-03 2023-06-14 2023-07-26 2023-09-20 2023-11-01 2023-12-13
        2024-01-31 2024-03-20 2024-05-01 2024-06-12 2024-07-31 2024-09-18 2024-11-07 2024-12-18
        2025-01-29 2025-03-19 2025-05-07 2025-06-18 2025-07-30 2025-09-17 2025-10-29 2025-12-10
        2026-01-28 2026-03-18 2026-04-29 2026-06-17 2026-07-29 2026-09-16 2026-10-28 2026-12-09
        2027-01-27 2027-03-17 2027-04-28 2027-06-09 2027-07-28 2027-09-15 2027-10-27 2027-12-08""",
    ),
    "consumer_prices": (
        8 * 60 + 30,
        """2021-01-13 2021-02-10 2021-03-10 2021-04-13 2021-05-12 2021-06-10
        2021-07-13 2021-08-11 2021-09-14 2021-10-13 2021-11-10 2021-12-10
        2022-01-12 2022-02-10 2022-03-10 2022-04-12 2022-05-11 2022-06-10
        2022-07-13 2022-08-10 2022-09-13 2022-10-13 2022-11-10 2022-12-13
        2023-01-12 2023-02-14 2023-03-14 2023-04-12 2023-05-10 2023-06-13
        2023-07-12 2023-08-10 2023-09-13 2023-10-12 2023-11-14 2023-12-12
        2024-01-11 2024-02-13 2024-03-12 2024-04-10 2024-05-15 2024-06-12
        2024-07-11 2024-08-14 2024-09-11 2024-10-10 2024-11-13 2024-12-11
        2025-01-15 2025-02-12 2025-03-12 2025-04-10 2025-05-13 2025-06-11
        2025-07-15 2025-08-12 2025-09-11 2025-10-24 2025-12-18
        2026-01-13 2026-02-13 2026-03-11 2026-04-10 2026-05-12 2026-06-10
        2026-07-14 2026-08-12 2026-09-11 2026-10-14 2026-11-10 2026-12-10""",
    ),
    "employment": (
        8 * 60 + 30,
        """2021-01-08 2021-02-05 2021-03-05 2021-04-02 2021-05-07 2021-06-04
        2021-07-02 2021-08-06 2021-09-03 2021-10-08 2021-11-05 2021-12-03
        2022-01-07 2022-02-04 2022-03-04 2022-04-01 2022-05-06 2022-06-03
        2022-07-08 2022-08-05 2022-09-02 2022-10-07 2022-11-04 2022-12-02
        2023-01-06 2023-02-03 2023-03-10 2023-04-07 2023-05-05 2023-06-02
        2023-07-07 2023-08-04 2023-09-01 2023-10-06 2023-11-03 2023-12-08
        2024-01-05 2024-02-02 2024-03-08 2024-04-05 2024-05-03 2024-06-07
        2024-07-05 2024-08-02 2024-09-06 2024-10-04 2024-11-01 2024-12-06
        2025-01-10 2025-02-07 2025-03-07 2025-04-04 2025-05-02 2025-06-06
        2025-07-03 2025-08-01 2025-09-05 2025-11-20 2025-12-16
        2026-01-09 2026-02-11 2026-03-06 2026-04-03 2026-05-08 2026-06-05
        2026-07-02 2026-08-07 2026-09-04 2026-10-02 2026-11-06 2026-12-04""",
    ),
}


def new_york(at: Times) -> Times:
    """Return New York's wall clock at UTC times, both in µs since the epoch. Before 2007 summers are not told apart."""
    is_summer = np.searchsorted(_changes(), at, side="right") % 2
    return np.asarray(at + STANDARD + is_summer * HOUR_US, dtype=np.int64)


def is_weekend(local: Times) -> Flags:
    """Return which wall-clock times lie on a Saturday or Sunday."""
    return np.asarray((local // DAY_US + THURSDAY) % 7 >= SATURDAY)


def between(kind: str, begin: Times, end: Times) -> Flags:
    """Return whether a release of this kind is scheduled within `[begin, end)`, UTC, µs."""
    found = releases(kind)
    return np.asarray(np.searchsorted(found, begin) < np.searchsorted(found, end))


@cache
def releases(kind: str) -> Times:
    """Return the times of a kind of release, UTC, µs, rising."""
    minutes, days = RELEASES[kind]
    local = np.array([_micros(date.fromisoformat(day)) for day in days.split()], dtype=np.int64) + minutes * 60_000_000
    found = local - STANDARD
    found -= new_york(found) - local  # an hour earlier in summer
    found.flags.writeable = False
    return found


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


def _micros(day: date) -> int:
    return (datetime(day.year, day.month, day.day) - datetime(1970, 1, 1)) // timedelta(microseconds=1)
