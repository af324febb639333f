"""Calendar months in UTC, by which features are kept: their names, their bounds, and which months a stretch of time touches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime

import numpy as np
import numpy.typing as npt

from quantstream.core.time import DAY, SECOND

TOGETHER = 3  # months of one symbol made in one go: their warm-up is computed once, and a quarter is little memory


def bounds(month: str) -> tuple[int, int]:
    """Return the start and end of `2024-03`, µs."""
    year, number = (int(part) for part in month.split("-"))
    following = (year + number // 12, number % 12 + 1)
    return _micros(year, number), _micros(*following)


def month_at(at: int) -> str:
    """Return the name of the month of a time, µs."""
    return f"{datetime.fromtimestamp(at // SECOND, UTC):%Y-%m}"


def months_of(opened_at: npt.NDArray[np.int64]) -> npt.NDArray[np.str_]:
    """Return the name of each time's month: (rows,)."""
    return np.datetime_as_string(opened_at.astype("datetime64[us]").astype("datetime64[M]"), unit="M")


def span_of(partition: str) -> tuple[int, int]:
    """Return the start and end (µs) of what a candles' partition holds: a day, `2024-03-05`, or a month, `2024-03`."""
    if partition.count("-") == 1:
        return bounds(partition)
    day = date.fromisoformat(partition[:10])
    start = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * SECOND
    return start, start + DAY


def stretches(months: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Yield the months in runs that follow one another, within a calendar quarter each."""
    run: list[str] = []
    for month in sorted(months):
        if run and (_number(month) != _number(run[-1]) + 1 or _number(month) % TOGETHER == 0):
            yield tuple(run)
            run = []
        run.append(month)
    if run:
        yield tuple(run)


def _number(month: str) -> int:
    year, number = (int(part) for part in month.split("-"))
    return year * 12 + number - 1


def _micros(year: int, month: int) -> int:
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * SECOND
