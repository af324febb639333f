"""The last closed candles of each symbol as arrays, filled from the lake and kept up by the candles topic.

A score needs a finite warm-up of contiguous candles; where it comes from must not matter, so this is the one place.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from quantstream.market import QUOTE_UNIT, UNIT, Candle, interval_length

PRICE_COLUMNS = ("open", "high", "low", "close", "volume")
COLUMNS = (*PRICE_COLUMNS, "quote_volume", "trade_count", "taker_buy_volume", "taker_buy_quote_volume")
RELOAD_EVERY = 3.0  # seconds between looks into the lake for a history that is still too short
LoadCandles = Callable[[str, int, int], pd.DataFrame]


def candle_floats(candle: Candle) -> tuple[float, ...]:
    """Return a candle's numbers in the order of `COLUMNS`, correctly rounded: what the lake's frame holds."""
    return (
        candle.open / UNIT,
        candle.high / UNIT,
        candle.low / UNIT,
        candle.close / UNIT,
        candle.volume / UNIT,
        candle.quote_volume / QUOTE_UNIT,
        float(candle.trade_count),
        candle.taker_buy_volume / UNIT,
        candle.taker_buy_quote_volume / QUOTE_UNIT,
    )


class CandleHistory:
    """The newest `size` candles of one symbol in time order."""

    def __init__(self, symbol: str, interval: str, size: int) -> None:
        self.symbol, self.interval, self.size = symbol, interval, size
        self.length = interval_length(interval)
        self._rows: dict[int, tuple[float, ...]] = {}  # by opening time, in time order
        self.loaded_at = float("-inf")  # monotonic seconds of the last look into the lake

    def add(self, candle: Candle) -> None:
        """Take a closed candle, or a revision of one."""
        is_newest = not self._rows or candle.opened_at > next(reversed(self._rows))
        self._rows[candle.opened_at] = candle_floats(candle)
        if not is_newest:
            self._rows = dict(sorted(self._rows.items()))
        while len(self._rows) > self.size:
            del self._rows[next(iter(self._rows))]

    def fill(self, frame: pd.DataFrame) -> None:
        """Take older candles from the lake; those already here win, for the topic may be ahead of the lake."""
        times = (frame["opened_at"].astype("int64") if len(frame) else pd.Series(dtype="int64")).to_numpy()
        values = frame.reindex(columns=list(COLUMNS)).to_numpy(dtype=np.float64, na_value=np.nan)
        older = {int(at): tuple(row) for at, row in zip(times, values, strict=True)}
        rows = dict(sorted((older | self._rows).items()))
        self._rows = dict(list(rows.items())[-self.size :])

    def frame(self) -> pd.DataFrame:
        """Return the contiguous candles up to the newest: no feature may look across a hole."""
        times = np.fromiter(self._rows.keys(), dtype=np.int64, count=len(self._rows))
        breaks = np.flatnonzero(np.diff(times) != self.length)
        start = int(breaks[-1]) + 1 if len(breaks) else 0
        values = np.array(list(self._rows.values())[start:], dtype=np.float64).reshape(-1, len(COLUMNS))
        frame = pd.DataFrame(values, columns=list(COLUMNS))
        frame.insert(0, "opened_at", pd.to_datetime(times[start:], unit="us", utc=True))
        frame.insert(0, "symbol", self.symbol)
        return frame

    @property
    def is_full(self) -> bool:
        """Whether the warm-up is there without a hole."""
        if len(self._rows) < self.size:
            return False
        oldest, newest = next(iter(self._rows)), next(reversed(self._rows))
        return newest - oldest == (self.size - 1) * self.length


class CandleHistories:
    """Histories of all symbols, loaded when first needed and again while they are too short."""

    def __init__(
        self, interval: str, size: int, load: LoadCandles, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`load(symbol, start, end)` reads the lake over `[start, end)` in µs."""
        self.interval, self.size, self.load, self.clock = interval, size, load, clock
        self._histories: dict[str, CandleHistory] = {}

    def add(self, candle: Candle) -> None:
        """Take a closed candle in."""
        history = self._histories.get(candle.symbol)
        if history is None:
            history = self._histories[candle.symbol] = CandleHistory(candle.symbol, self.interval, self.size)
        history.add(candle)

    def frame(self, candle: Candle) -> pd.DataFrame:
        """Return the contiguous history that ends with `candle`."""
        history = self._histories[candle.symbol]
        if not history.is_full and self.clock() - history.loaded_at >= RELOAD_EVERY:
            history.loaded_at = self.clock()
            start = candle.opened_at - self.size * history.length
            history.fill(self.load(candle.symbol, start, candle.opened_at))
        return history.frame()
