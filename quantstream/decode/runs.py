"""A batch of trades cut into runs, each the trades of one symbol that a candle builder can take in one step.

Summing is left to numpy, deciding to the builder: a run is only a proposal (ids that follow one another, one window due to
close at most, slices of time already summed), and `CandleBuilder.add_stretch` refuses what is not as it seems. So the candles are
those of adding trade by trade, whatever the log holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
import numpy as np

from quantstream.core.partial_sums import Stretch, Window
from quantstream.decode.arrays import Flags, Ints
from quantstream.decode.columns import Batch

AT_ONCE = 32_768  # rows: what is computed of them stays in the processor's cache
ROOM = 1 << 62  # what a sum of int64 may come to, and by how much a float may be wrong to tell an exact one
Group = tuple[int, int]  # partition, code of the symbol
Known = tuple[int, int]  # to a builder before the batch: the highest id and the latest event time (µs)
NOTHING = -2, 0  # what is known of a symbol that nobody has heard of


class Run(msgspec.Struct, frozen=True, gc=False):
    """Rows of the batch (in order of arrival) of one symbol, and their sums; without sums to be taken one by one."""

    group: Group
    rows: Ints
    stretch: Stretch | None = None
    due: int = -1  # the row that passes the end of a window, the only one that does


def runs(batch: Batch, rows: Ints, known: Callable[[Group], Known], grid: int, lateness: int) -> Iterator[Run]:
    """Yield the runs of some rows of a batch, symbol by symbol, each in order of arrival. `grid`, `lateness` in µs.

    A run closes one window at most; every item is a run of its own. `known` is asked when the runs before were yielded: what
    they told a builder counts.
    """
    if not len(rows):
        return
    order, group, starts = by_group(batch, rows)
    for begin in range(0, len(order), AT_ONCE):
        end = min(begin + AT_ONCE, len(order))
        first = int(np.searchsorted(starts, begin, "right")) - 1
        last = int(np.searchsorted(starts, end))
        inside = np.maximum(starts[first:last] - begin, 0)
        before = np.array(list(map(known, group[first:last])))
        cut = _Cut(batch, order[begin:end], inside, before, grid, lateness)
        yield from _summed(cut, group[first:last])


def by_group(batch: Batch, rows: Ints) -> tuple[Ints, list[Group], Ints]:
    """Return the rows (ascending) sorted by group, the groups, and where each begins."""
    is_whole = len(rows) == len(batch)
    code, partition = (batch.code, batch.partition) if is_whole else (batch.code[rows], batch.partition[rows])
    width = int(code.max()) + 1
    key = partition * width + code
    small = key.astype(np.uint16) if int(key.max()) < 1 << 16 else key  # numpy sorts 16 bits by counting
    places = np.argsort(small, kind="stable")
    order, sorted_key = places if is_whole else rows[places], small[places]
    starts = np.flatnonzero(np.concatenate([[True], sorted_key[1:] != sorted_key[:-1]]))
    return order, [(each // width, each % width) for each in sorted_key[starts].tolist()], starts


class _Cut:
    """Some rows in order of their groups, and where they are to be cut."""

    def __init__(self, batch: Batch, rows: Ints, starts: Ints, known: Ints, grid: int, lateness: int) -> None:
        """`starts` is where each group begins among the rows, `known` (groups, 2) what is known of it."""
        self.rows, self.starts, self.grid, self.lateness = rows, starts, grid, lateness
        picked = batch.pick(rows)
        self.first, self.last, self.at, self.maker = picked.first, picked.last, picked.at, picked.maker
        self.price, self.quantity = picked.price, picked.quantity
        self.slice_at = self.at - self.at % grid
        is_new = known[:, 0] == NOTHING[0]  # then its first trade is as expected
        self.last_id = np.where(is_new, self.first[starts] - 1, known[:, 0])
        self.latest_at = np.where(is_new, self.at[starts], known[:, 1])

    def begins(self) -> tuple[Flags, Flags]:
        """Return where a run begins, and which rows close a window within one."""
        ends = self._ends()
        apart = (self.at == 0) | (ends > 1)
        begins = self._changes() | apart
        begins[1:] |= apart[:-1]
        closes, starts = ends == 1, np.flatnonzero(begins)
        several = np.add.reduceat(closes, starts, dtype=np.int64) > 1
        begins |= closes & np.repeat(several, np.diff(np.append(starts, len(begins))))
        return begins, closes

    def _changes(self) -> Flags:
        """Return where another group begins, ids do not follow one another, become new or old, or time goes back by a slice."""
        first, last = self.first, self.last
        highest = _highest_before(last, self.starts, self.last_id)
        fresh = first == highest + 1
        changes = np.zeros(len(first), np.bool_)
        changes[self.starts] = True
        changes[1:] |= (fresh[1:] != fresh[:-1]) | (self.slice_at[1:] < self.slice_at[:-1])
        changes[1:] |= first[1:] != last[:-1] + 1
        return changes

    def _ends(self) -> Ints:
        """Return how many ends of windows each row passes, as far as can be told from here: some it may not."""
        before = _highest_before(self.at, self.starts, self.latest_at)
        after = np.maximum(before, self.at)
        return np.asarray((after - self.lateness) // self.grid - (before - self.lateness) // self.grid, np.int64)


def _highest_before(values: Ints, starts: Ints, initial: Ints) -> Ints:
    """Return, for each row, the highest of its group's initial value and the values before it in its group."""
    sizes = np.diff(np.append(starts, len(values)))
    shifted = np.empty_like(values)
    shifted[1:] = values[:-1]
    shifted[starts] = initial
    base = np.minimum(np.minimum.reduceat(shifted, starts), initial)
    span = int((np.maximum.reduceat(shifted, starts) - base).max()) + 1
    if span > ROOM // len(starts):
        return shifted  # too far apart for one sweep: judged by neighbours alone, the builder sees to the rest
    offset = np.repeat(np.arange(len(starts)) * span - base, sizes)
    return np.maximum.accumulate(shifted + offset) - offset


