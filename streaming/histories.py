"""The last closed candles of each symbol as arrays, filled from the lake and kept up by the candles topic.

A score needs a finite warm-up of candles; where it comes from must not matter, so this is the one place.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quantstream.features import COLUMNS, STEP_US, Series, run_of
from quantstream.market import UNIT, Candle, interval_length

ROOM = 2_048  # candles to append before the arrays are moved back to their start: a week of five minutes
FIRST_RELOAD, LAST_RELOAD = 3.0, 300.0  # seconds between looks into the lake; doubles while they bring nothing new
LoadCandles = Callable[[str, int, int], pd.DataFrame]


def candle_floats(candle: Candle) -> tuple[float, ...]:
    """Return a candle's numbers in the order of `COLUMNS`, correctly rounded: what the lake's frame holds."""
    return (
        candle.open / UNIT,
        candle.high / UNIT,
        candle.low / UNIT,
        candle.close / UNIT,
        candle.volume / UNIT,
        candle.taker_buy_volume / UNIT,
    )


class CandleHistory:
    """The candles of one symbol over the newest `size` windows, in time order, in arrays with room to append."""

    def __init__(self, symbol: str, interval: str, size: int) -> None:
        self.symbol, self.interval, self.size = symbol, interval, size
        self.length = interval_length(interval)
        self._times: NDArray[np.int64] = np.empty(size + ROOM, dtype=np.int64)
        self._values: NDArray[np.float64] = np.empty((len(COLUMNS), size + ROOM))
        self._start = self._end = 0
        self._edits = 0
        self._sound: int | None = 0  # of the newest candles; None where it has to be found again
        self.reload_at = float("-inf")  # monotonic seconds
        self.pause = FIRST_RELOAD

    @property
    def times(self) -> NDArray[np.int64]:
        """Opening times, µs, increasing."""
        return self._times[self._start : self._end]

    @property
    def values(self) -> NDArray[np.float64]:
        """The candles' numbers, (`COLUMNS`, candles)."""
        return self._values[:, self._start : self._end]

    def add(self, candle: Candle) -> None:
        """Take a closed candle, or a revision of one."""
        times = self.times
        if len(times) == 0 or candle.opened_at > times[-1]:
            self._append(candle.opened_at, candle_floats(candle))
            return
        place = int(np.searchsorted(times, candle.opened_at))
        row = np.array(candle_floats(candle))
        if times[place] == candle.opened_at:
            self.values[:, place] = row
            self._edited()
        elif candle.opened_at > times[-1] - self.size * self.length:
            self._replace(np.insert(times, place, candle.opened_at), np.insert(self.values, place, row, axis=1))

    def fill(self, frame: pd.DataFrame) -> int:
        """Take older candles from the lake and return how many were new; those already here win."""
        known = {int(at) for at in self.times}
        at = (frame["opened_at"].astype("int64") if len(frame) else pd.Series(dtype="int64")).to_numpy()
        is_new = np.array([int(time_) not in known for time_ in at], dtype=bool)
        if not is_new.any():
            return 0
        values = frame.reindex(columns=list(COLUMNS)).to_numpy(dtype=np.float64, na_value=np.nan).T
        times = np.concatenate([at[is_new], self.times])
        order = np.argsort(times, kind="stable")
        self._replace(times[order], np.concatenate([values[:, is_new], self.values], axis=1)[:, order])
        return int(is_new.sum())

    def series(self) -> Series:
        """Return the candles up to the newest, not copied: they hold until the next one is added."""
        columns = dict(zip(COLUMNS, self.values, strict=True))
        if self._sound is None:
            self._sound = run_of(self.times, columns)
        return Series(self.times, columns, edits=self._edits, sound=self._sound)

    @property
    def is_full(self) -> bool:
        """Whether every window of the warm-up is there."""
        return self._end - self._start == self.size

    def _append(self, at: int, row: tuple[float, ...]) -> None:
        if self._end == len(self._times):
            self._moved(self.times.copy(), self.values.copy())
        follows = self._end > self._start and at == self._times[self._end - 1] + STEP_US
        self._times[self._end], self._values[:, self._end] = at, row
        self._end += 1
        if self._sound is not None and follows:
            self._sound += 1  # a candle's own prices are sound: its type sees to that
        else:
            self._sound = None
        self._trim()

    def _replace(self, times: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        keep = times > times[-1] - self.size * self.length
        self._moved(times[keep], values[:, keep])
        self._edited()

    def _moved(self, times: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        self._start, self._end = 0, len(times)
        self._times[: self._end], self._values[:, : self._end] = times, values

    def _edited(self) -> None:
        self._edits += 1
        self._sound = None

    def _trim(self) -> None:
        oldest = self._times[self._end - 1] - self.size * self.length
        while self._times[self._start] <= oldest:
            self._start += 1


class CandleHistories:
    """Histories of all symbols, loaded before they are needed where there is time, and again while windows are missing."""

    def __init__(
        self,
        interval: str,
        size: int,
        load: LoadCandles,
        clock: Callable[[], float] = time.monotonic,
        aside: Executor | None = None,
    ) -> None:
        """`load(symbol, start, end)` reads the lake over `[start, end)` in µs; `aside` runs it while candles go on (a thread)."""
        self.interval, self.size, self.load, self.clock = interval, size, load, clock
        self._aside = aside or ThreadPoolExecutor(1, "histories")
        self._histories: dict[str, CandleHistory] = {}
        self._coming: tuple[CandleHistory, Future[pd.DataFrame]] | None = None

    def add(self, candle: Candle) -> None:
        """Take a closed candle in."""
        history = self._histories.get(candle.symbol)
        if history is None:
            history = self._histories[candle.symbol] = CandleHistory(candle.symbol, self.interval, self.size)
        history.add(candle)

    def forget(self, symbol: str) -> None:
        """Drop a symbol that another process scores now."""
        self._histories.pop(symbol, None)
        if self._coming is not None and self._coming[0].symbol == symbol:
            self._coming = None

    def series(self, candle: Candle) -> Series:
        """Return the history that ends with `candle`, from the lake if it was not read yet."""
        history = self._histories[candle.symbol]
        if history.reload_at == float("-inf") and not history.is_full:
            self._load(history)
        return history.series()

    def refresh(self) -> bool:
        """See to what one symbol lacks, and tell whether it was any's turn: for when no candle waits, and never long.

        The lake is read aside, for that may take longer than a candle may wait. Raises: what `load` raises.
        """
        if self._coming is not None:
            history, found = self._coming
            if found.done():
                self._coming = None
                self._take(history, found.result())
            return True
        now = self.clock()
        for history in self._histories.values():
            if now >= history.reload_at and not history.is_full:
                self._coming = history, self._aside.submit(self.load, *self._lacking(history))
                return True
        return False

    def newest(self) -> Iterator[tuple[str, Series]]:
        """Yield every symbol with its history as it is."""
        for symbol, history in self._histories.items():
            yield symbol, history.series()

    def _load(self, history: CandleHistory) -> None:
        self._take(history, self.load(*self._lacking(history)))

    def _lacking(self, history: CandleHistory) -> tuple[str, int, int]:
        newest = int(history.times[-1])
        return history.symbol, newest - self.size * history.length, newest

    def _take(self, history: CandleHistory, frame: pd.DataFrame) -> None:
        found = history.fill(frame)
        history.pause = FIRST_RELOAD if found else min(history.pause * 2, LAST_RELOAD)
        history.reload_at = self.clock() + history.pause
