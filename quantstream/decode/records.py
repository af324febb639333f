"""One pass over the bytes of a batch of records: the fields of every plain trade as numbers, in any order and spacing.

`quantstream.binance.wire.parse_record` alone decides what a trade is. The loop knows flat objects of plain values; whatever it
is not sure of (escapes, signs, more digits than fit, a name given twice, other events, heartbeats) it leaves to the one careful
parser. A property test and the fuzzer hold the two together.

Texts lie one after the other, a zero byte after each: no JSON holds one, so every scan ends there. Eight bytes at once are
read as one number, which is why `PADDING` follows the last text. Parts of the loop take pointers: references to an array would
be counted at every call.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from quantstream.binance.wire import MAX_FRAME
from quantstream.core.time import EARLIEST, LATEST, MICROSECONDS_FROM
from quantstream.core.trade import MAX_QUOTE, MAX_SINGLES
from quantstream.decode.compiled import BYTES, INT, NUMBERS, loop, part
from quantstream.decode.numbers import decimal, digits, eight

PADDING = b"\0" * 16
KEY_BYTES = 64  # a longer key has no number
SIZE_BITS = 7  # of a key's size, in a slot of the index
MOST_QUOTE = MAX_QUOTE / 10  # beyond it `Trade` itself decides, exactly
PRIME = 1_099_511_628_211  # of the hash over a key's bytes (Fowler, Noll, Vo)

# What a name stands for: first numbers, then decimals, then the rest. REST rows have longer names.
TRADE, AGGREGATE, FIRST, LAST, ROW, AT, ROW_AT, EVENT_AT = range(8)
PRICE, QUANTITY, ROW_PRICE, ROW_QUANTITY = range(8, 12)
MAKER, ROW_MAKER, SPOT, KIND, SYMBOL, ORIGIN, OTHER = range(12, 19)
FIELDS = OTHER + 1
NAMES = {
    b"t": TRADE, b"a": AGGREGATE, b"f": FIRST, b"l": LAST, b"T": AT, b"E": EVENT_AT, b"p": PRICE, b"q": QUANTITY,
    b"m": MAKER, b"M": SPOT, b"e": KIND, b"s": SYMBOL, b"X": ORIGIN,
}  # fmt: skip
SHORT = np.array([NAMES.get(bytes([byte]), OTHER) for byte in range(256)])
ID, FIRST_ID, LAST_ID, UNITS, AMOUNT, TRADED_AT = range(6)  # rows of the table of columns


def _word(text: bytes) -> Any:
    return int.from_bytes(text, "little")


_ROW_ID, _QTY, _TIME, _PRICE = _word(b'id"'), _word(b'qty"'), _word(b'time"'), _word(b'price"')
_IS_BUYER, _MAKER = _word(b"isBuyerM"), _word(b'aker"')
_TRADE, _AGG_TRAD, _E, _MARKET = _word(b'"trade"'), _word(b'"aggTrad'), _word(b'e"'), _word(b'"MARKET"')
_TRUE, _FALS, _NULL = _word(b"true"), _word(b"fals"), _word(b"null")
_TWO, _THREE, _FOUR, _FIVE, _SIX, _SEVEN = (256**size - 1 for size in range(2, 8))


@part(BYTES, INT)
def _after_space(text: Any, at: int) -> Any:
    while text[at] == 32 or text[at] == 10 or text[at] == 13 or text[at] == 9:
        at += 1
    return at


@part(BYTES, INT)
def _after_text(text: Any, at: int) -> Any:
    """Return the place after the quote that ends a text of printable ASCII without escapes, -1 for any other."""
    while text[at] != 34:
        if text[at] < 32 or text[at] >= 127 or text[at] == 92:
            return -1
        at += 1
    return at + 1


@part(BYTES, INT)
def _long_name(text: Any, at: int) -> Any:
    """Return what a name of several characters stands for."""
    word = eight(text, at)
    if word & _THREE == _ROW_ID:
        return ROW
    if word & _FOUR == _QTY:
        return ROW_QUANTITY
    if word & _FIVE == _TIME:
        return ROW_AT
    if word & _SIX == _PRICE:
        return ROW_PRICE
    return ROW_MAKER if word == _IS_BUYER and eight(text, at + 8) & _FIVE == _MAKER else OTHER


@part(BYTES, INT, INT, NUMBERS)
def _number(text: Any, at: int, field: int, values: Any) -> Any:
    """Read a whole number as JSON has it, without a zero before it; return the place after it, -1 for any other."""
    after = digits(text, at, field, values)
    return -1 if text[at] == 48 and after > at + 1 else after


@part(BYTES, INT, INT, NUMBERS)
def _quoted(text: Any, at: int, field: int, values: Any) -> Any:
    """Read a decimal in quotes; return the place after it, -1 for what is not plainly one."""
    after = decimal(text, at + 1, field, values)
    return after + 1 if text[at] == 34 and after >= 0 and text[after] == 34 else -1


@part(BYTES, INT, INT, NUMBERS)
def _other(text: Any, at: int, field: int, values: Any) -> Any:
    """Read a truth, or pass over a value that says nothing more; return the place after it, -1 where it is not plain."""
    word = eight(text, at)
    if field == KIND and word & _SEVEN != _TRADE:
        return at + 10 if word == _AGG_TRAD and eight(text, at + 8) & _TWO == _E else -1
    if field == ORIGIN and word != _MARKET:
        return -1
    if text[at] == 34:
        return _after_text(text, at + 1) if field >= SPOT else -1
    word &= _FOUR
    if word == _TRUE or (word == _FALS and text[at + 4] == 101):
        values[field] = word == _TRUE
        return at + 4 if word == _TRUE else at + 5
    if word == _NULL or field < SPOT:
        return at + 4 if field == OTHER else -1
    return _number(text, at, field, values)


@part(BYTES, INT, BYTES, INT, INT)
def _symbol(text: Any, at: int, keys: Any, key: int, size: int) -> Any:
    """Return the place after the symbol, -1 where it is not the record's key."""
    if text[at] != 34:
        return -1
    at += 1
    for place in range(size):
        if text[at + place] != keys[key + place]:
            return -1
    return at + size + 1 if text[at + size] == 34 else -1


