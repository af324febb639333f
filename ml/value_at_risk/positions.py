"""Positions that a user states in a file: CSV or JSON of symbol and quantity. What makes no sense is refused in one sentence.

    symbol,quantity        [{"symbol": "BTCUSDT", "quantity": "0.5"}]        {"BTCUSDT": 0.5}
    BTCUSDT,0.5
    ETHUSDT,-4

A quantity is in coins, below zero where it was sold short. Nothing is guessed: a file with a part that is not understood has no
risk.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

from quantstream.core.errors import Misconfigured
from quantstream.core.trade import is_symbol

COLUMNS = ("symbol", "quantity")
LARGEST = 1 << 20  # bytes of a file
MOST = 2_000  # positions
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
BEYOND = Decimal(10) ** 18  # coins: there are not so many of any
SHAPE = 'write a line symbol,quantity and a line for each holding below it, or JSON as {"BTCUSDT": 0.5}'


@dataclass(frozen=True)
class Position:
    """So many coins of a symbol, below zero where they were sold short."""

    symbol: str
    quantity: Decimal


def read_positions(file: Path) -> list[Position]:
    """Return the positions of a file, in its order. Raises: Misconfigured with what is wrong and where."""
    text = _text(file)
    if not text.strip():
        raise Misconfigured(f"{file} is empty; {SHAPE}")
    rows = _of_json(file, text) if text.lstrip()[0] in "[{" else _of_csv(file, text)
    found = [_position(f"{file}, {place}", symbol, quantity) for place, symbol, quantity in rows]
    if not found:
        raise Misconfigured(f"{file} holds no position; {SHAPE}")
    if len(found) > MOST:
        raise Misconfigured(f"{file} holds {len(found):,} positions, more than {MOST:,}")
    names = [one.symbol for one in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise Misconfigured(f"{file} names {', '.join(twice)} more than once; add up what belongs together")
    return found


def _text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(LARGEST + 1)
    except OSError as error:
        raise Misconfigured(f"the positions in {file} cannot be read: {error.strerror or error}") from error
    if len(content) > LARGEST:
        raise Misconfigured(f"{file} is larger than {LARGEST >> 20} MB: that is no file of positions")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Misconfigured(f"{file} is not text in UTF-8; {SHAPE}") from error


def _of_csv(file: Path, text: str) -> Iterable[tuple[str, Any, Any]]:
    try:
        lines = [(number, cells) for number, cells in enumerate(csv.reader(io.StringIO(text)), 1) if any(cells)]
    except csv.Error as error:
        raise Misconfigured(f"{file} is not CSV: {error}; {SHAPE}") from error
    head = tuple(cell.strip().lower() for cell in lines[0][1])
    if sorted(head) != sorted(COLUMNS):
        raise Misconfigured(f"{file} begins with {','.join(lines[0][1])[:100]!r} instead of symbol,quantity; {SHAPE}")
    for number, cells in lines[1:]:
        if len(cells) != len(COLUMNS):
            raise Misconfigured(f"{file}, line {number} has {len(cells)} cells instead of 2; {SHAPE}")
        row = dict(zip(head, cells, strict=True))
        yield f"line {number}", row["symbol"], row["quantity"]


def _of_json(file: Path, text: str) -> Iterable[tuple[str, Any, Any]]:
    def no_number(word: str) -> NoReturn:
        raise Misconfigured(f"{file} holds {word}, which is no quantity")

    try:
        whole = json.loads(
            text, parse_float=Decimal, parse_int=Decimal, parse_constant=no_number, object_pairs_hook=_Pairs
        )
    except (ValueError, RecursionError) as error:
        raise Misconfigured(f"{file} is not JSON: {str(error)[:200]}; {SHAPE}") from error
    if isinstance(whole, _Pairs):
        for symbol, quantity in whole.pairs:
            yield f"position {str(symbol)[:40]!r}", symbol, quantity
        return
    for number, row in enumerate(whole, 1):
        names = [name for name, _ in row.pairs] if isinstance(row, _Pairs) else []
        if sorted(names) != sorted(COLUMNS):
            raise Misconfigured(f"{file}, position {number} has not symbol and quantity, each once; {SHAPE}")
        fields = dict(row.pairs)
        yield f"position {number}", fields["symbol"], fields["quantity"]


class _Pairs:
    """An object of JSON with every name that it holds, also those it holds twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = pairs


def _position(place: str, symbol: Any, quantity: Any) -> Position:
    name = symbol.strip().upper() if isinstance(symbol, str) else ""
    if not is_symbol(name):
        raise Misconfigured(
            f"{place}: {str(symbol)[:40]!r} is not a symbol; write it as the exchange does, e.g. BTCUSDT"
        )
    if isinstance(quantity, bool) or not isinstance(quantity, str | Decimal):
        raise Misconfigured(f"{place}: the quantity of {name} is no number; write coins, e.g. 0.5 or -4")
    coins = quantity if isinstance(quantity, Decimal) else _decimal(quantity.strip())
    if coins is None or not coins.is_finite():
        raise Misconfigured(f"{place}: {str(quantity)[:40]!r} is no quantity of {name}; write coins, e.g. 0.5 or -4")
    if abs(coins) >= BEYOND:
        raise Misconfigured(f"{place}: {str(quantity)[:40]} of {name} are more than there are")
    return Position(name, coins)


def _decimal(text: str) -> Decimal | None:
    """A number as people and the exchange write it; nothing else that Python takes for one, like 1_000."""
    return Decimal(text) if NUMBER.fullmatch(text) else None
