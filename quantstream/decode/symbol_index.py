"""Numbers for symbols: keys and the symbols printed in records, told by their bytes, thousands at a time.

A dictionary of thousands of symbols does not stay in the processor's cache while records pass through it. The table here does:
two words of text a symbol, found by hashing them, and whatever it finds is compared with the text itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import repeat

import numpy as np

from quantstream.decode.digits import Flags, Ints, Page, Words

MOST_SYMBOLS = 100_000
SYMBOL_BYTES = 15  # with a zero after it a symbol fills two words; those with longer keys are taken one by one
_PRINTED = re.compile(rb"[0-9A-Za-z_]+")  # others, in other letters, are taken one by one
FEWEST_PLACES = 256
SPARSE = 16  # places a symbol: few want the same
_HEADS, _TAILS = (
    np.array([(1 << 8 * min(max(size - before, 0), 8)) - 1 for size in range(SYMBOL_BYTES + 2)], np.uint64)
    for before in (0, 8)
)  # masks for the first and the second word of so many bytes
_MIX_TAIL, _MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)  # odd, their bits in no order


class SymbolTable:
    """Numbers for keys, and how each is printed."""

    def __init__(self) -> None:
        self.codes: dict[bytes, int] = {}
        self.names: list[str] = []
        self._place(np.zeros(0, np.uint64), np.zeros(0, np.uint64))

    def number(self, keys: Sequence[bytes | None]) -> Ints:
        """Return the code of each key, -1 for one that is no symbol; new symbols get the next numbers."""
        # a record without a key has None, which is no symbol: hence the ignored types
        codes = np.fromiter(map(self.codes.get, keys, repeat(-1)), np.int64, len(keys))  # type: ignore[arg-type]
        if codes.size and codes.min() < 0:
            self._learn({keys[row] or b"" for row in np.flatnonzero(codes < 0).tolist()})
            codes = np.fromiter(map(self.codes.get, keys, repeat(-1)), np.int64, len(keys))  # type: ignore[arg-type]
        return codes

    def printed(self, page: Page, starts: Ints, ends: Ints, keys: Sequence[bytes | None]) -> Ints:
        """Return the code of the symbol that the page prints in each `[starts, ends)`, -1 where its key is not the same.

        The page holds no zero bytes.
        """
        length = np.minimum(ends - starts, SYMBOL_BYTES + 1)
        head, tail = page.words[starts] & _HEADS[length], page.words[starts + 8] & _TAILS[length]
        codes = self._find(head, tail, keys)
        if length.max() > SYMBOL_BYTES or not _spell(keys, head, tail, length):
            codes[codes != self.number(keys)] = -1
        return codes

    def _find(self, head: Words, tail: Words, keys: Sequence[bytes | None]) -> Ints:
        """Return the code of each text; where it is not known, that of its key if they are the same, else -1."""
        if not self.names:
            self.number(keys)
        if not self.names:
            return np.full(len(head), -1)
        first, second = self._places(head, tail)
        codes = self.places[first]
        wrong = np.flatnonzero(self._differ(codes, head, tail))
        if len(wrong):
            codes[wrong] = self.places[second[wrong]]
            wrong = wrong[self._differ(codes[wrong], head[wrong], tail[wrong])]
        if len(wrong):
            codes[wrong] = self.number([keys[row] for row in wrong.tolist()])
            codes[wrong[self._differ(codes[wrong], head[wrong], tail[wrong])]] = -1
        return codes

    def _differ(self, codes: Ints, head: Words, tail: Words) -> Flags:
        return np.asarray((self.head[codes] != head) | (self.tail[codes] != tail), np.bool_)

    def _learn(self, keys: set[bytes]) -> None:
        known = len(self.names)
        for key in sorted(keys):
            if 0 < len(key) <= SYMBOL_BYTES and _PRINTED.fullmatch(key) and len(self.codes) < MOST_SYMBOLS:
                self.codes[key] = len(self.names)
                self.names.append(key.decode("ascii"))
        if len(self.names) == known:
            return
        printed = b"".join(name.encode().ljust(SYMBOL_BYTES + 1, b"\0") for name in self.names)
        words = np.frombuffer(printed, "<u8").reshape(-1, 2)
        self._place(words[:, 0].copy(), words[:, 1].copy())

    def _place(self, head: Words, tail: Words) -> None:
        """Give each symbol the first of its two places, or the second where another has the first; some may get none."""
        self.head, self.tail, numbers = head, tail, np.arange(len(head))
        self.places = np.full(max(FEWEST_PLACES, 1 << (SPARSE * len(head)).bit_length()), -1)
        first, second = self._places(head, tail)
        self.places[first] = numbers
        without = numbers[self.places[first] != numbers]
        without = without[self.places[second[without]] < 0]
        self.places[second[without]] = without

    def _places(self, head: Words, tail: Words) -> tuple[Ints, Ints]:
        """Return the two places where a text is looked for."""
        mixed, bits = (head ^ tail * _MIX_TAIL) * _MIX, len(self.places).bit_length() - 1
        second = mixed >> np.uint64(8) & np.uint64(len(self.places) - 1)
        return (mixed >> np.uint64(64 - bits)).view(np.int64), second.view(np.int64)


def _spell(keys: Sequence[bytes | None], head: Words, tail: Words, length: Ints) -> bool:
    """Tell whether the keys are these texts, one for one.

    With a zero between them they are the same only if every key is: texts hold no zero, so neither may a key.
    """
    try:
        joined = b"\0".join(keys)  # type: ignore[arg-type]
    except TypeError:  # a record without a key
        return False
    ends = np.cumsum(length + 1)
    if ends[-1] != len(joined) + 1:
        return False
    starts, padded = ends - length - 1, joined + b"\0" * 16
    words: Words = np.ndarray((len(padded) - 7,), "<u8", padded, 0, (1,))
    same = words[starts] & _HEADS[length + 1] == head
    same &= words[starts + 8] & _TAILS[length + 1] == tail
    return bool(same.all())
