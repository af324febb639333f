"""One pass over the bytes of rows of CSV: the cells of every plain row as numbers.

What a row means is for `streaming.recordings.csv_layouts` to say; a row that is not plain digits, True
or False in as many cells as there should be is left to it.
"""

from __future__ import annotations

from typing import Any

from quantstream.core.time import EARLIEST, LATEST, MICROSECONDS_FROM, MILLISECONDS_FROM
from quantstream.core.trade import MAX_SINGLES
from quantstream.decode.compiled import BYTES, INT, NUMBERS, loop, part
from quantstream.decode.numbers import decimal, digits, eight
from quantstream.decode.records import AMOUNT, FIRST_ID, ID, LAST_ID, MOST_QUOTE, TRADED_AT, UNITS

IGNORED, MAKER, BEST = -1, 6, 7  # cells beside those that the columns of trades are named by
FIELDS = 8
_FOUR, _LETTERS = 0xFFFFFFFF, 0x20202020  # the bit that makes a letter small
_TRUE, _FALS = (int.from_bytes(text, "little") for text in (b"true", b"fals"))


@part(BYTES, INT, INT, NUMBERS)
def _truth(text: Any, at: int, field: int, values: Any) -> Any:
    """Read True or False in letters of any size; return the place after it, -1 for anything else."""
    word = (eight(text, at) & _FOUR) | _LETTERS
    values[field] = word == _TRUE
    if word == _TRUE:
        return at + 4
    return at + 5 if word == _FALS and text[at + 4] | 32 == 101 else -1


@part(BYTES, INT, INT, NUMBERS)
def _cell(text: Any, at: int, field: int, values: Any) -> Any:
    """Read a cell; return the place after it, -1 where it is not plain."""
    if field == IGNORED:
        while text[at] != 44 and text[at] != 10:
            at += 1
        return at
    if field in (UNITS, AMOUNT):
        return decimal(text, at, field, values) if text[at] != 46 else -1
    return _truth(text, at, field, values) if field >= MAKER else digits(text, at, field, values)


@part(BYTES, INT, NUMBERS, INT, NUMBERS)
def _row(text: Any, at: int, fields: Any, width: int, values: Any) -> Any:
    """Read the cells of a row; return the place after it, -1 where it is not plain."""
    for place in range(width):
        at = _cell(text, at, fields[place], values)
        if at < 0 or text[at] != (10 if place == width - 1 else 44):
            return -1
        at += 1
    return at


@part(NUMBERS)
def _is_sane(values: Any) -> Any:
    """Tell whether the cells make a trade that can be; beyond a worth that is never reached `Trade` itself decides."""
    first, last, at = values[FIRST_ID], values[LAST_ID], values[TRADED_AT]
    is_real = values[UNITS] > 0 and first <= last and last - first < MAX_SINGLES
    is_timed = at >= MILLISECONDS_FROM and EARLIEST <= (at if at >= MICROSECONDS_FROM else at * 1000) < LATEST
    return is_real and is_timed and float(values[UNITS]) * float(values[AMOUNT]) <= MOST_QUOTE


@loop(BYTES, NUMBERS, NUMBERS, BYTES, BYTES, NUMBERS, INT, INT, INT)
def read(
    text: Any, fields: Any, table: Any, maker: Any, sound: Any, values: Any, count: int, width: int, is_single: int
) -> int:
    """Fill the columns of rows that are plain, and say which are; the text ends in a line end, and has `PADDING` after it.

    `fields` has what each of `width` cells is; `table` is (6, count); `values` has room for `FIELDS`. Rows that are `is_single`
    have one id for all.
    """
    at = 0
    for row in range(count):
        after = _row(text, at, fields, width, values)
        if is_single:
            values[FIRST_ID] = values[LAST_ID] = values[ID]
        sound[row] = after >= 0 and _is_sane(values)
        if sound[row]:
            for column in range(TRADED_AT + 1):
                table[column * count + row] = values[column]
            if values[TRADED_AT] < MICROSECONDS_FROM:
                table[TRADED_AT * count + row] *= 1000
            maker[row] = values[MAKER]
        if after < 0:
            while text[at] != 10:
                at += 1
            after = at + 1
        at = after
    return at
