"""The candles that a score was made of, put together again from the lake's: all revisions are there, and when each was known.

A scorer holds of each candle the highest revision that it has read, from the topic or from the lake. So at any time it held
what was known up to some moment, mostly that of the scored candle itself, a later one where it lagged behind and the lake
was ahead. The digest in the score tells which.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from quantstream.core.rolling import Floats
from quantstream.features import COLUMNS
from quantstream.features.history_digests import candle_digests, moved, summed
from quantstream.lake.reads import float_frame
from quantstream.lake.schemas import KNOWN_AT

Places = npt.NDArray[np.intp]  # of rows among all that are stored
ALWAYS = -1  # when rows of before `known_at` were known


@dataclass(frozen=True)
class Found:
    """The rows that a history consists of, by time; whether its digest says that they are the ones."""

    rows: Places
    is_proved: bool


class StoredCandles:
    """All revisions of one symbol's candles of one interval, by opening time and revision."""

    def __init__(self, rows: pa.Table) -> None:
        """`rows` are those of the lake's table."""
        rows = rows.sort_by([(name, "ascending") for name in ("opened_at", "revision", "is_complete")])
        self.at: npt.NDArray[np.int64] = rows["opened_at"].cast(pa.int64()).to_numpy()
        self.revision: npt.NDArray[np.int32] = rows["revision"].to_numpy()
        known = pc.fill_null(rows[KNOWN_AT].cast(pa.int64()), ALWAYS)
        self.known_at: npt.NDArray[np.int64] = known.to_numpy()
        frame = float_frame(rows.select(list(COLUMNS)))
        self.values: Floats = np.ascontiguousarray(frame.to_numpy(dtype=np.float64, na_value=np.nan).T)
        self.digests = candle_digests(self.at, self.values)

    def history(self, first: int, newest: int, revision: int, digest: int | None) -> Found | None:
        """Return what a scorer held from the candle at `first` to that revision of the one at `newest` (µs), None without it.

        Of the moments up to which candles may have been known it is the one that the digest fits; without a digest, or where
        none fits, that of the newest candle itself.
        """
        within = np.arange(*np.searchsorted(self.at, (first, newest + 1)))
        within = within[(self.at[within] < newest) | (self.revision[within] == revision)]
        if not len(within) or self.at[within[-1]] != newest:
            return None
        known = int(self.known_at[within[-1]])
        settled, disputed = self._parted(within, known)
        held: dict[int, int] = {}  # opening time → row, of the disputed ones
        by_default: dict[int, int] | None = None
        total = summed(self.digests[settled])
        for row in disputed.tolist():
            if total == digest:
                break
            if by_default is None and self.known_at[row] > known:
                by_default = dict(held)
            total = self._take(held, row, total)
        is_proved = total == digest
        chosen = held if is_proved or by_default is None else by_default
        return Found(np.sort(np.concatenate([settled, np.fromiter(chosen.values(), np.intp, len(chosen))])), is_proved)

    def _parted(self, within: Places, known: int) -> tuple[Places, Places]:
        """The rows that were there in any case, and in the order of their becoming known those of which it is not certain."""
        at = self.at[within]
        is_other = np.concatenate([[False], at[1:] == at[:-1]])
        is_disputed = is_other | np.append(is_other[1:], False) | (self.known_at[within] > known)
        disputed = within[is_disputed]
        order = np.lexsort((self.revision[disputed], self.at[disputed], self.known_at[disputed]))
        return within[~is_disputed], disputed[order]

    def _take(self, held: dict[int, int], row: int, total: int) -> int:
        """Hold one more row, if its revision is not older than what is held of its candle, and return the new digest."""
        at = int(self.at[row])
        before = held.get(at)
        if before is not None and self.revision[before] > self.revision[row]:
            return total
        held[at] = row
        return moved(total, 0 if before is None else int(self.digests[before]), int(self.digests[row]))
