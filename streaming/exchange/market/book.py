"""An invented order book that a client can keep right: a pure function of the last trade, with an update for each trade.

The exchange plays trades, not orders. Its book is a hundred levels a side, a tick apart around the last price, and its update id
is the last trade's id. Snapshots, updates and best prices all come from here, so that a book kept from the updates as the
exchange's documentation says equals the snapshot of the same update id, level by level.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from quantstream.core.decimals import units_text
from streaming.exchange.market.listing import Listing
from streaming.exchange.market.protocol import Market, trades_between
from streaming.exchange.market.statistics import Last, last_trade

LEVELS = 100  # of each side: all that the book has, whatever limit is asked for
Side = list[tuple[int, int]]  # prices and quantities in 10⁻⁸, best first


class Update(NamedTuple):
    """What changed from the update id `first` − 1 to `last`: levels with their new quantity, 0 for those that are gone."""

    first: int
    last: int
    bids: Side
    asks: Side


def quotes(listing: Listing, price: int) -> tuple[int, int]:
    """Return the best bid and ask around a last price: a tick apart, as in a liquid book."""
    return max(price - listing.tick, listing.tick), max(price, 2 * listing.tick)


def quantity_at(listing: Listing, price: int, level: int) -> int:
    """Return the quantity of a level: steady for a price, larger further away."""
    worth = (200 + price % 977 * (1 + level)) * 10**16  # 10⁻¹⁶ of the quote asset
    return max(1, worth // price // listing.lot) * listing.lot


def book_at(listing: Listing, price: int, levels: int = LEVELS) -> tuple[Side, Side]:
    """Return bids and asks around a last price."""
    bid, ask = quotes(listing, price)
    count = min(levels, LEVELS)
    bids = [below for level in range(count) if (below := bid - level * listing.tick) > 0]
    asks = [ask + level * listing.tick for level in range(count)]
    return _sized(listing, bids), _sized(listing, asks)


def update_between(market: Market, symbol: str, told: Last, last: Last, now: int) -> Update:
    """Return what changed from the book of the trade `told` to that of `last`, the newest before `now`.

    Every level that was in a book in between is named: a client that started from a snapshot in between is put right too.
    """
    listing = market.listings[symbol]
    prices = {told.price} if told.price else set()
    for tape, start, stop in trades_between(market, symbol, told.at, now):
        prices.update(tape.price[start:stop].tolist())
    bids, asks = (dict(side) for side in book_at(listing, last.price))
    seen = [book_at(listing, price) for price in prices]
    return Update(
        told.id + 1,
        last.id,
        _with_gone(bids, (price for book, _ in seen for price, _ in book), best_first=-1),
        _with_gone(asks, (price for _, book in seen for price, _ in book), best_first=1),
    )


def rows(side: Side) -> list[list[str]]:
    """Return a side as the exchange writes it."""
    return [[units_text(price), units_text(quantity)] for price, quantity in side]


def snapshot(market: Market, symbol: str, limit: int, now: int) -> tuple[Last, list[list[str]], list[list[str]]]:
    """Return the trade that the book before `now` belongs to, its bids and its asks.

    Raises: Refused when nothing has traded yet.
    """
    last = last_trade(market, symbol, now)
    bids, asks = book_at(market.listings[symbol], last.price, limit)
    return last, rows(bids), rows(asks)


def _sized(listing: Listing, prices: list[int]) -> Side:
    return [(price, quantity_at(listing, price, level)) for level, price in enumerate(prices)]


def _with_gone(present: dict[int, int], seen: Iterable[int], best_first: int) -> Side:
    gone = dict.fromkeys(seen, 0)
    return sorted((gone | present).items(), key=lambda level: best_first * level[0])
