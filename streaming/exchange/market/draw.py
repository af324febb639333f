"""Draws a window of synthetic trades at once: times, prices between the path's minutes, sizes, sides, fills and fat fingers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from quantstream.core.decimals import UNIT
from quantstream.core.time import MINUTE
from streaming.exchange.market.listing import Character, Listing
from streaming.exchange.market.price_path import Day, Floats, generator
from streaming.exchange.market.tape import ALL_ON_BOOK, Bools, FatFinger, Ints, OffBook, Tape

SIZE_SPREAD = 0.9  # of the log of a trade's worth: fifty times the median is then a chance of 1 in 150,000
BUY_TILT = 0.08  # how much a minute's move shifts the share of taker buys, per standard deviation
ORDERS_PER_FAT_FINGER = 4_000
PRICE_FAT_FINGERS = 1 / 3  # of them are off in price, the others in size
OFF_IN_PRICE = (8.0, 16.0)  # standard deviations of five minutes
OFF_IN_SIZE = (60.0, 400.0)  # medians
OFF_BOOK_KINDS, OFF_BOOK_SHARES = ("INSURANCE_FUND", "ADL", "NA"), (0.6, 0.3, 0.1)
OFF_THE_MARKET = 0.04


class _Orders(NamedTuple):
    at: Ints
    mid: Floats
    minute: Ints
    is_buy: Bools


def draw_tape(
    seed: int, listing: Listing, character: Character, day: Day, opened_at: int, first: int, last: int
) -> Tape:
    """Return the trades of the minutes `[first, last)` of a day, of which the first opens at `opened_at`."""
    rng = generator(seed, listing.symbol, 1, opened_at // MINUTE)
    orders = _draw_orders(rng, day, opened_at, first, last)
    fills = _draw_fills(rng, day, first, last)
    ticks = np.floor(orders.mid / (listing.tick / UNIT)).astype(np.int64) + orders.is_buy
    starts = np.concatenate(([0], np.cumsum(fills)))[:-1]
    lots = _draw_lots(rng, int(fills.sum()), np.repeat(orders.mid, fills), listing, character)
    fat_fingers = _spoil(rng, ticks, lots, orders, day.spread[first:last], starts, fills)
    price = np.maximum(ticks, 1) * listing.tick
    before = _orders_after(seed, listing.symbol, opened_at, day, first, last)
    ids = day.trade_ids[first] + np.arange(len(lots)) + np.repeat(_counted(before, len(starts)), fills)
    return Tape(
        listing=listing,
        opened_at=opened_at,
        closed_at=opened_at + (last - first) * MINUTE,
        ids=ids,
        at=np.repeat(orders.at, fills),
        price=np.repeat(price, fills),
        quantity=lots * listing.lot,
        buyer_is_maker=np.repeat(~orders.is_buy, fills),
        aggregate_starts=starts,
        aggregate_ids=day.aggregate_ids[first] + np.arange(len(starts)),
        first_ids=ids,
        last_ids=ids,
        fat_fingers=fat_fingers,
        off_book=_draw_off_book(seed, listing, opened_at, int(day.trade_ids[first]), before, starts, orders.at, price),
    )


def _orders_after(seed: int, symbol: str, opened_at: int, day: Day, first: int, last: int) -> Ints:
    """Return, for each trade off the book in order, the order that it came just before: one of the same minute."""
    count, orders = day.off_book[first:last], day.orders[first:last]
    if not count.any():
        return count[:0]
    rng = generator(seed, symbol, 4, opened_at // MINUTE)
    offsets = np.cumsum(orders) - orders
    drawn = (rng.random(int(count.sum())) * np.repeat(orders, count)).astype(np.int64)
    return np.sort(np.repeat(offsets, count) + drawn)


def _counted(before: Ints, orders: int) -> Ints:
    """Return how many trades off the book each order comes after."""
    return np.searchsorted(before, np.arange(orders), side="right").astype(np.int64)


def _draw_off_book(
    seed: int, listing: Listing, opened_at: int, first_id: int, before: Ints, starts: Ints, at: Ints, price: Ints
) -> OffBook:
    """Return the trades that the insurance fund and auto-deleveraging made: a few per cent off the market, on no tick."""
    if not len(before):
        return ALL_ON_BOOK
    rng = generator(seed, listing.symbol, 5, opened_at // MINUTE)
    kinds = rng.choice(OFF_BOOK_KINDS, size=len(before), p=OFF_BOOK_SHARES)
    is_real = kinds != "NA"
    off = 1 + rng.uniform(-OFF_THE_MARKET, OFF_THE_MARKET, len(before))
    return OffBook(
        ids=first_id + starts[before] + np.arange(len(before)),
        at=at[before],
        price=np.maximum(1, (price[before] * off).astype(np.int64)) * is_real,
        quantity=rng.integers(1, 2_000, len(before)) * listing.lot * is_real,
        buyer_is_maker=rng.random(len(before)) < 0.5,
        kinds=tuple(kinds.tolist()),
    )


def _draw_orders(rng: np.random.Generator, day: Day, opened_at: int, first: int, last: int) -> _Orders:
    """Place each minute's orders: uniform in time, along a Brownian bridge from the minute's opening price to the next one's.

    Uniform order statistics as normalised sums of exponentials, one more than there are orders; the bridge over the same steps.
    """
    counts = day.orders[first:last]
    slots = counts + 1
    ends = np.cumsum(slots) - 1
    minute = np.repeat(np.arange(last - first), slots)
    steps = rng.standard_exponential(len(minute))
    sums = np.cumsum(steps)
    before = np.concatenate(([0.0], sums[ends[:-1]]))
    total = sums[ends] - before
    progress = (sums - before[minute]) / total[minute]
    walk = np.cumsum(np.sqrt(steps / total[minute]) * rng.standard_normal(len(minute)))
    walk_before = np.concatenate(([0.0], walk[ends[:-1]]))
    bridge = walk - walk_before[minute] - progress * (walk[ends] - walk_before)[minute]
    inner = np.ones(len(minute), dtype=bool)
    inner[ends] = False
    minute, progress, bridge = minute[inner], progress[inner], bridge[inner]
    opens, spread = day.price[first:last], day.spread[first:last]
    change = day.price[first + 1 : last + 1] / opens - 1
    mid = opens[minute] * (1 + progress * change[minute] + spread[minute] * bridge)
    within = np.minimum((progress * MINUTE).astype(np.int64), MINUTE - 1)
    share = np.clip(0.5 + BUY_TILT * change / spread, 0.15, 0.85)
    return _Orders(opened_at + minute * MINUTE + within, mid, minute, rng.random(len(minute)) < share[minute])


def _draw_fills(rng: np.random.Generator, day: Day, first: int, last: int) -> Ints:
    """Return how many trades each order filled, one or more, so that each minute has as many as its path says."""
    orders = day.orders[first:last]
    extra = day.trades[first:last] - orders
    offsets = np.cumsum(orders) - orders
    chosen = np.repeat(offsets, extra) + (rng.random(int(extra.sum())) * np.repeat(orders, extra)).astype(np.int64)
    return np.bincount(chosen, minlength=int(orders.sum())) + 1


def _draw_lots(rng: np.random.Generator, count: int, mid: Floats, listing: Listing, character: Character) -> Ints:
    worth = character.median_notional * np.exp(SIZE_SPREAD * rng.standard_normal(count))
    lots: Ints = np.maximum((worth / mid * (UNIT / listing.lot)).astype(np.int64), 1)
    return lots


def _spoil(
    rng: np.random.Generator, ticks: Ints, lots: Ints, orders: _Orders, spread: Floats, starts: Ints, fills: Ints
) -> tuple[FatFinger, ...]:
    """Turn some orders into fat fingers, in place, and return the truth about them."""
    number = int(rng.poisson(len(ticks) / ORDERS_PER_FAT_FINGER))
    truth: list[FatFinger] = []
    median = float(np.median(lots)) if number else 0.0
    for order in np.sort(rng.choice(len(ticks), size=min(number, len(ticks)), replace=False)).tolist():
        row, is_price = int(starts[order]), rng.random() < PRICE_FAT_FINGERS
        off = float(rng.uniform(*(OFF_IN_PRICE if is_price else OFF_IN_SIZE)))
        if is_price:
            move = off * float(spread[orders.minute[order]]) * 5**0.5
            ticks[order] = round(ticks[order] * (1 + move if rng.random() < 0.5 else 1 - min(move, 0.9)))
        else:
            lots[row : row + int(fills[order])] = max(1, round(median * off))
        truth.append(FatFinger(row, "price" if is_price else "size", round(off, 1)))
    return tuple(truth)