def _summed(cut: _Cut, group: list[Group]) -> Iterator[Run]:
    order, at = cut.rows, cut.at
    begins, closes = cut.begins()
    run_starts = np.flatnonzero(begins)
    run_ends = np.append(run_starts[1:], len(order))
    begins[1:] |= cut.slice_at[1:] != cut.slice_at[:-1]
    slice_starts = np.flatnonzero(begins)
    slices = _slices(cut, slice_starts)
    first_slice = np.searchsorted(slice_starts, np.append(run_starts, len(order))).tolist()
    owner = (np.searchsorted(cut.starts, run_starts, "right") - 1).tolist()
    times = zip(
        at[run_starts].tolist(), at[run_ends - 1].tolist(), np.maximum.reduceat(at, run_starts).tolist(), strict=True
    )
    closing = np.flatnonzero(closes)
    due = np.full(len(run_starts), -1)
    due[np.searchsorted(run_starts, closing, "right") - 1] = order[closing]
    bounds = zip(run_starts.tolist(), run_ends.tolist(), first_slice, first_slice[1:], strict=False)
    for of, row, (start, end, begin, stop), (first_at, last_at, latest_at) in zip(
        owner, due.tolist(), bounds, times, strict=True
    ):
        is_summed = slices and latest_at
        stretch = (
            Stretch(slices[begin:stop], first_at, last_at, latest_at, row >= 0, end - start) if is_summed else None
        )
        yield Run(group[of], order[start:end], stretch, row)


def _slices(cut: _Cut, starts: Ints) -> list[Window]:
    """Return each slice's sums as a window; none at all when a sum might not fit, and rows then go one by one."""
    price, quantity = cut.price, cut.quantity
    ends = np.append(starts[1:], len(price)) - 1
    if int(quantity.max()) * len(price) >= ROOM:
        return []
    taken = quantity * ~cut.maker
    quote, taker_quote = _products(price, quantity, starts), _products(price, taken, starts)
    if quote is None or taker_quote is None:
        return []
    fields = (
        cut.slice_at[starts],
        price[starts],
        np.maximum.reduceat(price, starts),
        np.minimum.reduceat(price, starts),
        price[ends],
        np.add.reduceat(quantity, starts),
        quote,
        cut.last[ends] - cut.first[starts] + 1,
        np.add.reduceat(taken, starts),
        taker_quote,
        cut.first[starts],
        cut.last[ends],
    )
    return list(map(Window, *(each if isinstance(each, list) else each.tolist() for each in fields)))


def _products(price: Ints, quantity: Ints, starts: Ints) -> list[int] | None:
    """Return the exact sums of price × quantity from each start on, None when they are too large to tell.

    The sums are taken twice, modulo 2⁶⁴ and in floats: the float says how many times 2⁶⁴ is to be added to the remainder.
    """
    rest = np.add.reduceat(price.view(np.uint64) * quantity.view(np.uint64), starts)
    rough = np.add.reduceat(price.astype(np.float64) * quantity.astype(np.float64), starts)
    if float(rough.max()) * (len(price) + 4) >= 2.0**52 * ROOM:
        return None
    times = np.rint((rough - rest.astype(np.float64)) / 2.0**64).astype(np.int64)
    return [(wraps << 64) + each for wraps, each in zip(times.tolist(), rest.tolist(), strict=True)]
