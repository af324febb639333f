"""A batch of trades cut into runs, each the trades of one symbol that a candle builder can take in one step.

Summing is left to numpy, deciding to the builder: a run is only a proposal (ids that follow one another, no window due to close,
slices of time already summed), and `CandleBuilder.add_run` refuses what is not as it seems. So the candles are those of adding
trade by trade, whatever the log holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec
import numpy as np

from quantstream.candles import Window
from streaming.columns import Columns
from streaming.digits import Flags, Ints

WRAP = 1 << 64
ROOM = 1 << 62  # what a sum of int64 may come to, and by how much a float may be wrong to tell an exact one
Group = tuple[int, int]  # partition, code of the symbol


class Known(msgspec.Struct, frozen=True, gc=False):
    """What a builder knew before the batch: the highest id and the latest event time (µs)."""

    last_id: int
    latest_at: int


class Run(msgspec.Struct, frozen=True):
    """Rows of the batch (in order of arrival) of one symbol: summed in `slices`, or to be taken one by one when empty."""

    group: Group
    rows: Ints
    slices: list[Window]
    last_at: int = 0  # of the last trade, µs
    latest_at: int = 0  # of any of its trades, µs


def groups(columns: Columns, rows: Ints) -> list[Group]:
    """Return every partition and symbol of some rows of a batch, all of which have a code."""
    partition, code = columns.partition[rows], columns.code[rows]
    width = int(code.max(initial=0)) + 1
    found = np.flatnonzero(np.bincount(partition * width + code))
    return [(key // width, key % width) for key in found.tolist()]


def runs(columns: Columns, rows: Ints, known: Mapping[Group, Known], grid: int, lateness: int) -> Iterator[Run]:
    """Yield the runs of some rows of a batch, each symbol's in order of arrival. `grid`, `lateness` in µs.

    A symbol that is not `known` begins with a row of its own, as does every row that may close a window or is an item.
    """
    if not len(rows):
        return
    order, group, starts = by_group(columns, rows)
    before = [known.get(each) for each in group]
    cut = _Cut(columns, order, starts, [each or Known(-1, 0) for each in before], grid, lateness)
    alone = cut.alone()
    alone[starts[[place for place, each in enumerate(before) if each is None]]] = True
    begins = cut.changes | alone
    begins[1:] |= alone[:-1]
    yield from _summed(columns, order, begins, cut, group)


def by_group(columns: Columns, rows: Ints) -> tuple[Ints, list[Group], Ints]:
    """Return the rows sorted by group, the groups, and where each begins."""
    width = int(columns.code[rows].max()) + 1
    key = columns.partition[rows] * width + columns.code[rows]
    small = key.astype(np.uint16) if int(key.max()) < 1 << 16 else key  # numpy sorts 16 bits by counting
    order = rows[np.argsort(small, kind="stable")]
    sorted_key = columns.partition[order] * width + columns.code[order]
    starts = np.flatnonzero(np.concatenate([[True], sorted_key[1:] != sorted_key[:-1]]))
    return order, [(each // width, each % width) for each in sorted_key[starts].tolist()], starts


class _Cut:
    """Where the sorted rows of a batch are to be cut."""

    def __init__(
        self, columns: Columns, order: Ints, starts: Ints, known: list[Known], grid: int, lateness: int
    ) -> None:
        self.first, self.last, self.at = columns.first[order], columns.last[order], columns.at[order]
        self.is_item = self.at == 0
        self.slice_at = self.at - self.at % grid
        self.starts, self.known, self.grid, self.lateness = starts, known, grid, lateness
        highest = _highest_before(self.last, starts, np.array([each.last_id for each in known]))
        fresh = self.first == highest + 1
        self.changes = np.zeros(len(order), np.bool_)
        self.changes[starts] = True
        self.changes[1:] |= (fresh[1:] != fresh[:-1]) | (self.slice_at[1:] < self.slice_at[:-1])
        self.changes[1:] |= self.first[1:] != self.last[:-1] + 1

    def alone(self) -> Flags:
        """Return the rows that may close a window, as far as can be told from here, and the items."""
        latest = np.array([each.latest_at for each in self.known])
        before = _highest_before(self.at, self.starts, latest)
        after = np.maximum(before, self.at)
        is_due = (after - self.lateness) // self.grid > (before - self.lateness) // self.grid
        return np.asarray(is_due | self.is_item, np.bool_)


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


def _summed(columns: Columns, order: Ints, begins: Flags, cut: _Cut, group: list[Group]) -> Iterator[Run]:
    run_starts = np.flatnonzero(begins)
    run_ends = np.append(run_starts[1:], len(order))
    begins[1:] |= cut.slice_at[1:] != cut.slice_at[:-1]
    slice_starts = np.flatnonzero(begins)
    slices = _slices(columns, order, slice_starts, cut)
    first_slice = np.searchsorted(slice_starts, np.append(run_starts, len(order))).tolist()
    owner = (np.searchsorted(cut.starts, run_starts, "right") - 1).tolist()
    latest = np.maximum.reduceat(cut.at, run_starts).tolist()
    last_at = cut.at[run_ends - 1].tolist()
    for number, (start, end) in enumerate(zip(run_starts.tolist(), run_ends.tolist(), strict=True)):
        parts = slices[first_slice[number] : first_slice[number + 1]] if slices and latest[number] else []
        yield Run(group[owner[number]], order[start:end], parts, last_at[number], latest[number])


def _slices(columns: Columns, order: Ints, starts: Ints, cut: _Cut) -> list[Window]:
    """Return each slice's sums as a window; none at all when a sum might not fit, and rows then go one by one."""
    price, quantity = columns.price[order], columns.quantity[order]
    ends = np.append(starts[1:], len(order)) - 1
    count = len(order)
    if int(quantity.max()) * count >= ROOM:
        return []
    taken = ~columns.maker[order]
    quote = _products(price, quantity, starts)
    taker_quote = _products(price, quantity * taken, starts)
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
        np.add.reduceat(quantity * taken, starts),
        taker_quote,
        cut.first[starts],
        cut.last[ends],
    )
    return list(map(Window, *(each if isinstance(each, list) else each.tolist() for each in fields)))


def _products(price: Ints, quantity: Ints, starts: Ints) -> list[int] | None:
    """Return the exact sums of price × quantity from each start on, None when they are too large to tell.

    The sums are taken twice, modulo 2⁶⁴ and in floats: the float says which of the numbers with that remainder it is.
    """
    wrapped = np.add.reduceat(price.view(np.uint64) * quantity.view(np.uint64), starts).tolist()
    rough = np.add.reduceat(price.astype(np.float64) * quantity.astype(np.float64), starts)
    if float(rough.max()) * (len(price) + 4) >= 2.0**52 * ROOM:
        return None
    sums = []
    for remainder, near in zip(wrapped, map(int, rough.tolist()), strict=True):
        beyond = (remainder - near) % WRAP
        sums.append(near + beyond - (WRAP if beyond >= WRAP // 2 else 0))
    return sums
