"""The last closed candles of each symbol as arrays, filled from the lake and kept up by the candles topic.

A score needs a finite warm-up of candles; where it comes from must not matter, so this is the one place. A lake that does not
answer holds nothing up: what is in memory serves, and the lake is asked again later.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import count

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quantstream.core.candle import Candle
from quantstream.core.decimals import UNIT
from quantstream.core.errors import Unavailable
from quantstream.core.time import interval_length
from quantstream.features import COLUMNS, STEP_US, Series, run_of

ROOM = 2_048  # candles to append before the arrays are moved back to their start: a week of five minutes
FIRST_RELOAD, LAST_RELOAD = 3.0, 300.0  # seconds between looks into the lake; doubles while they bring nothing new
PATIENCE = 5.0  # seconds that a candle waits for the lake, the first time that it needs it
SLOW = 60.0  # seconds after which a lake that is being read counts as away
LONGEST_AWAY = 60.0  # seconds between tries of a lake that is away
MOST_EDITS = 2**32  # of one history: those of another one, of the same symbol too, have other numbers
LoadCandles = Callable[[str, int, int], pd.DataFrame]

log = logging.getLogger(__name__)
_begun = count()


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
        self._revisions: NDArray[np.int32] = np.empty(size + ROOM, dtype=np.int32)
        self._start = self._end = 0
        self._edits = next(_begun) * MOST_EDITS
        self._sound: int | None = 0  # of the newest candles; None where it has to be found again
        self.reload_at = float("-inf")  # monotonic seconds
        self.pause = FIRST_RELOAD
        self.trouble = ""  # why what the lake holds of it cannot be taken

    @property
    def times(self) -> NDArray[np.int64]:
        """Opening times, µs, increasing."""
        return self._times[self._start : self._end]

    @property
    def values(self) -> NDArray[np.float64]:
        """The candles' numbers, (`COLUMNS`, candles)."""
        return self._values[:, self._start : self._end]

    @property
    def revisions(self) -> NDArray[np.int32]:
        """The candles' revisions: of two the higher one counts, whichever comes first."""
        return self._revisions[self._start : self._end]

    def add(self, candle: Candle) -> None:
        """Add a closed candle or a revision; one that is older than the history changes nothing."""
        times = self.times
        if len(times) == 0 or candle.opened_at > times[-1]:
            self._append(candle.opened_at, candle_floats(candle), candle.revision)
            return
        place = int(np.searchsorted(times, candle.opened_at))
        row = np.array(candle_floats(candle))
        if times[place] == candle.opened_at:
            if candle.revision < self.revisions[place]:
                return
            self.revisions[place] = candle.revision
            if not np.array_equal(self.values[:, place], row):
                self.values[:, place] = row
                self._edited()
        elif candle.opened_at > times[-1] - self.size * self.length:
            self._replace(
                np.insert(times, place, candle.opened_at),
                np.insert(self.values, place, row, axis=1),
                np.insert(self.revisions, place, candle.revision),
            )

    def fill(self, frame: pd.DataFrame) -> int:
        """Take older candles from the lake and return how many were new; those already here win, but for higher revisions."""
        at = (frame["opened_at"].astype("int64") if len(frame) else pd.Series(dtype="int64")).to_numpy()
        revisions = (
            frame["revision"].to_numpy(np.int32) if "revision" in frame.columns else np.zeros(len(at), dtype=np.int32)
        )
        places = np.searchsorted(self.times, at)
        is_here = np.append(self.times, -1)[places] == at
        is_new = ~is_here | (revisions > np.append(self.revisions, -1)[places])
        if not is_new.any():
            return 0
        values = frame.reindex(columns=list(COLUMNS)).to_numpy(dtype=np.float64, na_value=np.nan).T
        stays = np.ones(len(self.times), dtype=bool)
        stays[places[is_here & is_new]] = False
        times = np.concatenate([at[is_new], self.times[stays]])
        order = np.argsort(times, kind="stable")
        self._replace(
            times[order],
            np.concatenate([values[:, is_new], self.values[:, stays]], axis=1)[:, order],
            np.concatenate([revisions[is_new], self.revisions[stays]])[order],
        )
        return int(is_new.sum())

    def series(self) -> Series:
        """Return the candles up to the newest, not copied: they hold until the next one is added."""
        columns = dict(zip(COLUMNS, self.values, strict=True))
        if self._sound is None:
            self._sound = run_of(self.times, columns)
        return Series(self.times, columns, edits=self._edits, sound=self._sound)

    @property
    def is_full(self) -> bool:
        """Whether no window of the warm-up is missing."""
        return self._end - self._start == self.size

    def _append(self, at: int, row: tuple[float, ...], revision: int) -> None:
        if self._end == len(self._times):
            self._moved(self.times.copy(), self.values.copy(), self.revisions.copy())
        follows = self._end > self._start and at == self._times[self._end - 1] + STEP_US
        self._times[self._end], self._values[:, self._end] = at, row
        self._revisions[self._end] = revision
        self._end += 1
        if self._sound is not None and follows:
            self._sound += 1  # a candle's own prices are sound: its type sees to that
        else:
            self._sound = None
        self._trim()

    def _replace(self, times: NDArray[np.int64], values: NDArray[np.float64], revisions: NDArray[np.int32]) -> None:
        keep = times > times[-1] - self.size * self.length
        self._moved(times[keep], values[:, keep], revisions[keep])
        self._edited()

    def _moved(self, times: NDArray[np.int64], values: NDArray[np.float64], revisions: NDArray[np.int32]) -> None:
        self._start, self._end = 0, len(times)
        self._times[: self._end], self._values[:, : self._end] = times, values
        self._revisions[: self._end] = revisions

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
        executor: Executor | None = None,
        on_lake: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """`load(symbol, start, end)` reads the lake over `[start, end)` in µs; `executor` runs it while candles go on (a thread).

        `on_lake` is told why the lake cannot be read, once, and nothing when it can be again.
        """
        self.interval, self.size, self.load, self.clock = interval, size, load, clock
        self._executor = executor or ThreadPoolExecutor(1, "histories")
        self._on_lake = on_lake
        self._histories: dict[str, CandleHistory] = {}
        self._coming: tuple[CandleHistory, Future[pd.DataFrame], float] | None = None  # what is being read, since when
        self._away = ""  # why the lake cannot be read
        self._ask_at, self._pause = float("-inf"), FIRST_RELOAD

    def add(self, candle: Candle) -> None:
        """Add a closed candle."""
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
        """Return the history that ends with `candle`, from the lake if it was not read yet and answers soon."""
        history = self._histories[candle.symbol]
        if _is_unread(history) and not self._away and self._coming is not None:
            self._take(PATIENCE)  # another one's, or its own that `refresh` has asked for
        if _is_unread(history) and not self._away and self._coming is None:
            self._ask(history)
            self._take(PATIENCE)
        return history.series()

    def refresh(self) -> bool:
        """Load what one symbol lacks, if it is any symbol's turn, and tell whether it was: for idle turns, and never long.

        The lake is read aside, for that may take longer than a candle may wait. It never raises: a lake that cannot be read is
        asked again later.
        """
        if self._coming is not None:
            self._take(0)
            return not self._away
        now = self.clock()
        if now < self._ask_at:
            return False
        for history in self._histories.values():
            if now >= history.reload_at and not history.is_full:
                self._ask(history)
                return True
        return False

    def lacks(self, symbol: str) -> str:
        """Return why a history is shorter than it could be; empty when the lake has no more of it."""
        history = self._histories.get(symbol)
        if history is None or history.is_full:
            return ""
        if history.trouble:
            return f"its history cannot be taken from the lake: {history.trouble}"
        if _is_unread(history):
            return f"its history is not to be had: {self._away or 'the lake is still being read'}"
        return ""

    def newest(self) -> Iterator[tuple[str, Series]]:
        """Yield every symbol with its history."""
        for symbol, history in self._histories.items():
            yield symbol, history.series()

    def _ask(self, history: CandleHistory) -> None:
        newest = int(history.times[-1])
        wanted = history.symbol, newest - self.size * history.length, newest
        self._coming = history, self._executor.submit(self.load, *wanted), self.clock()

    def _take(self, patience: float) -> None:
        """Add the candles that are being read, if they come within so many seconds; note any error."""
        assert self._coming is not None
        history, found, since = self._coming
        try:
            frame = found.result(patience)
        except (Unavailable, TimeoutError) as error:
            if found.done():
                self._coming = None
                self._lost(str(error) or "the lake did not answer in time")
            elif patience or self.clock() - since > SLOW:
                self._lost("the lake has not answered yet")
            return
        except Exception as error:
            log.exception("a symbol's history cannot be read", extra={"symbol": history.symbol})
            self._coming = None
            self._set_aside(history, error)
            return
        self._coming = None
        self._found()
        try:
            new = history.fill(frame)
        except Exception as error:
            log.exception("a symbol's history is odd", extra={"symbol": history.symbol})
            self._set_aside(history, error)
            return
        history.trouble = ""
        history.pause = FIRST_RELOAD if new else min(history.pause * 2, LAST_RELOAD)
        history.reload_at = self.clock() + history.pause

    def _set_aside(self, history: CandleHistory, error: Exception) -> None:
        history.trouble = f"{type(error).__name__}: {error}"
        history.reload_at = self.clock() + LAST_RELOAD

    def _lost(self, reason: str) -> None:
        if not self._away:
            self._on_lake(reason)
        self._away = reason
        self._ask_at, self._pause = self.clock() + self._pause, min(2 * self._pause, LONGEST_AWAY)

    def _found(self) -> None:
        if self._away:
            self._on_lake("")
        self._away, self._ask_at, self._pause = "", float("-inf"), FIRST_RELOAD


def _is_unread(history: CandleHistory) -> bool:
    return history.reload_at == float("-inf") and not history.is_full
