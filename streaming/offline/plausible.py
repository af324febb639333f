"""Which trades are dated where their ids say: ids and times run alike, so a trade far from its neighbours has a false time or id.

Trades of one symbol, in order of id, are cut into *segments* wherever the time leaps. Where segments contradict each other,
those that go together and hold the most trades are believed (a longest increasing subsequence, weighted); the others are refused.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from itertools import pairwise

import numpy as np

from quantstream.core.time import DAY, MINUTE
from quantstream.decode.arrays import Flags, Ints

TOLERANCE = MINUTE  # by how much times may run against ids: the exchange's own do, by far less
FAR = DAY  # between trades whose ids follow one another
FEW = 3  # trades at either end of all: across such a leap they are taken for misdated


class Segments:
    """The segments of one symbol, as its trades come in order of id."""

    def __init__(self) -> None:
        self.starts, self.lows, self.highs = array("q"), array("q"), array("q")
        self.firsts, self.lasts = array("q"), array("q")  # ids
        self.trades = 0
        self._at = 0

    def add(self, at: Ints, first: Ints, last: Ints) -> None:
        """Take trades in: their times (µs) and ids."""
        if not len(at):
            return
        starts = self._cuts(at)
        bounds = np.concatenate([[0], starts]) if not len(starts) or starts[0] else starts
        ends = np.append(bounds[1:], len(at)) - 1
        lows, highs = np.minimum.reduceat(at, bounds), np.maximum.reduceat(at, bounds)
        begin = 0
        if self.trades and (not len(starts) or starts[0]):  # goes on with the last segment
            self.lows[-1], self.highs[-1] = min(self.lows[-1], int(lows[0])), max(self.highs[-1], int(highs[0]))
            self.lasts[-1] = int(last[ends[0]])
            begin = 1
        self.starts.extend((bounds[begin:] + self.trades).tolist())
        self.lows.extend(lows[begin:].tolist())
        self.highs.extend(highs[begin:].tolist())
        self.firsts.extend(first[bounds[begin:]].tolist())
        self.lasts.extend(last[ends[begin:]].tolist())
        self.trades += len(at)
        self._at = int(at[-1])

    def _cuts(self, at: Ints) -> Ints:
        """Return where a segment begins: after a leap, or where small steps back have added up to one."""
        before = np.concatenate([[self._at if self.trades else at[0]], at[:-1]])
        leaps = np.abs(at - before) > TOLERANCE
        if (at < before).any():
            high = self.highs[-1] if self.trades else int(at[0])
            if (at < np.maximum.accumulate(np.concatenate([[high], at]))[1:] - TOLERANCE).any():
                self._mark_drift(at, leaps, high)
        if not self.trades:
            leaps[0] = True
        return np.flatnonzero(leaps)

    @staticmethod
    def _mark_drift(at: Ints, leaps: Flags, high: int) -> None:
        for row, (time, leaps_here) in enumerate(zip(at.tolist(), leaps.tolist(), strict=True)):
            if leaps_here or time < high - TOLERANCE:
                leaps[row], high = True, time
            else:
                high = max(high, time)

    def refused(self) -> Ints | None:
        """Return the bounds of segments and which are refused, (rows, 3): first row, end row, 1 where refused; None for none."""
        low, high = np.array(self.lows), np.array(self.highs)
        starts = np.array(self.starts)
        ends = np.append(starts[1:], self.trades)
        believed = most_trades(low, high, ends - starts)
        self._drop_ends(believed, low, high, ends - starts)
        if believed.all():
            return None
        return np.stack([starts, ends, ~believed], axis=1)

    def _drop_ends(self, believed: Flags, low: Ints, high: Ints, size: Ints) -> None:
        """Refuse the few trades at either end that lie far from all others although no id is missing between."""
        for _ in range(2):
            kept = np.flatnonzero(believed)
            first, last = np.array(self.firsts)[kept], np.array(self.lasts)[kept]
            leaps = np.flatnonzero((low[kept][1:] - high[kept][:-1] > FAR) & (first[1:] == last[:-1] + 1)) + 1
            if not len(leaps):
                return
            for end in (kept[: leaps[0]], kept[leaps[-1] :]):
                few = int(size[end].sum())
                if few <= FEW and few < int(size[believed].sum()) - few:
                    believed[end] = False


def most_trades(low: Ints, high: Ints, size: Ints) -> Flags:
    """Return which segments are believed: none lies before the one believed before it, and together they hold the most."""
    believed = np.ones(len(low), np.bool_)
    reach = np.maximum.accumulate(high)
    if (low[1:] >= reach[:-1] - TOLERANCE).all():
        return believed
    floor = np.minimum.accumulate(low[::-1])[::-1]
    cuts = [0, *(np.flatnonzero(floor[1:] >= reach[:-1] - TOLERANCE) + 1).tolist(), len(low)]
    for begin, end in pairwise(cuts):
        if end - begin > 1:
            part = slice(begin, end)
            believed[part] = _heaviest(low[part].tolist(), high[part].tolist(), size[part].tolist(), not begin)
    return believed


def _heaviest(low: list[int], high: list[int], size: list[int], begins_all: bool) -> Flags:
    """Return which segments the best chain has: the most trades; of equals that begin anywhere the one that begins last.

    Chains are kept by where they end, only those that no other beats by ending sooner and being better.
    """
    ends: list[int] = []  # high of each chain's last segment, rising
    chains: list[tuple[int, int, int]] = []  # trades held, beginning, last segment; rising
    before: list[int] = []
    for number, (lowest, highest, count) in enumerate(zip(low, high, size, strict=True)):
        place = bisect_right(ends, lowest + TOLERANCE)
        held, begins, previous = chains[place - 1] if place else (0, lowest if begins_all else 0, -1)
        before.append(previous)
        worth = held + count, begins
        place = bisect_right(ends, highest)
        if place and chains[place - 1][:2] > worth:
            continue
        beaten = place
        while beaten < len(ends) and chains[beaten][:2] <= worth:
            beaten += 1
        while place and ends[place - 1] == highest:
            place -= 1
        ends[place:beaten], chains[place:beaten] = [highest], [(*worth, number)]
    believed = np.zeros(len(low), np.bool_)
    number = chains[-1][2]
    while number >= 0:
        believed[number], number = True, before[number]
    return believed
