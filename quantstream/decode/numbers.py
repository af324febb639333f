"""Numbers out of printed digits, as parts of loops: whole ones, and decimals as units of 10⁻⁸."""

from __future__ import annotations

from typing import Any

import numpy as np

from quantstream.decode.compiled import BYTES, INT, NUMBERS, part

MOST_DIGITS = 18  # of a whole number: it fits an int64
WHOLE_DIGITS, DECIMALS = 10, 8  # of a decimal: it fits as well
TENS = np.array([10**power for power in range(DECIMALS + 1)], np.int64)


@part(BYTES, INT)
def eight(text: Any, at: int) -> Any:
    """Return the eight bytes from a place on as one number."""
    word: Any = 0
    for place in range(8):
        word |= np.int64(text[at + place]) << (8 * place)
    return word


@part(BYTES, INT, INT, NUMBERS)
def digits(text: Any, at: int, field: int, values: Any) -> Any:
    """Read a whole number; return the place after it, -1 for none or one that is too long."""
    begin = at
    value: Any = 0
    while 48 <= text[at] <= 57:
        value = value * 10 + (np.int64(text[at]) - 48)
        at += 1
    values[field] = value
    return at if 0 < at - begin <= MOST_DIGITS else -1


@part(BYTES, INT, INT, NUMBERS)
def decimal(text: Any, at: int, field: int, values: Any) -> Any:
    """Read a decimal as units of 10⁻⁸; return the place after it, -1 for none or one with too many digits."""
    begin = at
    value: Any = 0
    while 48 <= text[at] <= 57:
        value = value * 10 + (np.int64(text[at]) - 48)
        at += 1
    whole, decimals = at - begin, 0
    if text[at] == 46:
        at += 1
        begin = at
        while 48 <= text[at] <= 57:
            value = value * 10 + (np.int64(text[at]) - 48)
            at += 1
        decimals = at - begin
    if whole > WHOLE_DIGITS or decimals > DECIMALS or whole + decimals == 0:
        return -1
    values[field] = value * TENS[DECIMALS - decimals]
    return at
