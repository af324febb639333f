"""Months in UTC by their names, `2026-01`: which is when, which are near which, and which are checked in one go."""

from __future__ import annotations

from collections.abc import Iterable

from quantstream.core.time import DAY, LATEST, micros
from quantstream.lake.reads import month_bounds

CONTEXT = 35 * DAY  # what a day's checks look at, on each side: four whole weeks from the week's end that it is in
NEAR = 2  # months: so many hold all of that


def start_of(month: str) -> int:
    """Return when a month begins, µs."""
    return micros(month_bounds(month)[0])


def end_of(month: str) -> int:
    """Return when a month is over, µs."""
    return micros(month_bounds(month)[1])


def shifted(month: str, by: int) -> str:
    """Return the month so many months later."""
    number = int(month[:4]) * 12 + int(month[5:]) - 1 + by
    return f"{number // 12:04}-{number % 12 + 1:02}"


def around(month: str, near: int = NEAR) -> set[str]:
    """Return a month and those near it."""
    return {shifted(month, by) for by in range(-near, near + 1)}


def groups(months: Iterable[str]) -> list[tuple[str, str]]:
    """Return the first and the last month of each group that is read in one go, as what they look at overlaps."""
    found: list[tuple[str, str]] = []
    for month in sorted(months):
        if found and month <= shifted(found[-1][1], 2 * NEAR):
            found[-1] = found[-1][0], month
        else:
            found.append((month, month))
    return found


def is_over(month: str, now: int, settle: int) -> bool:
    """Tell whether all of a month should be there by a time (µs)."""
    return end_of(month) + settle <= min(now, LATEST)
