"""Numbers out of the bytes of thousands of records at once: eight characters are one 64-bit word, and words are columns.

A record costs some nanoseconds per field and makes no object, which is what lets one core keep up with a burst of the
whole market. What a function is not sure of it says so (`ok`); the caller then takes that record the plain way.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]
Flags = NDArray[np.bool_]

BEFORE = b"\0" * 64  # words are read from up to 16 bytes before a field
AFTER = b"\0" * 256  # and literals to so far after a broken one
LONGEST_LITERAL = 128
MOST_DIGITS = 16  # two words; longer numbers are taken the plain way
WHOLE_DIGITS = 10  # before the point: with eight decimals it fits an int64
DECIMALS = 8
MOST_TEXT = 32  # characters of a value; longer ones are taken the plain way

_ZEROS = np.uint64(0x3030303030303030)
_ABOVE_NINE = np.uint64(0x7676767676767676)  # added to a byte above 9 it carries into the byte's top bit
_TOP_BITS = np.uint64(0x8080808080808080)
_ONES = np.uint64(0x0101010101010101)
_ONE = np.uint64(1)
_PLACES = np.uint64(0x0001020304050607)  # times 256^k it has k in its top byte
_TENS = np.array([10**n for n in range(DECIMALS, -1, -1)], np.int64)


class Page:
    """The bytes of a batch of records, one after the other, and at each place the eight bytes from there as a word."""

    def __init__(self, values: Sequence[bytes]) -> None:
        joined = b"".join([BEFORE, *values, AFTER])
        lengths = np.fromiter(map(len, values), np.int64, len(values))
        self.raw = joined
        self.bytes = np.frombuffer(joined, np.uint8)
        self.words: Words = np.ndarray((len(joined) - 7,), "<u8", joined, 0, (1,))
        self.ends: Ints = np.cumsum(lengths) + len(BEFORE)
        self.starts: Ints = self.ends - lengths

    def owners(self, places: Ints) -> Ints:
        """Return which record each place of the page belongs to."""
        return np.searchsorted(self.ends, places, "right")


def plain(page: Page) -> Flags:
    """Return which records hold nothing but printable ASCII without a backslash: their quotes mean what they seem to."""
    ok = np.ones(len(page.starts), np.bool_)
    inside = page.bytes[len(BEFORE) : -len(AFTER)]
    if inside.size and (inside.max() >= 0x7F or inside.min() < 0x20 or page.raw.find(b"\\") >= 0):
        odd = np.flatnonzero((inside >= 0x7F) | (inside < 0x20) | (inside == ord("\\")))
        ok[page.owners(odd + len(BEFORE))] = False
    return ok


def matches(page: Page, places: Ints, literal: bytes) -> Flags:
    """Return where the page holds `literal` at `places`."""
    size = len(literal)
    if size < 8:
        mask = np.uint64((1 << 8 * size) - 1)
        return np.asarray(page.words[places] & mask == np.uint64(int.from_bytes(literal, "little")), np.bool_)
    ok = np.ones(len(places), np.bool_)
    for offset in [*range(0, size - 7, 8), *([size - 8] if size % 8 else [])]:
        word = np.uint64(int.from_bytes(literal[offset : offset + 8], "little"))
        ok &= page.words[places + offset] == word
    return ok


def integers(page: Page, starts: Ints, ends: Ints) -> tuple[Ints, Flags]:
    """Return the numbers printed in `[starts, ends)`; ok where they are up to 16 plain digits."""
    length = ends - starts
    ok = (length >= 1) & (length <= MOST_DIGITS)
    value = _eight(page.words[ends - 8], length, ok)
    if length.size and int(length.max()) > 8:
        value += _eight(page.words[ends - 16], length - 8, ok) * 100_000_000
    return value, ok


def json_integers(page: Page, starts: Ints, ends: Ints) -> tuple[Ints, Flags]:
    """Return numbers as `integers` does; JSON allows no zero in front."""
    value, ok = integers(page, starts, ends)
    ok &= (page.bytes[starts] != ord("0")) | (ends - starts == 1)
    return value, ok


def decimals(page: Page, starts: Ints, ends: Ints) -> tuple[Ints, Flags]:
    """Return the decimals printed in `[starts, ends)` in units of 10⁻⁸; ok where they have at most eight decimals."""
    point = page.bytes[ends - (DECIMALS + 1)] == ord(".")
    if point.all() and (ends - starts > DECIMALS).all():  # else it may be the point of the cell before
        whole_ends, fraction = ends - (DECIMALS + 1), np.full(len(ends), DECIMALS)
    else:
        whole_ends, fraction = _points(page, starts, ends)
    length = whole_ends - starts
    value, ok = integers(page, starts, whole_ends)
    ok &= length <= WHOLE_DIGITS
    value = value * _TENS[0] + _eight(page.words[ends - 8], fraction, ok) * _TENS[fraction]
    return value, ok


def booleans(page: Page, starts: Ints, ends: Ints) -> tuple[Flags, Flags]:
    """Return which of `[starts, ends)` are `true`; ok where the rest are `false`."""
    length = ends - starts
    true = (length == 4) & matches(page, starts, b"true")
    return true, true | ((length == 5) & matches(page, starts, b"false"))


def lengths(page: Page, starts: Ints, end: bytes, likely: int) -> Ints:
    """Return how many bytes follow `starts` until the byte `end`, looking around the `likely` length first.

    Whoever calls makes sure that what lies before is right; the first `end` at or after `likely` − 3 counts.
    """
    if (page.bytes[starts + likely] == end[0]).all():
        return np.full(len(starts), likely)
    begin = max(likely - 3, 0)
    found = _place_of(page.words[starts + begin], end)
    missing = np.flatnonzero(found == 8)
    found += begin
    if len(missing):
        found[missing] = first_lengths(page, starts[missing], end)
    return found


def first_lengths(page: Page, starts: Ints, end: bytes, most: int = MOST_TEXT) -> Ints:
    """Return how many bytes follow `starts` until the first byte `end`; `most` where there is none before."""
    found = np.full(len(starts), most)
    rows = np.arange(len(starts))
    for offset in range(0, most, 8):
        place = _place_of(page.words[starts[rows] + offset], end)
        hit = place < 8
        found[rows[hit]] = place[hit] + offset
        rows = rows[~hit]
    return found


def _place_of(words: Words, byte: bytes) -> Ints:
    """Return which of eight characters is the first `byte`, 8 where none is (H. Warren, Hacker's Delight, 6-1)."""
    words ^= np.uint64(byte[0] * int(_ONES))
    zero = (words - _ONES) & ~words & _TOP_BITS
    lowest = (zero & (~zero + _ONE)) >> np.uint64(7)
    place = ((lowest * _PLACES) >> np.uint64(56)).view(np.int64)
    return np.where(zero == 0, 8, place)


def _points(page: Page, starts: Ints, ends: Ints) -> tuple[Ints, Ints]:
    """Return where the whole part of each decimal ends, and how many digits follow its point."""
    fraction = np.full(len(ends), -1)
    for digits in range(DECIMALS + 1):
        place = ends - 1 - digits
        fraction[(fraction < 0) & (place >= starts) & (page.bytes[place] == ord("."))] = digits
    whole_ends = np.where(fraction >= 0, ends - 1 - fraction, ends)
    return whole_ends, np.maximum(fraction, 0)


def _eight(words: Words, digits: Ints, ok: Flags) -> Ints:
    """Return the number that the last `digits` of eight characters print; `ok` loses what is none.

    Three multiplications join neighbours: digits to pairs, pairs to fours, fours to eight (Johnny Lee's SWAR parser).
    """
    words ^= _ZEROS
    unused = ((8 - np.clip(digits, 0, 8)) * 8).astype(np.uint64)
    if unused.any():
        words >>= unused  # a shift by all 64 bits gives zero in numpy
        words <<= unused
    ok &= ((words + _ABOVE_NINE) | words) & _TOP_BITS == 0
    words *= np.uint64(2561)
    words >>= np.uint64(8)
    words &= np.uint64(0x00FF00FF00FF00FF)
    words *= np.uint64(6553601)
    words >>= np.uint64(16)
    words &= np.uint64(0x0000FFFF0000FFFF)
    words *= np.uint64(42949672960001)
    words >>= np.uint64(32)
    return words.view(np.int64)
