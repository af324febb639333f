"""The last closed candles of every symbol, filled from the lake and kept up by the candles topic.

A score needs a finite warm-up of candles; where it comes from must not matter, so this is the one place. A lake that does not
answer holds nothing up: what is in memory serves, and the lake is asked again later.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import pandas as pd

from quantstream.core.candle import Candle
from quantstream.core.errors import Unavailable
from quantstream.core.time import interval_length
from quantstream.features import Series, opened_at_us
from streaming.score.candle_history import CandleHistory

FIRST_RELOAD, LAST_RELOAD = 3.0, 300.0  # seconds between looks into the lake; doubles while they bring nothing new
PATIENCE = 5.0  # seconds that a candle waits for the lake, the first time that it needs it
SLOW = 60.0  # seconds after which a lake that is being read counts as away
LONGEST_AWAY = 60.0  # seconds between tries of a lake that is away
LoadCandles = Callable[[str, int, int], pd.DataFrame]

log = logging.getLogger(__name__)


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

    def held(self, symbol: str) -> Series | None:
        """Return a history as it is in memory, None where there is none; the lake is not asked."""
        history = self._histories.get(symbol)
        return None if history is None else history.series()

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
        self._coming = history, self._executor.submit(self._read, *wanted), self.clock()

    def _read(self, symbol: str, start: int, end: int) -> pd.DataFrame:
        """Return the candles of a range, and the last one before it where the range begins with a gap: none of a young market."""
        frame = self.load(symbol, start, end)
        if len(frame) and int(opened_at_us(frame)[0]) <= start + interval_length(self.interval):
            return frame
        before = self.load(symbol, 2 * start - end, start).tail(1)
        return pd.concat([before, frame], ignore_index=True) if len(before) else frame

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
        history.pause = FIRST_RELOAD if new else min(2 * max(history.pause, FIRST_RELOAD), LAST_RELOAD)
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
