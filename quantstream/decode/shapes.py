"""The shape that a producer prints its events in, learned from one of them, so that the others are read as columns.

A shape is the record's fixed text with places for values: `{"e":"trade","E":…,"s":"…"`. Any order of fields, any spacing and
any further fields will do, as long as the producer keeps to it. A record that differs in one byte where it should not
does not match, and is then read by `quantstream.binance.wire.parse_record`, which alone decides what a trade is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from quantstream.binance.wire import MICROSECONDS_FROM, TRADE_EVENTS
from quantstream.core.time import EARLIEST, LATEST
from quantstream.core.trade import MAX_SINGLES
from quantstream.decode.digits import (
    LONGEST_LITERAL,
    MOST_TEXT,
    Flags,
    Ints,
    Page,
    booleans,
    decimals,
    first_lengths,
    json_integers,
    lengths,
    matches,
)

_PAIR = re.compile(rb'\s*"(\w+)"\s*:\s*(?:"([^"\\]*)"|(\d+)|(true|false))\s*([,}])')
_KINDS = ("", "", "text", "int", "bool")  # by group of the pattern
PRINTED = ("p", "q", "price", "qty")  # decimals in quotes
CHECKED = ("s", *PRINTED)  # in an event: whoever reads them makes sure that no quote is inside
_TYPES = {
    **dict.fromkeys(("e", "s", *PRINTED), "text"),
    **dict.fromkeys(("E", "t", "a", "f", "l", "T", "id", "time"), "int"),
    **dict.fromkeys(("m", "isBuyerMaker"), "bool"),
}


@dataclass(frozen=True)
class Place:
    """A value between two literals; `length` is how long it was in the record that the shape was learnt from."""

    name: str
    kind: str
    length: int


@dataclass(frozen=True)
class Shape:
    """The fixed text before, between and after the values, and the values, in order."""

    literals: tuple[bytes, ...]
    places: tuple[Place, ...]
    event: str  # trade, aggTrade, or empty for a row of a REST answer

    @property
    def skeleton(self) -> tuple[object, ...]:
        """Return what makes two shapes the same."""
        return self.literals, tuple((place.name, place.kind) for place in self.places)


@dataclass
class Fields:
    """What a shape found in the records that match it; `rows` are their numbers, the rest is parallel."""

    rows: Ints
    symbol_starts: Ints | None  # where the symbol is printed, if it is
    symbol_ends: Ints | None
    id: Ints
    first: Ints
    last: Ints
    price: Ints
    quantity: Ints
    at: Ints  # µs
    maker: Flags

    def only(self, kept: Flags) -> Fields:
        """Return some of the rows."""
        columns: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(self)}
        chosen: dict[str, Any] = {name: column if column is None else column[kept] for name, column in columns.items()}
        return Fields(**chosen)


def learn(raw: bytes) -> Shape | None:
    """Return the shape of a trade's record, None when it is not a flat object of plain values."""
    at = 1 if raw[:1] == b"{" else len(raw)
    pairs: dict[str, tuple[str, int, int]] = {}
    closed = b","
    while closed == b",":
        found = _PAIR.match(raw, at)
        if found is None:
            return None
        group = next(number for number in (2, 3, 4) if found[number] is not None)
        name = found[1].decode("latin-1")
        if name in pairs or _TYPES.get(name, _KINDS[group]) != _KINDS[group]:
            return None
        pairs[name] = (_KINDS[group], *found.span(group))
        at, closed = found.end(), found[5]
    return _shape(raw, pairs) if at == len(raw) and _is_trade(raw, pairs) else None


def _is_trade(raw: bytes, pairs: Mapping[str, tuple[str, int, int]]) -> bool:
    """Tell whether the values make a trade, by the rules of `parse_trade`."""
    names = set(pairs)
    numbers = {"t", "p", "q"} if "t" in names else {"a", "f", "l", "p", "q"} if "a" in names else {"id", "price", "qty"}
    if not numbers <= names or not names & {"T", "time"} or "X" in names:
        return False
    if "a" in numbers and "M" not in names:  # an aggregate of futures, whose trades are numbered otherwise
        return False
    return "e" not in names or ("s" in names and _text(raw, pairs["e"]) in TRADE_EVENTS)


