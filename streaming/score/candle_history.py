"""The last closed candles of one symbol as arrays in time order, however they come: one by one, revised, or from the lake."""

from __future__ import annotations

from itertools import count

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quantstream.core.candle import Candle
from quantstream.core.decimals import UNIT
from quantstream.core.time import interval_length
from quantstream.features import COLUMNS, STEP_US, Series, run_of
from quantstream.features.history_digests import Digests, candle_digests, moved, summed

ROOM = 2_048  # candles to append before the arrays are moved back to their start: a week of five minutes
MOST_EDITS = 2**32  # of one history: those of another one, of the same symbol too, have other numbers
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
    """The candles of one symbol over the newest `size` windows, in time order, in arrays with room to append.

    Where the candle of the oldest window is missing, the last one before it is held, too.
    """

    def __init__(self, symbol: str, interval: str, size: int) -> None:
        self.symbol, self.interval, self.size = symbol, interval, size
        self.length = interval_length(interval)
        self._times: NDArray[np.int64] = np.empty(size + ROOM, dtype=np.int64)
        self._values: NDArray[np.float64] = np.empty((len(COLUMNS), size + ROOM))
        self._revisions: NDArray[np.int32] = np.empty(size + ROOM, dtype=np.int32)
        self._digests: Digests = np.empty(size + ROOM, dtype=np.uint64)
        self._digest = 0  # the sum of those of the candles held
        self._start = self._end = 0
        self._edits = next(_begun) * MOST_EDITS
        self._sound: int | None = 0  # of the newest candles; None where it has to be found again
        self.reload_at = float("-inf")  # monotonic seconds: when the lake is asked for more of it
        self.pause = (
            0.0  # seconds from one such question to the next; `CandleHistories` doubles it while they bring nothing
        )
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

    @property
    def digests(self) -> Digests:
        """The digest of each candle."""
        return self._digests[self._start : self._end]

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
                digest = _digest(candle.opened_at, row)
                self._digest = moved(self._digest, int(self.digests[place]), digest)
                self.digests[place] = digest
                self._edited()
        elif place >= self._begin(later := np.insert(times, place, candle.opened_at)):
            self._replace(
                later,
                np.insert(self.values, place, row, axis=1),
                np.insert(self.revisions, place, candle.revision),
                np.insert(self.digests, place, np.uint64(_digest(candle.opened_at, row))),
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
        together = np.union1d(at, self.times)
        is_new &= at >= together[self._begin(together)]
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
            np.concatenate([candle_digests(at[is_new], values[:, is_new]), self.digests[stays]])[order],
        )
        return int(is_new.sum())

    def series(self) -> Series:
        """Return the candles up to the newest, not copied: they hold until the next one is added."""
        columns = dict(zip(COLUMNS, self.values, strict=True))
        if self._sound is None:
            self._sound = run_of(self.times, columns)
        return Series(self.times, columns, edits=self._edits, sound=self._sound, digest=self._digest)

    @property
    def is_full(self) -> bool:
        """Whether no window of the warm-up is missing."""
        return self._end - self._start == self.size and self.times[0] > self.times[-1] - self.size * self.length

    def _append(self, at: int, row: tuple[float, ...], revision: int) -> None:
        if self._end == len(self._times):
            self._moved(self.times.copy(), self.values.copy(), self.revisions.copy(), self.digests.copy())
        follows = self._end > self._start and at == self._times[self._end - 1] + STEP_US
        self._times[self._end], self._values[:, self._end] = at, row
        self._revisions[self._end] = revision
        self._digests[self._end] = digest = _digest(at, np.array(row))
        self._digest = moved(self._digest, 0, digest)
        self._end += 1
        if self._sound is not None and follows:
            self._sound += 1  # a candle's own prices are sound: its type sees to that
        else:
            self._sound = None
        self._trim()

    def _replace(
        self, times: NDArray[np.int64], values: NDArray[np.float64], revisions: NDArray[np.int32], digests: Digests
    ) -> None:
        keep = slice(self._begin(times), None)
        self._moved(times[keep], values[:, keep], revisions[keep], digests[keep])
        self._digest = summed(self.digests)
        self._edited()

    def _moved(
        self, times: NDArray[np.int64], values: NDArray[np.float64], revisions: NDArray[np.int32], digests: Digests
    ) -> None:
        self._start, self._end = 0, len(times)
        self._times[: self._end], self._values[:, : self._end] = times, values
        self._revisions[: self._end], self._digests[: self._end] = revisions, digests

    def _edited(self) -> None:
        self._edits += 1
        self._sound = None

    def _trim(self) -> None:
        for place in range(self._start, self._start + self._begin(self.times)):
            self._digest = moved(self._digest, int(self._digests[place]), 0)
            self._start = place + 1

    def _begin(self, times: NDArray[np.int64]) -> int:
        """Where candles begin that count: at the oldest window or, if its candle is missing, at the last one before it.

        That one shows that the gap is none of a market which is younger: what reaches back into a gap can be known, what reaches
        back to before a market began cannot. It is given up when it is twice as old as the oldest window.
        """
        if not len(times):
            return 0
        begin = max(int(np.searchsorted(times, times[-1] - (self.size - 1) * self.length, side="right")) - 1, 0)
        return begin + int(times[begin] <= times[-1] - 2 * self.size * self.length)


def _digest(at: int, row: NDArray[np.float64]) -> int:
    return int(candle_digests(np.array([at]), row[:, None])[0])
