"""Binance's bytes to and from trades, pure: stream events, REST rows, combined frames.

Source of every field: github.com/binance/binance-spot-api-docs, web-socket-streams.md and rest-api.md.
"""

from __future__ import annotations

import msgspec

from quantstream.errors import BadRecord
from quantstream.market import Trade, to_units, units_text

MICROSECONDS_FROM = 10**14  # a time this large is in µs: as ms it would be the year 5138
MAX_FRAME = 1 << 20  # bytes; the exchange's own frames stay far below


class _Frame(msgspec.Struct):
    stream: str
    data: msgspec.Raw


class _Event(msgspec.Struct):
    """Union of the trade shapes: stream trade, stream aggTrade, REST trade, REST aggTrade, heartbeat."""

    e: str = ""
    E: int = 0
    s: str = ""
    t: int = -1
    a: int = -1
    f: int = -1
    l: int = -1  # noqa: E741  (the exchange's name)
    p: str = ""
    q: str = ""
    T: int = 0
    m: bool = False
    id: int = -1
    price: str = ""
    qty: str = ""
    time: int = 0
    isBuyerMaker: bool = False  # noqa: N815  (the exchange's name)


_frames = msgspec.json.Decoder(_Frame)
_events = msgspec.json.Decoder(_Event)
_rows = msgspec.json.Decoder(list[msgspec.Raw])
TRADE_EVENTS = ("trade", "aggTrade")


def split_frame(raw: bytes) -> tuple[str, bytes]:
    """Return the stream's name and the event's own bytes of a combined-stream frame.

    Raises: BadRecord for anything else.
    """
    if len(raw) > MAX_FRAME:
        raise BadRecord(f"a frame of {len(raw)} bytes is larger than any the exchange sends")
    try:
        frame = _frames.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRecord(f"not a combined-stream frame: {error}") from None
    return frame.stream, bytes(frame.data)


def is_trade_stream(stream: str) -> bool:
    """Tell whether a stream's events are trades."""
    return stream.endswith(("@trade", "@aggTrade"))


def parse_trade(raw: bytes, symbol: str = "") -> Trade:
    """Return the trade of a stream event, or of a REST row when its `symbol` is given.

    Raises: BadRecord.
    """
    event = _event(raw)
    if event.e:
        if event.e not in TRADE_EVENTS:
            raise BadRecord(f"event {event.e[:40]!r} is not a trade")
        symbol = event.s
    if not symbol:
        raise BadRecord("a trade without its symbol")
    if event.t >= 0:
        ids, number = (event.t, event.t, event.t), (event.p, event.q)
    elif event.a >= 0:
        ids, number = (event.a, event.f, event.l), (event.p, event.q)
    else:
        ids, number = (event.id, event.id, event.id), (event.price, event.qty)
    return Trade(
        symbol=symbol,
        id=ids[0],
        first_trade_id=ids[1],
        last_trade_id=ids[2],
        price=to_units(number[0]),
        quantity=to_units(number[1]),
        traded_at=to_micros(event.T or event.time),
        buyer_is_maker=event.m or event.isBuyerMaker,
    )


def to_micros(at: int) -> int:
    """Return a time of the exchange, in ms or µs, as µs."""
    return at if at >= MICROSECONDS_FROM else at * 1000


def trade_event(trade: Trade, event_at: int | None = None) -> bytes:
    """Return a trade as the exchange's stream event: `trade` for a single one, `aggTrade` for an aggregate."""
    head = {"E": (event_at or trade.traded_at) // 1000, "s": trade.symbol}
    body = {"p": units_text(trade.price), "q": units_text(trade.quantity)}
    tail = {"T": trade.traded_at // 1000, "m": trade.buyer_is_maker, "M": True}
    if trade.id == trade.first_trade_id == trade.last_trade_id:
        return msgspec.json.encode({"e": "trade", **head, "t": trade.id, **body, **tail})
    span = {"f": trade.first_trade_id, "l": trade.last_trade_id}
    return msgspec.json.encode({"e": "aggTrade", **head, "a": trade.id, **body, **span, **tail})


def heartbeat_event(symbol: str, at: int) -> bytes:
    """Return our own record that says: every trade of `symbol` before `at` (µs, exchange time) is in the log."""
    return msgspec.json.encode({"e": "heartbeat", "E": at, "s": symbol})


def parse_record(raw: bytes, symbol: str) -> Trade | int:
    """Return what a record of the trades topic holds: a trade, or the time (µs) of a heartbeat.

    Raises: BadRecord.
    """
    if raw.startswith(b'{"e":"heartbeat"'):
        return _event(raw).E
    trade = parse_trade(raw, symbol)
    if symbol and trade.symbol != symbol:
        raise BadRecord(f"a trade of {trade.symbol} under the key {symbol}")
    return trade


def split_rows(raw: bytes) -> list[bytes]:
    """Return the rows of a REST answer, each as its own bytes.

    Raises: BadRecord.
    """
    try:
        return [bytes(row) for row in _rows.decode(raw)]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRecord(f"not a list of trades: {error}") from None


def _event(raw: bytes) -> _Event:
    if len(raw) > MAX_FRAME:
        raise BadRecord(f"an event of {len(raw)} bytes is larger than any the exchange sends")
    try:
        return _events.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRecord(f"not a trade event: {error}") from None
