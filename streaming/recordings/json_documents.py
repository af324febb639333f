"""JSON documents out of a text, a piece at a time: one a line, printed over many lines, or as a list larger than the memory.

Before a document may stand when it was received. Whatever a file holds, no more than one line or one piece is ever decoded; what
cannot be read is said to be at its line, and reading goes on after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from quantstream.core.errors import BadRecord
from streaming.recordings.csv_blocks import MAX_LINE, Read
from streaming.recordings.found import Found, LeftOut, Refused
from streaming.recordings.json_rows import NameOf, decoded, document, row

PIECE = 1 << 19  # bytes of a list decoded at once
MOST_ROW = 4 << 20  # bytes that one row of a list may have
MOST_TRIES = 16  # ends of rows at which a piece is tried to be cut
ROW_TRIES = 4  # ends of one row: it may hold that many objects in lists of its own
CHUNK = 1 << 18  # bytes of lines read at once
MOST_BEFORE = 64  # characters of what stands before a document
NO_FRAME = "not `<receive_ns> {frame}`, nor any other document"
_LINE = re.compile(rb"\S[^\n]*")
# Between two rows, of one list or of two that were glued together; or inside a row that holds a list of objects.
_BOUNDARY = re.compile(rb"[\]}]\s*(?:,|\]\s*\[)\s*(?=[\[{])")
_RECEIVED = re.compile(rb"(?:\d{1,30}(?:\.\d{1,20})?:?[ \t]+)?(?=[{\[])")  # as most recorders print it, or nothing
_ADDRESS = re.compile(rb"\s*(?:wss?|https?)://")
RECORDERS_NOTES = "notes of the recorder"


def lines(read: Read) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the bytes of each line that is not blank, with its indentation; one that is too long is empty."""
    number, rest = 1, b""
    while chunk := read(CHUNK):
        if len(rest) > MAX_LINE:
            cut = chunk.find(b"\n")
            if cut < 0:
                continue
            yield number, b""
            number, chunk, rest = number + 1, chunk[cut + 1 :], b""
        text = rest + chunk
        cut = text.rfind(b"\n") + 1
        text, rest = text[:cut], text[cut:]
        place = 0
        for match in _LINE.finditer(text):
            number += text.count(b"\n", place, match.start())
            place = match.start()
            start = text.rfind(b"\n", 0, place) + 1
            yield number, (match[0] if start == place else text[start : match.end()]).rstrip()
        number += text.count(b"\n", place)
    if len(rest) > MAX_LINE:
        yield number, b""
    elif rest.strip():
        yield number, rest.rstrip()


def documents(read: Read, named: NameOf) -> Iterator[Found]:
    """Yield what the documents of a text are, each with its line; one printed over many lines is indented but for its ends."""
    begun: list[bytes] = []
    begun_at = size = 0
    for number, line in lines(read):
        if begun:
            is_inside, is_end = line[:1].isspace() and size < MAX_LINE, line[:1] in (b"}", b"]")
            if is_inside or is_end:
                begun.append(line)
                size += len(line)
            if not is_inside:
                yield from document(b"\n".join(begun), begun_at, named)
                begun = []
            if is_inside or is_end:
                continue
        at = _start(line)
        if line[at:] in (b"{", b"["):
            begun, begun_at, size = [line[at:]], number, 1
        elif at >= 0:
            yield from document(line[at:], number, named)
        else:
            yield _without(line, number)
    if begun:
        yield from document(b"\n".join(begun), begun_at, named)


def _start(line: bytes) -> int:
    """Return where a line's document begins; -1 where it has none, or where what stands before it belongs to another."""
    received = _RECEIVED.match(line)
    if received:
        return received.end()
    places = [place for place in (line.find(b"{"), line.find(b"[")) if place >= 0]
    before = line[: min(places, default=0)]
    is_time = 0 < len(before) <= MOST_BEFORE and not any(mark in before for mark in (b'"', b"}", b"]"))
    return len(before) if is_time or (before and _ADDRESS.match(line)) else -1


def _without(line: bytes, number: int) -> LeftOut | Refused:
    if not line:
        return Refused(number, f"longer than {MAX_LINE} bytes")
    return LeftOut(number, RECORDERS_NOTES) if _ADDRESS.match(line) else Refused(number, NO_FRAME)


def array(read: Read, named: NameOf) -> Iterator[Found]:
    """Yield what the rows of one list are, numbered from 1; one that cannot be read is refused, and reading goes on after it."""
    number, held = 1, b""
    while chunk := read(PIECE):
        held += chunk
        values, held = _cut(held)
        if not values and len(held) > MOST_ROW:
            values, held = _salvaged(held)
        if len(held) > 2 * MOST_ROW:
            yield Refused(
                number, f"this is not valid JSON: a row is longer than {MOST_ROW} bytes; what follows it was not read"
            )
            return
        yield from _judged(values, number, named)
        number += len(values)
    try:
        last = decoded(held)
    except BadRecord:
        last, rest = _salvaged(held)
        last.append(_value(rest[1:].rstrip().removesuffix(b"]")))
    yield from _judged(last if isinstance(last, list) else [last], number, named)


def _cut(held: bytes) -> tuple[list[Any], bytes]:
    """Return the rows of a piece of a list up to the last place where it can be cut, and the rest as the list's beginning."""
    ends = [(match.start() + 1, match.end()) for match in _BOUNDARY.finditer(held)]
    for end, begin in ends[: -MOST_TRIES - 1 : -1]:
        try:
            values = decoded(held[:end] + b"]")
        except BadRecord:
            continue  # in the midst of a row, or behind a damaged one
        if isinstance(values, list):
            return values, b"[" + held[begin:]
    return [], held


def _salvaged(held: bytes) -> tuple[list[Any], bytes]:
    """Return the rows of a damaged piece one by one, a damaged one as its error, and the rest from its last boundary on."""
    values: list[Any] = []
    begin, ends = held.find(b"[") + 1, [(match.start() + 1, match.end()) for match in _BOUNDARY.finditer(held)]
    number = 0
    while number < len(ends):
        for tried in range(number, min(number + ROW_TRIES, len(ends))):
            value = _value(held[begin : ends[tried][0]])
            if not isinstance(value, BadRecord):
                number = tried
                break
        values.append(value)
        begin = ends[number][1]
        number += 1
    return values, b"[" + held[begin:]


def _value(raw: bytes) -> Any:
    try:
        return decoded(raw)
    except BadRecord as error:
        return error


def _judged(values: list[Any], number: int, named: NameOf) -> Iterator[Found]:
    for line, value in enumerate(values, number):
        if isinstance(value, BadRecord):
            yield Refused(line, str(value))
        else:
            yield row(value, line, named)