def _text(raw: bytes, pair: tuple[str, int, int]) -> str:
    return raw[pair[1] : pair[2]].decode("latin-1")


def _shape(raw: bytes, pairs: Mapping[str, tuple[str, int, int]]) -> Shape | None:
    literals, places, position = [], [], 0
    for name, (kind, start, end) in pairs.items():
        if name == "e":  # what kind of event it is belongs to the shape
            continue
        literals.append(raw[position:start])
        places.append(Place(name, kind, end - start))
        position = end
    literals.append(raw[position:])
    if any(len(literal) > LONGEST_LITERAL for literal in literals) or any(place.length > MOST_TEXT for place in places):
        return None
    return Shape(tuple(literals), tuple(places), _text(raw, pairs["e"]) if "e" in pairs else "")


def read(shape: Shape, page: Page, rows: Ints, careful: bool = False) -> Fields:
    """Return the fields of those of the records `rows` that match the shape and hold a trade that can be.

    Values are expected to be about as long as those it was learnt from; `careful` finds shorter ones too, more slowly.
    """
    ok = np.ones(len(rows), np.bool_)
    spans = _spans(shape, page, rows, ok, careful)
    values: dict[str, Ints] = {}
    for place in shape.places:
        if place.kind == "int":
            values[place.name], good = json_integers(page, *spans[place.name])
        elif place.kind == "bool":
            values[place.name], good = booleans(page, *spans[place.name])  # type: ignore[assignment]
        elif place.name in PRINTED:
            values[place.name], good = decimals(page, *spans[place.name])
        else:
            continue
        ok &= good
    return _fields(shape, rows, spans.get("s"), values, ok)


def _spans(shape: Shape, page: Page, rows: Ints, ok: Flags, careful: bool) -> dict[str, tuple[Ints, Ints]]:
    """Return where each value begins and ends; `ok` loses the records whose fixed text is another."""
    position, finish, spans = page.starts[rows], page.ends[rows], {}
    for number, place in enumerate(shape.places):
        literal, following = shape.literals[number], shape.literals[number + 1][:1]
        ok &= matches(page, position, literal)
        start = np.minimum(position + len(literal), finish)
        if place.kind == "bool":
            size = 5 - (page.bytes[start] == ord("t"))
        elif not careful and (place.kind == "int" or place.name in (CHECKED if shape.event else PRINTED)):
            size = lengths(page, start, following, place.length)
        else:
            size = first_lengths(page, start, following)
        position = np.minimum(start + size, finish)
        spans[place.name] = start, position
    ok &= (finish - position == len(shape.literals[-1])) & matches(page, position, shape.literals[-1])
    return spans


def _fields(
    shape: Shape, rows: Ints, symbol: tuple[Ints, Ints] | None, values: Mapping[str, Ints], ok: Flags
) -> Fields:
    ids = ("t", "t", "t") if "t" in values else ("a", "f", "l") if "a" in values else ("id", "id", "id")
    number, first, last = (values[name] for name in ids)
    price, quantity = (values["p"], values["q"]) if "t" in values or "a" in values else (values["price"], values["qty"])
    at = values["T"] if "T" in values else values["time"]
    at = np.where(at >= MICROSECONDS_FROM, at, at * 1000)
    makers = [values[name].view(np.bool_) for name in ("m", "isBuyerMaker") if name in values]
    maker = np.logical_or.reduce(makers) if makers else np.zeros(len(rows), np.bool_)
    ok &= (price > 0) & (at >= EARLIEST) & (at < LATEST) & (first <= last) & (last - first < MAX_SINGLES)
    spans = symbol if shape.event else None  # a REST row goes by its key
    starts, ends = spans if spans else (None, None)
    found = Fields(rows, starts, ends, number, first, last, price, quantity, at, maker)
    return found if ok.all() else found.only(ok)
