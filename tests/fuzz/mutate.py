"""Hostile bytes from honest ones: a seeded mutator that knows JSON, CSV and what numbers can do to a parser."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?|true|false|null|True|False')
NUMBERS = (
    *(
        b"0",
        b"-0",
        b"-1",
        b"1e999",
        b"-1e999",
        b"1e-999",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1E400",
        b"0x10",
        b"1_000",
    ),
    *(
        str(2**63).encode(),
        str(2**63 - 1).encode(),
        str(-(2**63) - 1).encode(),
        str(2**64).encode(),
        str(2**128).encode(),
    ),
    *(b"9" * 400, b"0." + b"1" * 400, b"9" * 5000, b"1e" + b"9" * 20, b"1.", b".5", b"00012", b"1e5", b"4102444800000"),
    *("٣".encode(), b"4102444799999", b"1230768000000", b"-1723161255342", b"1723161255342.5", b"99999999999999999"),
)
TOKENS = (
    *(
        b"null",
        b"true",
        b"[]",
        b"{}",
        b'""',
        b'"\\u0000"',
        b'"\\ud800"',
        b'"\\uD83D\\uDE00"',
        b"\x00",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
    ),
    *(b'"heartbeat"', b'"trade"', b'"aggTrade"', b'{"e":"heartbeat","E":4102444799999999,', b'"e":"trade",', b'"a":1,'),
    *(
        b'"1e999"',
        b'"NaN"',
        b'"-1"',
        b'"Infinity"',
        b'"9e999999999"',
        b'"' + b"9" * 400 + b'"',
        b'"' + b"1" * 70_000 + b'"',
    ),
    *(
        b"[" * 50,
        b"[" * 5_000,
        b'{"a":' * 3_000,
        b"]" * 50,
        b"\r",
        b"\n",
        b"\r\n",
        b",",
        b",,,,",
        b'"',
        b"\\",
        b"PK\x03\x04",
    ),
)
Mutator = Callable[[bytes, random.Random], bytes]


def mutate(seed: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Return `seed` spoilt one to four times."""
    raw = seed
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        raw = rng.choice(MUTATORS)(raw, rng) if rng.random() < 0.93 else _splice(raw, rng.choice(others), rng)
    return raw


def _place(raw: bytes, rng: random.Random) -> int:
    return rng.randint(0, len(raw))


def _flip(raw: bytes, rng: random.Random) -> bytes:
    spoilt = bytearray(raw)
    for _ in range(rng.randint(1, 4) if spoilt else 0):
        spoilt[rng.randrange(len(spoilt))] ^= 1 << rng.randrange(8)
    return bytes(spoilt)


def _cut(raw: bytes, rng: random.Random) -> bytes:
    return raw[: _place(raw, rng)]


def _remove(raw: bytes, rng: random.Random) -> bytes:
    start = _place(raw, rng)
    return raw[:start] + raw[start + rng.randint(1, 20) :]


def _repeat(raw: bytes, rng: random.Random) -> bytes:
    start = _place(raw, rng)
    part = raw[start : start + rng.randint(1, 60)]
    return raw[:start] + part * rng.choice((2, 3, 10, 1000)) + raw[start:]


def _insert(raw: bytes, rng: random.Random) -> bytes:
    place = _place(raw, rng)
    return raw[:place] + rng.choice(NUMBERS + TOKENS) + raw[place:]


def _noise(raw: bytes, rng: random.Random) -> bytes:
    place = _place(raw, rng)
    return raw[:place] + rng.randbytes(rng.randint(1, 30)) + raw[place:]


def _replace(pattern: re.Pattern[bytes], values: Sequence[bytes]) -> Mutator:
    def act(raw: bytes, rng: random.Random) -> bytes:
        found = list(pattern.finditer(raw))
        if not found:
            return raw
        match = rng.choice(found)
        return raw[: match.start()] + rng.choice(values) + raw[match.end() :]

    return act


def _swap(raw: bytes, rng: random.Random) -> bytes:
    found = list(TOKEN.finditer(raw))
    if len(found) < 2:
        return raw
    first, second = sorted(rng.sample(found, 2), key=lambda match: match.start())
    middle = raw[first.end() : second.start()]
    return raw[: first.start()] + second[0] + middle + first[0] + raw[second.end() :]


def _quote(raw: bytes, rng: random.Random) -> bytes:
    """Make text of a number or a number of text."""
    found = list(TOKEN.finditer(raw))
    if not found:
        return raw
    match = rng.choice(found)
    new = match[0][1:-1] if match[0].startswith(b'"') else b'"' + match[0] + b'"'
    return raw[: match.start()] + new + raw[match.end() :]


def _splice(raw: bytes, other: bytes, rng: random.Random) -> bytes:
    return raw[: _place(raw, rng)] + other[_place(other, rng) :]


def _again(raw: bytes, rng: random.Random) -> bytes:
    """Duplicate a key: the second value is another one."""
    found = list(re.finditer(rb'"(\w+)":', raw))
    if not found:
        return raw
    match, value = rng.choice(found), rng.choice(NUMBERS + TOKENS)
    return raw[: match.start()] + match[0] + value + b"," + raw[match.start() :]


MUTATORS: tuple[Mutator, ...] = (
    *(_flip, _cut, _remove, _repeat, _insert, _noise, _swap, _quote, _again),
    *(_replace(NUMBER, NUMBERS), _replace(NUMBER, NUMBERS), _replace(TOKEN, TOKENS), _replace(TOKEN, NUMBERS)),
)
