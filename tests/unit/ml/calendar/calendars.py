"""Times and releases for tests of the calendar."""

from __future__ import annotations

from datetime import date, datetime

from ml.calendar.renewal import Given
from quantstream.core.time import micros
from quantstream.features.releases import Release

ANNOUNCED = "2026-11-20"


def at(text: str) -> int:
    """µs UTC of `2027-01-13T13:30`."""
    return micros(datetime.fromisoformat(f"{text}+00:00"))


NOW = at("2026-11-28T12:00")


def prices(*times: str) -> list[Release]:
    """Releases of consumer prices."""
    return [Release(at(time), "consumer_prices", "bls.gov", ANNOUNCED) for time in times]


def given(*times: str, until: str = "2027-12-31") -> Given:
    """What a file with such releases holds."""
    return Given(prices(*times), {"consumer_prices": date.fromisoformat(until)})