@part(BYTES, INT, BYTES, INT, INT, NUMBERS)
def _fields(text: Any, at: int, keys: Any, key: int, size: int, values: Any) -> Any:
    """Read the fields of one record, and as `OTHER` which there are, a bit each; return where it ends, -1 if it is not plain."""
    begin, seen = at, 0
    at = _after_space(text, at)
    if text[at] != 123:
        return -1
    while True:
        at = _after_space(text, at + 1)
        if text[at] != 34:
            return -1
        if text[at + 2] == 34 and text[at + 1] >= 48:
            field = SHORT[text[at + 1]]
            at += 3
        else:
            field = _long_name(text, at + 1)
            at = _after_text(text, at + 1)
        if at < 0 or (field != OTHER and seen >> field & 1):
            return -1
        seen |= 1 << field
        at = _after_space(text, at)
        if text[at] != 58:
            return -1
        at = _after_space(text, at + 1)
        if field < PRICE:
            at = _number(text, at, field, values)
        elif field < MAKER:
            at = _quoted(text, at, field, values)
        elif field == SYMBOL:
            at = _symbol(text, at, keys, key, size)
        else:
            at = _other(text, at, field, values)
        if at < 0:
            return -1
        at = _after_space(text, at)
        if text[at] != 44:
            break
    if text[at] != 125:
        return -1
    values[OTHER] = seen
    at = _after_space(text, at + 1)
    return at if text[at] == 0 and at - begin <= MAX_FRAME else -1


@part(NUMBERS)
def _kind(values: Any) -> Any:
    """Return which of a trade's kinds the fields are all there for, -1 for none: what numbers it, as `parse_trade` has it."""
    seen = values[OTHER]
    if seen >> KIND & 1 and not seen >> SYMBOL & 1:
        return -1
    needed = 1 << PRICE | 1 << QUANTITY
    if seen >> TRADE & 1:
        return TRADE if seen & needed == needed else -1
    if seen >> AGGREGATE & 1:
        needed |= 1 << FIRST | 1 << LAST
        return AGGREGATE if seen & needed == needed else -1
    needed = 1 << ROW | 1 << ROW_PRICE | 1 << ROW_QUANTITY
    return ROW if seen & needed == needed else -1


