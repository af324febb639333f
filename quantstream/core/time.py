"""Times in µs since the epoch, UTC: intervals, and the windows that they cut time into."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from quantstream.core.errors import Misconfigured

MICROSECOND = 1
MILLISECOND = 1_000
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WEEK = 7 * DAY
EARLIEST = 1_230_768_000 * SECOND  # 2009-01-01: nothing in this market is older
LATEST = 4_102_444_800 * SECOND  # 2100-01-01
MILLISECONDS_FROM = 10**11  # what kind of number a time is: as seconds this one would be the year 5138
MICROSECONDS_FROM = 10**14  # as milliseconds likewise
NANOSECONDS_FROM = 10**17  # as microseconds likewise

INTERVALS = {
    "1m": MINUTE,
    "3m": 3 * MINUTE,
    "5m": 5 * MINUTE,
    "15m": 15 * MINUTE,
    "30m": 30 * MINUTE,
    "1h": HOUR,
    "4h": 4 * HOUR,
    "1d": DAY,
}
SCORED = "5m"  # the interval whose candles models learn from and judge
SCORED_LENGTH = INTERVALS[SCORED]


def to_micros(at: int) -> int:
    """Return a time of the exchange as µs; whether it is in ms or µs its size tells, without doubt from 2009 to 2100."""
    return at if at >= MICROSECONDS_FROM else at * MILLISECOND


def to_millis(at: int) -> int:
    """Return the ms that a time in µs lies in."""
    return at // MILLISECOND


def may_be_same(one: int, other: int) -> bool:
    """Tell whether two times (µs) can be one: they are equal, or one was told in whole ms and the other lies in that ms."""
    return one == other or (to_millis(one) == to_millis(other) and (one % MILLISECOND == 0 or other % MILLISECOND == 0))


def interval_length(interval: str) -> int:
    """Return the length of an interval in µs.

    Raises: Misconfigured for a name the exchange does not offer.
    """
    try:
        return INTERVALS[interval]
    except KeyError:
        raise Misconfigured(f"interval {interval!r} is not known; use one of {', '.join(INTERVALS)}") from None


def window_start(at: int, length: int) -> int:
    """Return the opening time of the window that holds `at`, both in µs."""
    return at - at % length


def utc(at: int) -> datetime:
    """Return µs since the epoch as a datetime."""
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=at)


def micros(at: datetime) -> int:
    """Return a datetime as µs since the epoch."""
    return (at - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
