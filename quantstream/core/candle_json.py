"""A candle as JSON: numbers as decimal text with all their decimals, fields in the order of `Candle`, byte for byte the same
wherever it is printed."""

from __future__ import annotations

from typing import Any

import msgspec

from quantstream.core.candle import Candle
from quantstream.core.decimals import QUOTE_DECIMALS, QUOTE_UNIT, UNIT, to_units
from quantstream.core.errors import BadRecord

QUOTE_FIELDS = ("quote_volume", "taker_buy_quote_volume")
UNIT_FIELDS = ("open", "high", "low", "close", "volume", "taker_buy_volume")
TEXT_FIELDS = ("symbol", "interval", "source", "is_complete")
_KINDS = (
    dict.fromkeys(UNIT_FIELDS, b'"%d.%08d"')
    | dict.fromkeys(QUOTE_FIELDS, b'"%d.%016d"')
    | dict.fromkeys(TEXT_FIELDS, b"%b")
)
_PLACES = (b'"%b":%b' % (name.encode(), _KINDS.get(name, b"%d")) for name in Candle.__struct_fields__)
_FORMAT = b"{" + b",".join(_PLACES) + b"}"
_text = msgspec.json.Encoder().encode


def print_candle(candle: Candle) -> bytes:
    """Return a candle's JSON. One format for all of it takes half the time of texts for each: all windows close at once."""
    return _FORMAT % (
        _text(candle.symbol),
        _text(candle.interval),
        candle.opened_at,
        *divmod(candle.open, UNIT),
        *divmod(candle.high, UNIT),
        *divmod(candle.low, UNIT),
        *divmod(candle.close, UNIT),
        *divmod(candle.volume, UNIT),
        *divmod(candle.quote_volume, QUOTE_UNIT),
        candle.trade_count,
        *divmod(candle.taker_buy_volume, UNIT),
        *divmod(candle.taker_buy_quote_volume, QUOTE_UNIT),
        candle.first_trade_id,
        candle.last_trade_id,
        b"true" if candle.is_complete else b"false",
        candle.revision,
        _text(candle.source),
    )


def parse_candle(raw: bytes | msgspec.Raw) -> Candle:
    """Return the candle that `print_candle` printed.

    Raises: BadRecord.
    """
    try:
        fields = msgspec.json.decode(raw, type=dict[str, Any])
        numbers = {name: to_units(fields[name]) for name in UNIT_FIELDS}
        quotes = {name: to_units(fields[name], QUOTE_DECIMALS) for name in QUOTE_FIELDS}
        return msgspec.convert({**fields, **numbers, **quotes}, Candle)
    except (KeyError, AttributeError, TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise BadRecord(f"not a candle: {error!r}") from error
