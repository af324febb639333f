"""Which candles a score was made of, as one number: of each candle a digest, of a history their sum.

Live, a history takes one candle at a time, and so does its sum. Whoever puts the history together again from what is stored
can tell whether it is the same, and where several revisions could have been known, which of them were.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from quantstream.core.rolling import Floats
from quantstream.features.series import COLUMNS

Digests = npt.NDArray[np.uint64]
NUMBERS = 1 << 64  # of digests: sums start again from 0


def candle_digests(at: npt.NDArray[np.int64], values: Floats) -> Digests:
    """Return the digest of each candle, (candles,), of opening times, µs, and numbers, (`COLUMNS`, candles), to the last bit."""
    words = np.empty((len(at), 1 + len(values)), dtype="<i8")
    words[:, 0], words[:, 1:] = at, np.ascontiguousarray(values.T, dtype="<f8").view("<i8")
    packed, size = words.tobytes(), words.itemsize * words.shape[1]
    found = (blake2b(packed[place : place + size], digest_size=8).digest() for place in range(0, len(packed), size))
    return np.frombuffer(b"".join(found), dtype="<u8").astype(np.uint64)


def history_digest(at: npt.NDArray[np.int64], columns: Mapping[str, Floats]) -> int:
    """Return the digest of a history: the sum of its candles'."""
    return summed(candle_digests(at, np.stack([columns[name] for name in COLUMNS])))


def summed(digests: Digests) -> int:
    """Return the sum of digests; which order they come in does not matter."""
    return int(digests.sum(dtype=np.uint64))


def moved(digest: int, gone: int, come: int) -> int:
    """Return a history's digest when a candle of one digest gives way to another's; 0 is no candle."""
    return (digest - gone + come) % NUMBERS
