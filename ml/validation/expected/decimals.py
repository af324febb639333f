"""Exact decimals of Arrow as numbers that can be computed with at once: units where they fit 64 bits, and floats."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from quantstream.core.rolling import Floats

WORD = 2.0**64
NO_UNITS = np.iinfo(np.int64).min  # of a value that is null or beyond 64 bits


def floats(column: pa.ChunkedArray) -> Floats:
    """Return a column of numbers as floats, NaN where it is null; a decimal to its last bit but one."""
    if not pa.types.is_decimal(column.type):
        found: Floats = column.cast(pa.float64()).to_numpy()
        return found
    low, high, known = _words(column)
    value: Floats = (high * WORD + low) / 10.0**column.type.scale
    return np.where(known, np.where(_fits(low, high), low.view(np.int64) / 10.0**column.type.scale, value), np.nan)


def units(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Return a column of decimals in units of its last digit, `NO_UNITS` where that cannot be."""
    if not pa.types.is_decimal(column.type):
        return np.full(len(column), NO_UNITS)
    low, high, known = _words(column)
    return np.where(known & _fits(low, high), low.view(np.int64), NO_UNITS)


def plain(column: pa.ChunkedArray) -> Any:
    """Return a column as pandas takes it: decimals as floats, texts as categories, which are compared and hashed at once."""
    if pa.types.is_decimal(column.type):
        return floats(column)
    is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    return column.cast(pa.string()).dictionary_encode().to_pandas() if is_text else column.to_pandas()


def _fits(low: npt.NDArray[np.uint64], high: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    return np.asarray(high == (low.view(np.int64) >> 63), np.bool_)


def _words(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    array = column.combine_chunks()
    array = array.chunk(0) if isinstance(array, pa.ChunkedArray) and array.num_chunks else array
    if not len(array):
        return np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros(0, np.bool_)
    words = np.frombuffer(array.buffers()[1], np.int64)[2 * array.offset : 2 * (array.offset + len(array))]
    known = np.asarray(array.is_valid().to_numpy(zero_copy_only=False), np.bool_)
    return words[0::2].copy().view(np.uint64), words[1::2].copy(), known
