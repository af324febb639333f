"""Trades kept as JSON: REST answers, ccxt's compact rows and one object a line, read a piece at a time.

A file may be larger than the memory, and a hostile one may hold a hundred million empty lists: whatever it is, no more than one
piece of it is ever decoded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from quantstream.errors import BadRecord
from quantstream.market import Trade, to_units
from streaming.binance import parse_trade, to_micros

PIECE = 1 << 20  # bytes decoded at once
MOST_ROW = 4 << 20  # bytes that one row may have
MOST_EXPONENT = 30  # of a number that a person could have meant
_BOUNDARY = re.compile(rb"[\]}]\s*,\s*(?=[\[{])")  # between two rows; a trade holds no lists of lists
_WRONG = (BadRecord, msgspec.MsgspecError, ValueError, TypeError, LookupError, ArithmeticError, RecursionError)
NameOf = Callable[[], str]


def array_trades(stream: BinaryIO, path: Path, symbol: str | None, named: NameOf) -> Iterator[Trade]:
    """Yield the trades of a list: REST's objects or ccxt's rows `[ms, id, type, side, price, amount, cost]`.

    `named` tells the symbol where the rows do not. Raises: BadRecord at the row that is broken.
    """
    number = 0
    for rows in _pieces(stream, path):
        for row in rows:
            number += 1
            try:
                yield _ccxt_trade(row, symbol or named()) if isinstance(row, list) else row_trade(row, symbol, named)
            except _WRONG as error:
                raise BadRecord(f"{path}, row {number}: {error}") from None


def _pieces(stream: BinaryIO, path: Path) -> Iterator[list[Any]]:
    """Yield the rows of a list in pieces, cut between rows."""
    held = b""
    while chunk := stream.read(PIECE):
        held += chunk
        cut = 0
        for match in _BOUNDARY.finditer(held):
            cut = match.start() + 1
        if cut:
            yield _decoded(held[:cut] + b"]", path)
            held = b"[" + held[cut:].lstrip()[1:]
        elif len(held) > MOST_ROW:
            raise BadRecord(f"{path} is not valid JSON: a row is longer than {MOST_ROW} bytes")
    yield _decoded(held, path)


def _decoded(raw: bytes, path: Path) -> list[Any]:
    try:
        rows = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRecord(f"{path} is not valid JSON: {error}") from None
    if not isinstance(rows, list):
        raise BadRecord(f"{path} is not valid JSON: a list was begun and something else came of it")
    return rows


def line_trade(line: bytes, symbol: str | None, named: NameOf) -> Trade:
    """Return the trade of one object on a line of its own.

    Raises: BadRecord.
    """
    try:
        return row_trade(msgspec.json.decode(line), symbol, named)
    except _WRONG as error:
        raise BadRecord(str(error)) from None


def row_trade(row: Any, symbol: str | None, named: NameOf) -> Trade:
    """Return a REST row, under the exchange's names or under the long names some recorders use.

    Raises: BadRecord, or what Python says of a row that is something else.
    """
    if not isinstance(row, dict):
        raise BadRecord("a row that is no trade")
    if "trade_id" in row:
        values = {"id": row["trade_id"], "price": row["price"], "qty": row["quantity"], "time": row["timestamp"]}
        row = {**values, "isBuyerMaker": row["is_buyer_maker"], "symbol": row.get("symbol", "")}
    name = symbol or row.get("symbol") or row.get("s") or named()
    if not isinstance(name, str):
        raise BadRecord("a symbol that is no text")
    return parse_trade(msgspec.json.encode({key: value for key, value in row.items() if key != "symbol"}), name)


def _ccxt_trade(row: list[Any], symbol: str) -> Trade:
    at, number, _, side, price, amount = row[:6]
    if side not in ("buy", "sell"):
        raise BadRecord(f"side {str(side)[:40]!r} should be buy or sell")
    return Trade(
        symbol=symbol,
        id=int(number),
        first_trade_id=int(number),
        last_trade_id=int(number),
        price=to_units(_plain(price)),
        quantity=to_units(_plain(amount)),
        traded_at=to_micros(int(at)),
        buyer_is_maker=side == "sell",  # ccxt names the taker's side
    )


def _plain(number: float | str) -> str:
    """Return a float as the shortest decimal that means it, without an exponent.

    Raises: BadRecord for what is no number, and before an exponent is written out that would fill the memory.
    """
    try:
        exact = Decimal(str(number))
    except InvalidOperation:
        raise BadRecord(f"{str(number)[:60]!r} is no number") from None
    if not exact.is_finite() or abs(exact.adjusted()) > MOST_EXPONENT:
        raise BadRecord(f"{str(number)[:60]!r} is not a number of a sane size")
    return f"{exact:f}"
