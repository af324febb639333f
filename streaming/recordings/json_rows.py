"""Trades kept as JSON: frames of WebSockets, answers of REST, rows and unified trades of ccxt; each told by parsing it.

What a document is, is decided by its fields, in whatever order they are printed. An event of another stream, an acknowledgement
and a trade that was not made on the market are left out and counted; anything else that is no trade is refused with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from quantstream.binance.wire import MAX_FRAME, TRADE_EVENTS, is_trade_stream, parse_trade
from quantstream.core.decimals import to_units
from quantstream.core.errors import BadRecord
from quantstream.core.trade import Trade, is_symbol
from streaming.recordings.cells import maker_of_side, moment, plain, shown, symbol, truth, whole
from streaming.recordings.found import LeftOut, Refused, Row

OTHER_STREAMS = "events of other streams"
ACKNOWLEDGEMENTS = "acknowledgements"
OFF_MARKET = "trades not made on the market"
MARKET = "MARKET"  # what futures say in `X` of an ordinary trade
_WRONG = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_NO_TRADES = frozenset({"lastUpdateId", "bids", "asks", "b", "B", "u", "k", "serverTime"})
NameOf = Callable[[], str]  # the symbol where a row does not tell it


class _Document(msgspec.Struct):
    stream: str | None = None
    data: msgspec.Raw = msgspec.Raw()
    e: str | None = None
    X: str | None = None


_documents = msgspec.json.Decoder(_Document)


def document(raw: bytes, line: int, named: NameOf) -> Iterator[Row | LeftOut | Refused]:
    """Yield what one document holds: an event, a frame around one, a REST row, or a list of rows."""
    try:
        if raw[:1] == b"[":
            values = decoded(raw)
            are_rows = not values or isinstance(values[0], list | dict)  # else it is one row of ccxt's
            yield from (row(value, line, named) for value in (values if are_rows else [values]))
        else:
            yield _one(raw, line, named)
    except BadRecord as error:
        yield Refused(line, str(error))


def row(value: Any, line: int, named: NameOf) -> Row | LeftOut | Refused:
    """Return what one value is: a row of ccxt's or of REST's, a unified trade, a frame or an event."""
    try:
        return _row(value, line, named)
    except BadRecord as error:
        return Refused(line, str(error))


def decoded(raw: bytes) -> Any:
    """Return the value of a JSON text.

    Raises: BadRecord.
    """
    try:
        return msgspec.json.decode(raw)
    except _WRONG as error:
        raise BadRecord(f"this is not valid JSON: {error}") from None


def _one(raw: bytes, line: int, named: NameOf) -> Row | LeftOut | Refused:
    if len(raw) > MAX_FRAME:
        raise BadRecord(f"a document of {len(raw)} bytes is larger than any the exchange sends")
    try:
        found = _documents.decode(raw)
        if found.stream is not None and len(found.data):
            if not is_trade_stream(found.stream):
                return LeftOut(line, OTHER_STREAMS)
            raw = bytes(found.data)
            found = _documents.decode(raw)
    except _WRONG as error:
        return _odd(raw, line, named, error)
    if found.e is None:
        return _row(decoded(raw), line, named)
    return _event(raw, found.e, found.X, line)


def _event(raw: bytes, kind: str, execution: str | None, line: int) -> Row | LeftOut:
    if kind not in TRADE_EVENTS:
        return LeftOut(line, OTHER_STREAMS)
    if execution not in (None, MARKET):
        return _off_market(decoded(raw), line)
    trade = parse_trade(raw)
    if not is_symbol(trade.symbol):
        raise BadRecord(f"{shown(trade.symbol)} is no symbol")
    return Row(line, trade, kind)


def _off_market(event: Mapping[str, Any], line: int) -> LeftOut:
    """Return a trade off the market with its ids, where they can be read: they are no gap."""
    try:
        first = whole(event["t"] if "t" in event else event["f"])
        last = whole(event["t"] if "t" in event else event["l"])
        return LeftOut(line, OFF_MARKET, symbol(event["s"]), first, last, moment(event["T"]))
    except (BadRecord, KeyError):
        return LeftOut(line, OFF_MARKET)


def _odd(raw: bytes, line: int, named: NameOf, error: Exception) -> Row | LeftOut | Refused:
    """Judge what has the exchange's short names with other types: an event of a raw book ticker, or nothing known."""
    try:
        value = decoded(raw)
    except BadRecord:
        return Refused(line, f"not a combined-stream frame, nor any other: {error}")
    return _row(value, line, named)


