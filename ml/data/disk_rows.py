"""Rows of features that do not fit memory, taken out by number from the files that they were written into.

Only those that are asked for are read, and no copy of the others is made: models learn from an even share of the rows. What each
row is asked for (its time, its labels, which features it has) is copied to scratch: files that have no name once they are open,
so that whatever ends a process, their space comes back.
"""

from __future__ import annotations

import mmap
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from quantstream.core.errors import Unavailable
from quantstream.core.rolling import Floats

Columns = npt.NDArray[np.intp]
ReadPart = Callable[[int, Columns], Sequence[npt.NDArray[np.floating[Any]]]]
BITS = 64
AT_ONCE = 8  # parts read together: on object storage most of the time is waiting for answers


@dataclass(frozen=True)
class DiskRows:
    """A matrix of floats in parts, (rows, width), and beside it which values are finite, a bit each."""

    edges: npt.NDArray[np.intp]  # the first row of each part and the one after the last part's last
    read: ReadPart  # some columns of a part, by its number: (rows of the part,) each
    finite: npt.NDArray[np.uint64]  # (rows, words), on disk too

    def take(self, rows: npt.NDArray[np.intp], columns: Columns) -> Floats:
        """Return some rows, in any order, as (rows, columns) in memory."""
        found = np.empty((len(rows), len(columns)))
        order = np.argsort(rows, kind="stable")
        starts = np.searchsorted(rows, self.edges, sorter=order)

        def some_of(number: int) -> tuple[npt.NDArray[np.intp], Floats]:
            some = order[starts[number] : starts[number + 1]]
            places = rows[some] - self.edges[number]
            return some, np.stack([column[places] for column in self.read(number, columns)], axis=1)

        asked = np.flatnonzero(np.diff(starts)).tolist()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for first in range(0, len(asked), AT_ONCE):
                for some, values in pool.map(some_of, asked[first : first + AT_ONCE]):
                    found[some] = values
        return found

    def known(self, start: int, end: int, columns: Columns) -> npt.NDArray[np.bool_]:
        """Return which of the rows `[start, end)` are finite in all these columns."""
        result = np.ones(end - start, dtype=np.bool_)
        for word in range(self.finite.shape[1]):
            inside = columns[(columns >= word * BITS) & (columns < (word + 1) * BITS)] - word * BITS
            mask = np.bitwise_or.reduce(np.left_shift(np.uint64(1), inside.astype(np.uint64)), initial=np.uint64(0))
            result &= (self.finite[start:end, word] & mask) == mask
        return result


def forget(*arrays: npt.NDArray[Any]) -> None:
    """Give back the memory that pages of arrays on disk take; what is in memory stays, and what is read again comes again."""
    for array in arrays:
        base: Any = array
        while isinstance(base, np.ndarray):
            base = base.base
        if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            base.madvise(mmap.MADV_DONTNEED)


def bits_of(matrix: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint64]:
    """Return which values of (rows, width) are finite, a bit each: (rows, words)."""
    rows, width = matrix.shape
    words = -(-width // BITS)
    padded = np.zeros((rows, words * BITS), dtype=np.bool_)
    padded[:, :width] = np.isfinite(matrix)
    return np.packbits(padded, axis=1, bitorder="little").view("<u8").astype(np.uint64, copy=False)


class Scratch:
    """Columns that grow at their end, in files without a name."""

    def __init__(self, folder: Path, needed: int) -> None:
        """Raises: Unavailable when the folder's disk has not so many bytes."""
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise Unavailable(
                f"the rows to learn from take {needed / 1e9:.1f} GB of scratch in {folder}, where {free / 1e9:.1f} GB are free"
            )
        self._folder = folder
        self._files: dict[str, IO[bytes]] = {}

    def append(self, name: str, values: npt.NDArray[Any]) -> None:
        """Add values at the end of a column."""
        if name not in self._files:
            self._files[name] = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115  open as long as its rows are read
        self._files[name].write(np.ascontiguousarray(values).data)

    def array(self, name: str, kind: npt.DTypeLike, width: int = 0) -> npt.NDArray[Any]:
        """Return a column as an array on disk, (rows,) or (rows, width)."""
        self._files[name].flush()
        flat = np.memmap(self._files[name], dtype=kind, mode="r")
        return flat.reshape(-1, width) if width else flat
