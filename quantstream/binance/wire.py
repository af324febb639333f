"""Binance's bytes to and from trades, pure: stream events, REST rows, combined frames.

Source of every field: github.com/binance/binance-spot-api-docs, web-socket-streams.md and rest-api.md.
"""

from __future__ import annotations

from typing import Any

import msgspec

from quantstream.core.candle import NO_TRADE_ID
from quantstream.core.decimals import DECIMALS, MAX_DIGITS, to_units, units_text
from quantstream.core.errors import BadRecord
from quantstream.core.time import EARLIEST, LATEST, MICROSECONDS_FROM, MILLISECOND, to_micros, to_millis
from quantstream.core.trade import Trade
from quantstream.core.trade_ids import Gap

MAX_FRAME = 1 << 20  # bytes; the exchange's own frames stay far below


MARKET = "MARKET"


class NotMarketTrade(BadRecord):
    """A trade of a futures market that no market order made (insurance fund, deleveraging, settlement): it is in no candle."""


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
    M: Any = None  # only in spot's
    X: str = MARKET  # only in futures' single trades: how it came about
    id: int = -1
    price: str = ""
    qty: str = ""
    time: int = 0
    isBuyerMaker: bool = False  # noqa: N815  (the exchange's name)


class LogPosition(msgspec.Struct, frozen=True, omit_defaults=True):
    """A symbol's position in the log, which heartbeats carry for a restart: its last trade, the id to ask for next, its gaps."""

    last: int = NO_TRADE_ID
    last_at: int = 0  # µs
    next: int = NO_TRADE_ID  # in the stream's own numbering
    gaps: list[Gap] = msgspec.field(name="holes", default_factory=list)


_frames = msgspec.json.Decoder(_Frame)
_events = msgspec.json.Decoder(_Event)
_positions = msgspec.json.Decoder(LogPosition)
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


def announces_shutdown(raw: bytes) -> bool:
    """Tell whether an event announces that the exchange will close the connection."""
    return b'"e":"serverShutdown"' in raw[:200]


def is_trade_stream(stream: str) -> bool:
    """Tell whether a stream's events are trades."""
    return stream.endswith(("@trade", "@aggTrade"))


def parse_trade(raw: bytes, symbol: str = "") -> Trade:
    """Return the trade of a stream event, or of a REST row when its `symbol` is given.

    An aggregate without `M` is one of futures: `a` runs without a gap, `f` and `l` skip (developers.binance.com, USDⓈ-M futures,
    "insurance fund trades and ADL trades won't be aggregated"). Raises: BadRecord, NotMarketTrade.
    """
    event = _event(raw)
    if event.X != MARKET:
        raise NotMarketTrade(f"a trade of {event.s[:40]} that is no market trade but {event.X[:40]!r}")
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
    return Trade(  # in the order of its fields: to name each would cost more than to make it
        symbol,
        ids[0],
        ids[1],
        ids[2],
        _units(number[0]),
        _units(number[1]),
        to_micros(event.T or event.time),
        event.m or event.isBuyerMaker,
        event.M is None and event.t < 0 <= event.a,
    )


def _units(text: str) -> int:
    """Return `to_units` of a text, sooner for one with all eight decimals, as the exchange prints them."""
    if text[-1 - DECIMALS : -DECIMALS] == ".":
        digits = text[: -1 - DECIMALS] + text[-DECIMALS:]
        if len(digits) <= MAX_DIGITS and digits.isascii() and digits.isdigit():
            return int(digits)
    return to_units(text)


def _printed(at: int) -> int:
    """Return a time (µs) as the exchange prints it: in ms, or in µs where ms cannot hold it and its size tells that it is."""
    return at if at % MILLISECOND and at >= MICROSECONDS_FROM else to_millis(at)


def trade_event(trade: Trade) -> bytes:
    """Return a trade as the exchange's stream event: `trade` for a single one, `aggTrade` for an aggregate.

    Its time is in µs where ms cannot hold it. So an adapter of another exchange writes its trades into the log
    (CONTRIBUTING, "Add an exchange").
    """
    head = {"E": _printed(trade.traded_at), "s": trade.symbol}
    body = {"p": units_text(trade.price), "q": units_text(trade.quantity)}
    tail = {"T": _printed(trade.traded_at), "m": trade.buyer_is_maker, "M": True}
    if trade.id == trade.first_trade_id == trade.last_trade_id:
        return msgspec.json.encode({"e": "trade", **head, "t": trade.id, **body, **tail})
    span = {"f": trade.first_trade_id, "l": trade.last_trade_id}
    return msgspec.json.encode({"e": "aggTrade", **head, "a": trade.id, **body, **span, **tail})


def aggregate_row(trade: Trade) -> bytes:
    """Return a trade as a row of the exchange's aggTrades; its time in µs where ms cannot hold it."""
    numbers = {"a": trade.id, "p": units_text(trade.price), "q": units_text(trade.quantity)}
    span = {"f": trade.first_trade_id, "l": trade.last_trade_id, "T": _printed(trade.traded_at)}
    return msgspec.json.encode({**numbers, **span, "m": trade.buyer_is_maker, "M": True})


def heartbeat_event(symbol: str, at: int, position: LogPosition | None = None) -> bytes:
    """Return our own record that says: every trade of `symbol` before `at` (µs, exchange time) is in the log."""
    event = {"e": "heartbeat", "E": at, "s": symbol}
    return msgspec.json.encode({**event, **msgspec.to_builtins(position or LogPosition())})


def heartbeat_position(raw: bytes) -> LogPosition:
    """Return the position of its symbol that a heartbeat carries.

    Raises: BadRecord.
    """
    try:
        return _positions.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRecord(f"not a heartbeat: {error}") from None


def parse_record(raw: bytes, symbol: str) -> Trade | int:
    """Return what a record of the trades topic holds: a trade, or the time (µs) of a heartbeat.

    Raises: BadRecord.
    """
    if raw.startswith(b'{"e":"heartbeat"'):
        event = _event(raw)
        if event.e == "heartbeat":  # and not a trade that names its kind twice
            if not EARLIEST <= event.E < LATEST:
                raise BadRecord("a heartbeat dated outside 2009 to 2100")
            return event.E
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
