"""Numbers for symbols: an index of the keys that records come under, looked up by the compiled loops.

A dictionary of thousands of symbols does not stay in the processor's cache while records pass through it; the index does, and
whatever it finds is compared with the key itself.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from quantstream.core.trade import is_symbol
from quantstream.decode.arrays import Ints, Text
from quantstream.decode.records import KEY_BYTES, place

MOST_SYMBOLS = 100_000
FEWEST_SLOTS, SPARSE = 256, 8  # slots at least, and for each symbol: few want the same


class SymbolTable:
    """Numbers for keys, and what they say."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._keys: set[bytes] = set()
        self._fill()

    def learn(self, keys: Iterable[bytes]) -> bool:
        """Give the next numbers to keys that have none and may be symbols; return whether there were any."""
        known = len(self.names)
        for key in sorted(set(keys) - self._keys):
            name = _name(key)
            if name and len(self.names) < MOST_SYMBOLS:
                self._keys.add(key)
                self.names.append(name)
        if len(self.names) == known:
            return False
        self._fill()
        return True

    def _fill(self) -> None:
        keys = [name.encode() for name in self.names]
        self.slots: Ints = np.full(max(FEWEST_SLOTS, 1 << (SPARSE * len(keys)).bit_length()), -1)
        self.texts: Text = np.frombuffer(b"".join(key.ljust(KEY_BYTES, b"\0") for key in keys), np.uint8)
        self.sizes: Ints = np.fromiter(map(len, keys), np.int64, len(keys))
        place(self.slots, self.texts, self.sizes)


def _name(key: bytes) -> str:
    """Return the symbol that a key is, written as records print it; nothing for any other key."""
    try:
        name = key.decode() if len(key) <= KEY_BYTES else ""
    except UnicodeDecodeError:
        return ""
    return name if is_symbol(name) else ""
