"""Candles to arrays that a model can learn from: pooled over symbols, split by time, purged and embargoed.

The split is where look-ahead sneaks in, so it lives in one place: a row belongs to a part only if its label is known before
the next part begins, and the first rows after a boundary are left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.data import labels
from ml.data.disk_rows import DiskRows, forget
from quantstream import features
from quantstream.core.errors import DataRejected
from quantstream.core.rolling import Floats

Rows = npt.NDArray[np.intp]
EMBARGO = 12  # candles left out after a boundary: an hour, as long as the longest label
SHARES = (0.7, 0.1, 0.2)  # of the time: fit, calibrate, judge
BLOCK = 1 << 20  # rows looked at together where all are
FEWEST_TO_CALIBRATE = 100  # rows of each class: rows overlap, so some eight hours


@dataclass(frozen=True)
class Dataset:
    """Rows of all symbols, ordered by symbol and time; `features` is (rows, len(features.NAMES)), in memory or on disk.

    Where they are on disk all other columns are, too: what comes out of it are the rows that are asked for, and never all.
    """

    symbols: tuple[str, ...]
    symbol: npt.NDArray[np.integer[Any]]  # index into `symbols`
    opened_at: npt.NDArray[np.int64]  # µs
    close: Floats
    features: Floats | DiskRows
    labels: Mapping[str, Floats]

    @property
    def is_on_disk(self) -> bool:
        """Whether there are more rows than fit memory."""
        return isinstance(self.features, DiskRows)

    @property
    def spans(self) -> list[tuple[int, int]]:
        """The first row of each symbol and the one after its last."""
        edges = np.searchsorted(self.symbol, np.arange(len(self.symbols) + 1))
        return list(pairwise(edges.tolist()))

    def columns(self, names: Sequence[str]) -> npt.NDArray[np.intp]:
        """Return the places of some features."""
        return np.array([features.NAMES.index(name) for name in names], dtype=np.intp)

    def matrix(self, rows: Rows, names: Sequence[str]) -> Floats:
        """Return (rows, names)."""
        columns = self.columns(names)
        if isinstance(self.features, DiskRows):
            return self.features.take(rows, columns)
        matrix: Floats = self.features[np.ix_(rows, columns)]
        return matrix

    def sequences(self, rows: Rows, names: Sequence[str], length: int) -> Floats:
        """Return (rows, length, names): each row and those just before it. Only for rows that are `usable` with `length`."""
        steps = rows[:, None] + np.arange(1 - length, 1)[None, :]
        columns = self.columns(names)
        if isinstance(self.features, DiskRows):
            return self.features.take(steps.ravel(), columns).reshape(*steps.shape, len(columns))
        windows: Floats = self.features[steps[:, :, None], columns[None, None, :]]
        return windows

    def usable(self, names: Sequence[str], needed: Sequence[str], length: int = 1) -> Rows:
        """Return the rows whose features and labels are known, over `length` uninterrupted candles."""
        found = [np.zeros(0, dtype=np.intp)]
        columns = self.columns(names)
        for start in range(0, len(self.opened_at), BLOCK):
            first, end = max(start - length, 0), min(start + BLOCK, len(self.opened_at))
            known, follows = self._known(first, end, columns), np.zeros(end - first, dtype=np.bool_)
            at, symbol = self.opened_at[first:end], self.symbol[first:end]
            follows[1:] = (np.diff(at) == features.STEP_US) & (np.diff(symbol) == 0)
            fit = run_lengths(known, follows) >= length
            for label in needed:
                fit &= np.isfinite(self.labels[label][first:end])
            found.append(np.flatnonzero(fit[start - first :]) + start)
            self.forget()
        return np.concatenate(found)

    def forget(self) -> None:
        """Give back the memory of what was looked at on disk."""
        if isinstance(self.features, DiskRows):
            forget(self.symbol, self.opened_at, self.close, self.features.finite, *self.labels.values())

    def _known(self, start: int, end: int, columns: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
        if isinstance(self.features, DiskRows):
            return self.features.known(start, end, columns)
        return np.asarray(np.isfinite(self.features[start:end, columns]).all(axis=1), dtype=np.bool_)


@dataclass(frozen=True)
class Split:
    """Rows to fit on, to calibrate on and to judge on, in this order of time."""

    fit: Rows
    calibrate: Rows
    judge: Rows


def run_lengths(known: npt.NDArray[np.bool_], follows: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """Return for each row how many known rows in a row end at it; `follows` marks rows right after their neighbour."""
    at = np.arange(len(known))
    starts = known & ~(follows & np.concatenate([[False], known[:-1]]))
    start = np.maximum.accumulate(np.where(starts, at, -1))
    return np.where(known, at - start + 1, 0)


def build(candles: Mapping[str, pd.DataFrame], trailing: int = features.MONTH) -> Dataset:
    """Return the dataset of some symbols' candle frames (columns as `Lake.candle_frame`).

    Raises: DataRejected when there are no candles, or a frame is out of order.
    """
    frames = {symbol: frame for symbol, frame in sorted(candles.items()) if len(frame)}
    if not frames:
        raise DataRejected("there are no candles to learn from; run the history_backfill pipeline first")
    rows = [len(frame) for frame in frames.values()]
    targets = [labels.compute(frame, trailing) for frame in frames.values()]
    return Dataset(
        symbols=tuple(frames),
        symbol=np.repeat(np.arange(len(frames)), rows),
        opened_at=np.concatenate([features.opened_at_us(frame) for frame in frames.values()]),
        close=np.concatenate([frame["close"].to_numpy(dtype=np.float64) for frame in frames.values()]),
        features=np.concatenate([features.compute(frame).to_numpy() for frame in frames.values()]),
        labels={name: np.concatenate([part[name].to_numpy() for part in targets]) for name in labels.HORIZON},
    )


def split(data: Dataset, rows: Rows, label: str, shares: tuple[float, float, float] = SHARES) -> Split:
    """Split some rows by time over all symbols alike, purged by the label's end and embargoed after each boundary.

    Raises: DataRejected when a part would be empty.
    """
    if not len(rows):
        raise DataRejected(
            f"no candle has both its features and the label {label!r}; more history is needed (QUANTSTREAM_HISTORY_DAYS)"
        )
    ends = [(int(at.min()), int(at.max())) for at in (data.opened_at[some] for some in blocks(rows))]
    start, end = min(low for low, _ in ends), max(high for _, high in ends)
    data.forget()
    first = start + int((end - start) * shares[0])
    second = start + int((end - start) * (shares[0] + shares[1]))
    result = split_at(data, rows, label, first, second)
    if not (len(result.fit) and len(result.calibrate) and len(result.judge)):
        raise DataRejected(
            f"{len(rows)} usable candles are too few to fit, calibrate and judge on; raise QUANTSTREAM_HISTORY_DAYS"
        )
    return result


def split_at(data: Dataset, rows: Rows, label: str, first: int, second: int) -> Split:
    """Split at two given times (µs): fit before `first`, calibrate up to `second`, judge after it."""
    gap = EMBARGO * features.STEP_US
    parts: tuple[list[Rows], list[Rows], list[Rows]] = ([rows[:0]], [rows[:0]], [rows[:0]])
    for some in blocks(rows):
        at = data.opened_at[some]
        known_at = labels.ends_at(at, label)
        parts[0].append(some[known_at <= first])
        parts[1].append(some[(at >= first + gap) & (known_at <= second)])
        parts[2].append(some[at >= second + gap])
        data.forget()
    fit, calibrate, judge = (np.concatenate(part) for part in parts)
    return Split(fit, calibrate, judge)


def some_symbols(data: Dataset, rows: Rows, most: int) -> Rows:
    """Return the rows, in order, of as many symbols as have `most` of them together, one at least; of each symbol all.

    Which ones their names decide, so it is the same for every model, and hardly another as symbols come and go.
    """
    if len(rows) <= most:
        return rows
    edges = np.searchsorted(rows, [start for start, _ in data.spans] + [len(data.opened_at)])
    by_name = sorted(range(len(data.symbols)), key=lambda i: hashlib.blake2b(data.symbols[i].encode()).digest())
    chosen, total = list[int](), 0
    for i in by_name:
        total += int(edges[i + 1] - edges[i])
        if chosen and total > most:
            break
        chosen += [i] if edges[i] < edges[i + 1] else []
    return np.concatenate([rows[edges[i] : edges[i + 1]] for i in sorted(chosen)])


def blocks(rows: Rows, size: int = BLOCK) -> Iterator[Rows]:
    """Yield the rows, some at a time."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def calibrating(split: Split, classes: Floats, count: int) -> Rows:
    """Return the rows to calibrate on: the split's own, and those fitted on where they know too little of one of the classes.

    A calm fortnight without an abnormal hour would otherwise teach that there are none.
    """
    known = np.bincount(classes[split.calibrate].astype(int), minlength=count)
    return split.calibrate if known.min() >= FEWEST_TO_CALIBRATE else np.concatenate([split.fit, split.calibrate])


def thin(rows: Rows, most: int, seed: int) -> Rows:
    """Return at most so many of the rows, drawn evenly without replacement, in order."""
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
