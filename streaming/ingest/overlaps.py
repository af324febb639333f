"""What is left of an aggregate when some of its trades are in the log already, so that none counts twice.

An aggregate is one taker order's fills at one price: its trades share price, side and time, their quantities add up to its
own (github.com/binance/binance-spot-api-docs, rest-api.md, "Compressed/Aggregate trades list"). So the quantity of a run of
them is the aggregate's less that of the others, if all the others are known.
"""

from __future__ import annotations

from collections.abc import Iterable

from quantstream.core.time import may_be_same
from quantstream.core.trade import Trade


def alike(one: Trade, other: Trade) -> bool:
    """Tell whether two trades may belong to one aggregate."""
    return (
        one.price == other.price
        and may_be_same(one.traded_at, other.traded_at)
        and one.buyer_is_maker is other.buyer_is_maker
        and one.symbol == other.symbol
    )


def remainder(aggregate: Trade, first: int, last: int, known: Iterable[Trade]) -> Trade | None:
    """Return the part of an aggregate with the trade ids of it within `[first, last]`, exact, or None when it cannot be told.

    `known` are trades of the log. It cannot be told when one of the aggregate's trades outside is not among them, or when
    they contradict it.
    """
    first, last = max(first, aggregate.first_trade_id), min(last, aggregate.last_trade_id)
    if first > last:
        return None
    quantity, unknown = aggregate.quantity, aggregate.trade_count - (last - first + 1)
    for trade in {trade.first_trade_id: trade for trade in known}.values():
        if trade.last_trade_id < aggregate.first_trade_id or trade.first_trade_id > aggregate.last_trade_id:
            continue
        is_within = aggregate.first_trade_id <= trade.first_trade_id and trade.last_trade_id <= aggregate.last_trade_id
        is_outside = trade.last_trade_id < first or trade.first_trade_id > last
        if not (is_within and is_outside and alike(trade, aggregate)):
            return None
        quantity -= trade.quantity
        unknown -= trade.trade_count
    if unknown or quantity < 0:
        return None
    return Trade(
        symbol=aggregate.symbol,
        id=aggregate.id,
        first_trade_id=first,
        last_trade_id=last,
        price=aggregate.price,
        quantity=quantity,
        traded_at=aggregate.traded_at,
        buyer_is_maker=aggregate.buyer_is_maker,
    )
