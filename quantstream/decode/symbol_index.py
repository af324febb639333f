"""Numbers for symbols: an index of the keys that records come under, and what the compiled loops count of each.

A dictionary of thousands of symbols does not stay in the processor's cache while records pass through it; the index does, and
whatever it finds is compared with the key itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

import numpy as np

from quantstream.core.trade import is_symbol
from quantstream.decode.records import KEY_BYTES, place

MOST_SYMBOLS = 100_000
NOWHERE = -1
FEWEST_SLOTS, SPARSE = 256, 2  # slots at least, and for each symbol: few want the same


class SymbolTable:
    """Numbers for keys, and what they say."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._keys: set[bytes] = set()
        self.slots, self.texts, self.sizes = np.full(FEWEST_SLOTS, -1), np.zeros(0, np.uint8), np.zeros(0, np.int64)

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
        self._put_in(known)
        return True

    def _put_in(self, known: int) -> None:
        """Put the names from this number on into the index; all of them again when it has to be larger."""
        keys = [name.encode() for name in self.names[known:]]
        texts = np.frombuffer(b"".join(key.ljust(KEY_BYTES, b"\0") for key in keys), np.uint8)
        self.texts = np.concatenate([self.texts, texts])
        self.sizes = np.concatenate([self.sizes, np.fromiter(map(len, keys), np.int64, len(keys))])
        slots = 1 << (SPARSE * len(self.names)).bit_length()
        if slots > len(self.slots):
            self.slots, known = np.full(slots, -1), 0
        place.over(self.slots, self.texts, self.sizes)(known, len(self.names), len(self.slots))


def _name(key: bytes) -> str:
    """Return the symbol that a key is, written as records print it; nothing for any other key."""
    try:
        name = key.decode() if len(key) <= KEY_BYTES else ""
    except UnicodeDecodeError:
        return ""
    return name if is_symbol(name) else ""


class SymbolNumbers(ABC):
    """A row of numbers for each symbol, by its code: what a compiled loop found since it was last told to who keeps it.

    A symbol counts in one partition, the first that it is seen in; rows of others are left to who looks at them one by one.
    """

    def __init__(self, names: Sequence[str], width: int, counts: slice) -> None:
        """`names` are those of the codes, and may become more; each has `width` numbers, `counts` of them of what is untold."""
        self.names, self.counts = names, counts
        self.homes, self.state = np.full(0, NOWHERE), np.zeros((0, width), np.int64)

    @abstractmethod
    def tell(self, code: int, numbers: list[int]) -> None:
        """Tell what was found of a symbol: its numbers."""

    def take(self, code: int) -> None:
        """Tell what was found of a symbol, if anything was."""
        numbers = self.state[code].tolist()
        if any(numbers[self.counts]):
            self.tell(code, numbers)
            self.state[code, self.counts] = 0

    def settle(self) -> None:
        """Tell all that was found."""
        for code, numbers in self.drain():
            self.tell(code, numbers)

    def drain(self) -> list[tuple[int, list[int]]]:
        """Return what is to be told, code by code, for the caller to `tell`: all at once is a third of one by one."""
        codes = np.flatnonzero(self.state[:, self.counts].any(axis=1))
        found = list(zip(codes.tolist(), self.state[codes].tolist(), strict=True))
        self.state[codes, self.counts] = 0
        return found

    def forget(self, partition: int) -> None:
        """Drop what was found of a partition's symbols."""
        mine = np.flatnonzero(self.homes == partition)
        self.homes[mine], self.state[mine] = NOWHERE, 0

    def is_home(self, partition: int, code: int) -> bool:
        """Tell whether the symbol counts in this partition, which it does where it has none yet."""
        if code >= 0 and self.homes[code] == NOWHERE:
            self.homes[code] = partition
        return code >= 0 and bool(self.homes[code] == partition)

    def grow(self) -> None:
        """Have room for every symbol that has a name, and as many more."""
        held, names = len(self.homes), len(self.names)
        if held < names:
            self.homes = np.concatenate([self.homes, np.full(2 * names - held, NOWHERE)])
            self.state = np.concatenate([self.state, np.zeros((2 * names - held, self.state.shape[1]), np.int64)])