@part(NUMBERS, INT, INT, NUMBERS, BYTES, BYTES)
def _trade(values: Any, row: int, count: int, table: Any, maker: Any, by_id: Any) -> Any:
    """Fill a row with the trade that the fields make; return 0 where they do not plainly make one."""
    kind, seen = _kind(values), values[OTHER]
    if kind < 0:
        return 0
    number = first = last = values[kind]
    units, amount = values[PRICE], values[QUANTITY]
    if kind == ROW:
        units, amount = values[ROW_PRICE], values[ROW_QUANTITY]
    if kind == AGGREGATE:
        first, last = values[FIRST], values[LAST]
    at = values[AT] if seen >> AT & 1 else 0
    if at == 0 and seen >> ROW_AT & 1:
        at = values[ROW_AT]
    if at < MICROSECONDS_FROM:
        at *= 1000
    is_sane = units > 0 and first <= last and last - first < MAX_SINGLES and EARLIEST <= at < LATEST
    if not is_sane or float(units) * float(amount) >= MOST_QUOTE:
        return 0
    table[ID * count + row], table[FIRST_ID * count + row], table[LAST_ID * count + row] = number, first, last
    table[UNITS * count + row], table[AMOUNT * count + row], table[TRADED_AT * count + row] = units, amount, at
    maker[row] = (seen >> MAKER & values[MAKER] | seen >> ROW_MAKER & values[ROW_MAKER]) & 1
    by_id[row] = kind == AGGREGATE and not seen >> SPOT & 1
    return 1


@part(BYTES, INT, INT, INT)
def _slot(keys: Any, key: int, size: int, slots: int) -> Any:
    """Return where a key is looked for first: its hash, among a power of two of slots."""
    hashed = 0
    for offset in range(size):
        hashed = (hashed ^ keys[key + offset]) * PRIME
    return (hashed ^ hashed >> 29) & (slots - 1)


@part(BYTES, INT, INT, NUMBERS, INT, BYTES)
def _code(keys: Any, key: int, size: int, slots: Any, count: int, names: Any) -> Any:
    """Return the number of a key, -1 for one that has none."""
    slot = _slot(keys, key, size, count)
    while slots[slot] >= 0:
        code, offset = slots[slot] >> SIZE_BITS, 0
        if slots[slot] & (1 << SIZE_BITS) - 1 == size:
            while offset < size and names[code * KEY_BYTES + offset] == keys[key + offset]:
                offset += 1
            if offset == size:
                return code
        slot = (slot + 1) & (count - 1)
    return -1


@part(BYTES, INT, INT)
def _end(texts: Any, at: int, end: int) -> Any:
    """Return the place of the zero byte that ends a text, or of the end of all."""
    while at < end and texts[at] != 0:
        at += 1
    return at


@loop(NUMBERS, BYTES, NUMBERS, INT, INT, INT)
def place(slots: Any, names: Any, sizes: Any, known: int, count: int, slot_count: int) -> int:
    """Put every name after the known ones into the first free slot from its own on; slots are a power of two, -1 where free.

    A slot has the number of the key and its size: to look for it elsewhere would be one more place that is not in the cache.
    """
    for code in range(known, count):
        slot = _slot(names, code * KEY_BYTES, sizes[code], slot_count)
        while slots[slot] >= 0:
            slot = (slot + 1) & (slot_count - 1)
        slots[slot] = code << SIZE_BITS | sizes[code]
    return count


@loop(BYTES, BYTES, NUMBERS, BYTES, NUMBERS, NUMBERS, BYTES, BYTES, NUMBERS, INT, INT, INT, INT)
def read(
    texts: Any,
    keys: Any,
    slots: Any,
    names: Any,
    codes: Any,
    table: Any,
    maker: Any,
    by_id: Any,
    values: Any,
    count: int,
    end: int,
    keys_end: int,
    slot_count: int,
) -> int:
    """Fill the columns of the records that are plain trades, and the codes of all keys; time 0 marks the others.

    `table` is (6, count), zeros before; `slots` and `names` are an index of symbols; `values` has room for `FIELDS`.
    Texts and keys end where their padding begins. Return 0 when they are not as many as there are rows, for one of them holds a
    zero byte: nothing that was filled counts then.
    """
    at, key = 0, 0
    for row in range(count):
        size = _end(keys, key, keys_end) - key
        codes[row] = _code(keys, key, size, slots, slot_count, names) if 0 < size <= KEY_BYTES else -1
        if codes[row] >= 0:
            after = _fields(texts, at, keys, key, size, values)
            if after >= 0:
                _trade(values, row, count, table, maker, by_id)
                at = after
        at = _end(texts, at, end) + 1
        key += size + 1
    return 1 if at == end + 1 and key == keys_end + 1 else 0