def _row(value: Any, line: int, named: NameOf) -> Row | LeftOut:
    """Return what one value is: ccxt's row or unified trade, a REST row, a frame or an event inside a list.

    Raises: BadRecord.
    """
    if isinstance(value, list):
        return Row(line, _ccxt_row(value, named))
    if not isinstance(value, dict):
        raise BadRecord("a row that is no trade")
    event = value.get("data") if isinstance(value.get("stream"), str) and "data" in value else value
    if event is not value and not is_trade_stream(value["stream"]):
        return LeftOut(line, OTHER_STREAMS)
    if not isinstance(event, dict):
        raise BadRecord("a frame without an event")
    if isinstance(event.get("e"), str):
        execution = event.get("X")
        return _event(_printed(event), event["e"], execution if isinstance(execution, str) else None, line)
    if "result" in event and not event["result"] and "error" not in event:
        return LeftOut(line, ACKNOWLEDGEMENTS)
    if "amount" in event and "side" in event:
        return Row(line, _unified(event, named))
    if not ({"p", "price"} & set(event)) and _NO_TRADES & set(event):
        return LeftOut(line, OTHER_STREAMS)
    return Row(line, _rest_row(event, named))


def _printed(value: Mapping[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise BadRecord(f"not a trade event: {error}") from None


def _rest_row(row: Mapping[str, Any], named: NameOf) -> Trade:
    """REST's own names, long or short, or the long ones that some recorders use."""
    short = "a" in row or "t" in row
    number = _field(row, *(("a", "t") if short else ("trade_id", "id")))
    name = row.get("symbol") or row.get("s")
    first, last = (_field(row, "f"), _field(row, "l")) if "a" in row else (number, number)
    maker = [row[key] for key in ("m", "isBuyerMaker", "is_buyer_maker") if key in row]
    if not maker:
        raise BadRecord("a trade that does not say whether its buyer was the maker")
    return Trade(
        symbol=symbol(name) if name else named(),
        id=whole(number),
        first_trade_id=whole(first),
        last_trade_id=whole(last),
        price=to_units(plain(_field(row, "p", "price"))),
        quantity=to_units(plain(_field(row, "q", "qty", "quantity"))),
        traded_at=moment(_field(row, "T", "time", "timestamp")),
        buyer_is_maker=truth(maker[0]),
    )


def _field(row: Mapping[str, Any], *names: str) -> Any:
    for name in names:
        if name in row:
            return row[name]
    raise BadRecord(f"a row without {' or '.join(names)}; it has {shown(', '.join(map(str, list(row)[:20])))}")


def _unified(row: Mapping[str, Any], named: NameOf) -> Trade:
    """What ccxt's `fetch_trades` returns; of an aggregate, `info` tells which trades it stands for."""
    number = whole(_field(row, "id"))
    info = row.get("info")
    spans = isinstance(info, dict) and {"f", "l"} <= set(info)
    at = row.get("timestamp")
    return Trade(
        symbol=symbol(row["symbol"]) if row.get("symbol") else named(),
        id=number,
        first_trade_id=whole(info["f"]) if spans and info else number,
        last_trade_id=whole(info["l"]) if spans and info else number,
        price=to_units(plain(_field(row, "price"))),
        quantity=to_units(plain(row["amount"])),
        traded_at=moment(_field(row, "datetime") if at is None else at),
        buyer_is_maker=maker_of_side(row["side"]),
    )


def _ccxt_row(row: list[Any], named: NameOf) -> Trade:
    """A row `[ms, id, type, side, price, amount, cost]`, as tools on ccxt keep them; the side is the taker's."""
    if len(row) < 6:
        raise BadRecord(f"a row of {len(row)} values is no trade")
    at, number, _, side, price, amount = row[:6]
    return Trade(
        symbol=named(),
        id=whole(number),
        first_trade_id=whole(number),
        last_trade_id=whole(number),
        price=to_units(plain(price)),
        quantity=to_units(plain(amount)),
        traded_at=moment(at),
        buyer_is_maker=maker_of_side(side),
    )
