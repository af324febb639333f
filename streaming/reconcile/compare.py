"""One window's candle as stored, as recomputed and as the exchange has it: are they the same, field by field, exactly?"""

from __future__ import annotations

from typing import Literal

import msgspec
import pyarrow as pa

from quantstream.core.candle import Candle
from quantstream.core.candle_json import QUOTE_FIELDS, UNIT_FIELDS
from quantstream.core.decimals import QUOTE_DECIMALS, UNIT, units_text
from streaming.reconcile.recompute import units

KLINE_FIELDS = (
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "trade_count",
    "taker_buy_volume",
    "taker_buy_quote_volume",
)
TRADE_FIELDS = (*KLINE_FIELDS, "first_trade_id", "last_trade_id")
KLINE_STEP = UNIT  # 10⁻⁸ in units of 10⁻¹⁶: the exchange prints quote volumes with eight decimals
Verdict = Literal["equal", "different", "missing", "incomplete", "unproved", "absent"]


class Stored(msgspec.Struct, frozen=True):
    """A candle as the lake holds it, right or wrong; numbers scaled like `Candle`'s."""

    interval: str
    opened_at: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    quote_volume: int
    trade_count: int
    taker_buy_volume: int
    taker_buy_quote_volume: int
    first_trade_id: int
    last_trade_id: int
    is_complete: bool
    revision: int
    source: str


def stored_candles(rows: pa.Table) -> list[Stored]:
    """Return rows of the lake's table as they are."""
    columns = []
    for name in Stored.__struct_fields__:
        if pa.types.is_decimal(rows.schema.field(name).type):
            columns.append(units(rows[name]))
        elif pa.types.is_timestamp(rows.schema.field(name).type):
            columns.append(rows[name].cast(pa.int64()).to_pylist())
        else:
            columns.append(rows[name].to_pylist())
    return [Stored(*values) for values in zip(*columns, strict=True)]


def judge(
    stored: Stored | None, recomputed: Candle | None, kline: Candle | None, has_klines: bool
) -> tuple[Verdict, tuple[str, ...]]:
    """Return what is to be said of a window, and the fields that differ (`candle` when the exchange has none at all).

    A candle that says itself that it is incomplete is held against its trades alone; one taken from klines against klines
    alone, where they can be had. Without klines (`has_klines` false) every window in the range is due, for the live path
    closes quiet ones too.
    """
    if stored is None:
        return ("absent" if has_klines and kline is None else "missing"), ()
    by_trades = recomputed if stored.source == "trades" else None
    by_klines = kline if stored.is_complete else None
    fields = [name for name in TRADE_FIELDS if by_trades and getattr(stored, name) != getattr(by_trades, name)]
    if by_klines is not None:
        fields += [name for name in KLINE_FIELDS if name not in fields and not as_printed(stored, by_klines, name)]
    elif has_klines and stored.is_complete and stored.trade_count:
        fields += ["candle"]
    if fields:
        return "different", tuple(name for name in (*TRADE_FIELDS, "candle") if name in fields)
    if not stored.is_complete:
        return "incomplete", ()
    agrees_with_trades = recomputed is not None and all(
        getattr(stored, n) == getattr(recomputed, n) for n in KLINE_FIELDS
    )
    return ("equal" if by_klines or agrees_with_trades else "unproved"), ()


def as_printed(stored: Stored | Candle, kline: Candle, name: str) -> bool:
    """Tell whether a field is what the exchange prints.

    It prints quote volumes with eight decimals. Where price × quantity has more, each trade's part was rounded before it was
    added, so that many steps of the last decimal are still the same number.
    """
    ours, theirs = getattr(stored, name), getattr(kline, name)
    if ours == theirs:
        return True
    is_finer = name in QUOTE_FIELDS and ours % KLINE_STEP != 0
    return bool(is_finer and abs(ours - theirs) <= max(1, stored.trade_count) * KLINE_STEP)


def field_text(candle: Stored | Candle | None, name: str) -> str | None:
    """Return a field as exact decimal text; None where there is no candle."""
    if candle is None:
        return None
    if name == "candle":
        return "there"
    value = getattr(candle, name)
    if name in UNIT_FIELDS:
        return units_text(value)
    return units_text(value, QUOTE_DECIMALS) if name in QUOTE_FIELDS else str(value)
