"""Where a stored series has no candle between its first and its last one: outages of the exchange, or files that are missing."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantstream.binance.archive import Series
from quantstream.core.time import INTERVALS, SCORED, utc
from quantstream.lake.store import Lake


class Hole(NamedTuple):
    """`windows` candles are missing in `[start, end)`."""

    start: datetime
    end: datetime
    windows: int

    def __str__(self) -> str:
        """Say it in a sentence's part."""
        return f"{self.windows:,} candles from {self.start:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M} UTC"


def holes_of(lake: Lake, series: Series, first: date, after: date) -> list[Hole]:
    """Return where a series lacks candles within the days `[first, after)`, oldest first; of trades, those made of them.

    Raises: Unavailable.
    """
    start, end = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (first, after))
    rows = lake.read("candles", [series.symbol], start, end, columns=["opened_at", "interval"])
    interval = series.interval or SCORED
    rows = rows.filter(pc.equal(rows["interval"], interval))
    at = np.unique(rows["opened_at"].cast(pa.int64()).to_numpy())
    length = INTERVALS[interval]
    return [
        Hole(utc(int(at[row]) + length), utc(int(at[row + 1])), int(at[row + 1] - at[row]) // length - 1)
        for row in np.flatnonzero(np.diff(at) > length).tolist()
    ]
