"""Months that are checked in one go, with as much around them as their checks look at: they find what a whole check finds.

Checks look four weeks around a day. Where something goes on for longer (a silence, a chain of jumps that undo one another),
nobody can tell from a part, and the whole history is read.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ml.validation import engine
from ml.validation.candle_frames import Frames
from ml.validation.column_types import column_types
from ml.validation.incremental.history import History
from ml.validation.incremental.month_spans import CONTEXT, end_of, start_of
from ml.validation.other_frames import feature_frames
from quantstream import features
from quantstream.core.time import SCORED, WEEK, utc
from quantstream.lake.quarantine import without
from quantstream.lake.reads import float_frame

JUMPS = "expect_price_jumps_to_be_the_markets"


class ToFrames(Protocol):
    """What makes frames of stored candles."""

    def __call__(self, stretch: Stretch, stored: pa.Table, times: tuple[int, int], is_first: bool) -> Frames:
        """Return the frames of rows of `times` (µs); `is_first` says that no candle is older."""


@dataclass(frozen=True)
class Stretch:
    """Months of one symbol in a row, from the first to the last, of the candles as they were."""

    history: History
    symbol: str
    first: str
    last: str

    @property
    def months(self) -> list[str]:
        """The months that there are candles of."""
        return [month for month in self.history.months(self.symbol) if self.first <= month <= self.last]

    @property
    def earlier(self) -> list[str]:
        """The months before."""
        return [month for month in self.history.months(self.symbol) if month < self.first]

    @property
    def is_whole(self) -> bool:
        """Whether this is all there is."""
        return self.months == self.history.months(self.symbol)

    @property
    def whole(self) -> Stretch:
        """All months of the symbol."""
        months = self.history.months(self.symbol)
        return Stretch(self.history, self.symbol, months[0], months[-1])

    def candle_frames(self, to_frames: ToFrames) -> dict[str, pd.DataFrame] | None:
        """Return what is validated of the candles, with what lies around; None where all must be read to tell.

        Raises: Unavailable.
        """
        begin, finish = start_of(self.first) - CONTEXT, end_of(self.last) + CONTEXT
        stored = self._stored(begin, finish)
        at = stored["opened_at"].cast(pa.int64()).to_numpy()
        if self.earlier and not (at < start_of(self.first)).any():  # a pause: the candle before it counts
            begin = start_of(self.earlier[-1])
            stored = self._stored(begin, finish)
        is_first = all(start_of(month) >= begin for month in self.earlier)
        frames = to_frames(self, stored, (begin, finish), is_first)
        if not self.is_whole and self._goes_on(frames.rows, is_first):
            return None
        start, end = (utc(at) for at in self._times())
        types = column_types(self.history.lake, "candles", self.symbol, start, end)
        return {"rows": frames.rows, "days": frames.days, "columns": types}

    def feature_frames(self, held: Collection[str]) -> dict[str, pd.DataFrame]:
        """Return what is validated of the features of candles that are not held. Raises: Unavailable."""
        begin = start_of(self.first) - features.WARMUP * features.STEP_US
        candles = self._usable(begin, end_of(self.last), held)
        if not (len(candles) and features.opened_at_us(candles)[0] == begin):
            before = [one for one in (self._before(begin, held), candles) if len(one)]
            candles = pd.concat(before, ignore_index=True) if before else candles
        frames = feature_frames(candles)
        return {"rows": frames.rows, "days": frames.days}

    def _stored(self, begin: int, finish: int) -> pa.Table:
        rows = self.history.lake.read("candles", [self.symbol], utc(begin), utc(finish))
        return rows.filter(pc.field("interval") == SCORED)

    def _times(self) -> tuple[int, int]:
        return start_of(self.first), end_of(self.last)

    def _usable(self, begin: int, finish: int, held: Collection[str]) -> pd.DataFrame:
        rows = self.history.lake.candles([self.symbol], SCORED, utc(begin), utc(finish), with_quarantined=True)
        days = [(self.symbol, pd.Timestamp(day).date()) for day in held]
        return float_frame(without(rows, "candles", days))

    def _before(self, at: int, held: Collection[str]) -> pd.DataFrame:
        """Return the last candle before a time: it tells that features could look back that far."""
        for month in reversed([month for month in self.history.months(self.symbol) if start_of(month) < at]):
            if len(found := self._usable(start_of(month), min(end_of(month), at), held)):
                return found.tail(1)
        return pd.DataFrame()

    def _goes_on(self, rows: pd.DataFrame, is_first: bool) -> bool:
        """Tell whether something that checks look at goes on beyond what was read."""
        if not (len(rows) and {"close", "volume"} <= set(rows)):
            return False
        at = rows["opened_at"].to_numpy(np.int64)
        close, volume = (rows[name].to_numpy(np.float64) for name in ("close", "volume"))
        start, end = self._times()
        is_silent = [volume[(at >= low) & (at < low + WEEK)] == 0 for low in (start - WEEK, end)]
        if any(len(some) and some.all() for some in is_silent):
            return True
        with np.errstate(divide="ignore", invalid="ignore"):
            moves = np.abs(np.diff(np.log(np.where(close > 0, close, np.nan))))
        return not is_first and bool((moves[at[1:] <= at[0] + WEEK] > _least_jump()).any())


def _least_jump() -> float:
    asked = [one["kwargs"]["alone"] for one in engine.suite_of("candles")["expectations"] if one["type"] == JUMPS]
    return float(min(asked, default=np.inf))
