"""A window of one symbol's trades in columns, and the minutes and aggregates that follow from it.

Both markets, synthetic and recorded, are sequences of tapes; everything that the exchange answers is computed from them, so that
stream, klines, trades and aggregates cannot disagree. Columns are int64 in units of 10⁻⁸ (times in µs), sums are exact.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from quantstream.core.decimals import DECIMALS
from quantstream.core.time import MINUTE
from streaming.exchange.market.listing import Listing

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Sums = npt.NDArray[np.int64] | npt.NDArray[np.object_]
SAFE_SUM = 2**62  # beyond it int64 could overflow; sums go on in Python's integers


@dataclass(frozen=True, slots=True)
class FatFinger:
    """The truth about one injected anomaly: the row of its first trade, its kind (`price` or `size`) and how far off."""

    row: int
    kind: str
    times: float


class OffBook(NamedTuple):
    """Trades of a futures market that no order book saw, in the order of their ids: only its trade stream tells of them.

    `kinds` are INSURANCE_FUND, ADL, or NA, the last of which have neither price nor quantity. Each came just before a market
    trade of the same time.
    """

    ids: Ints
    at: Ints
    price: Ints
    quantity: Ints
    buyer_is_maker: Bools
    kinds: tuple[str, ...]

    def between(self, start: int, end: int) -> slice:
        """Return the rows that traded in `[start, end)`, µs."""
        low, high = np.searchsorted(self.at, [start, end]).tolist()
        return slice(low, high)


NOTHING = np.empty(0, dtype=np.int64)
ALL_ON_BOOK = OffBook(NOTHING, NOTHING, NOTHING, NOTHING, NOTHING.astype(bool), ())


@dataclass(frozen=True)
class Tape:
    """Trades of one symbol over `[opened_at, closed_at)`, whole minutes, in order of time and id.

    `order` numbers the taker order (row-wise, rising) that each trade filled: trades of one order are one aggregate.
    Recorded aggregates are their own single trade here, of ids `first_ids` to `last_ids`. A futures market numbers the trades
    `off_book` too, so that the ids here skip; they are in no candle, no aggregate and no ticker.
    """

    listing: Listing
    opened_at: int
    closed_at: int
    ids: Ints
    at: Ints
    price: Ints
    quantity: Ints
    buyer_is_maker: Bools
    aggregate_starts: Ints  # rows where an aggregate begins
    aggregate_ids: Ints
    first_ids: Ints
    last_ids: Ints
    fat_fingers: tuple[FatFinger, ...] = field(default=())
    off_book: OffBook = ALL_ON_BOOK

    def __len__(self) -> int:
        return len(self.ids)

    def rows_until(self, at: int) -> int:
        """Return how many rows traded before `at`."""
        return int(np.searchsorted(self.at, at))

    def aggregates_until(self, at: int) -> int:
        """Return how many aggregates traded before `at`."""
        return int(np.searchsorted(self.aggregate_starts, self.rows_until(at)))

    @cached_property
    def aggregate_quantities(self) -> Ints:
        """Quantity of each aggregate."""
        return _int_sums(self.quantity, self.aggregate_starts)

    @cached_property
    def aggregate_last_rows(self) -> Ints:
        """Row of the last trade of each aggregate."""
        return np.append(self.aggregate_starts[1:], len(self.ids)) - 1 if len(self.ids) else self.aggregate_starts

    def quote(self, rows: slice = slice(None)) -> Ints:
        """Return price × quantity of the rows in 10⁻⁸ of the quote asset, exact for steps as on the real exchange."""
        return quote_amounts(self.listing, self.price[rows], self.quantity[rows])

    def minutes(self, until: int | None = None) -> Minutes:
        """Return the minutes with trades before `until` (default: all)."""
        return bars_of(self, 0, self.rows_until(until) if until is not None else len(self))


@dataclass(frozen=True, slots=True)
class Minutes:
    """Candles of the minutes (or seconds) that had trades, columns as in the exchange's klines."""

    opened_at: Ints
    open: Ints
    high: Ints
    low: Ints
    close: Ints
    volume: Sums
    quote_volume: Sums
    trade_count: Ints
    taker_buy_volume: Sums
    taker_buy_quote_volume: Sums
    first_id: Ints
    last_id: Ints

    def __len__(self) -> int:
        return len(self.opened_at)

    def between(self, start: int, end: int) -> Minutes:
        """Return the minutes that open in `[start, end)`."""
        low, high = np.searchsorted(self.opened_at, [start, end])
        return Minutes(*(getattr(self, name)[low:high] for name in self.__slots__))


def quote_amounts(listing: Listing, price: Ints, quantity: Ints) -> Ints:
    """Return price × quantity in 10⁻⁸, exact: computed in ticks and lots, so that the product stays within 63 bits."""
    scale = listing.tick * listing.lot // 10**DECIMALS
    if scale:
        amounts: Ints = (price // listing.tick) * (quantity // listing.lot) * scale
        return amounts
    exact = price.astype(object) * quantity.astype(object) // 10**DECIMALS  # finer steps than the exchange ever lists
    return np.asarray(exact, dtype=np.int64)


def exact_sums(values: Sums, starts: Ints) -> Sums:
    """Return the sums of the groups that begin at `starts`, in Python's integers where int64 might overflow."""
    if len(starts) == 0:
        return values[:0]
    if values.dtype != object and float(values.sum(dtype=np.float64)) > SAFE_SUM:
        values = values.astype(object)
    sums: Sums = np.asarray(np.add.reduceat(values, starts))
    return sums


def _int_sums(values: Ints, starts: Ints) -> Ints:
    sums: Ints = np.add.reduceat(values, starts) if len(starts) else values[:0]
    return sums


def bars_of(tape: Tape, start: int, stop: int, width: int = MINUTE) -> Minutes:
    """Return the candles of `width` µs (minutes, seconds) that the rows `[start, stop)` of a tape make."""
    rows = slice(start, stop)
    at, price = tape.at[rows], tape.price[rows]
    window = at - at % width
    starts = np.flatnonzero(np.diff(window, prepend=-1))
    ends = np.append(starts[1:], len(at)) if len(starts) else starts
    quantity, quote = tape.quantity[rows], tape.quote(rows)
    taken = ~tape.buyer_is_maker[rows]
    first_ids, last_ids = tape.first_ids[rows], tape.last_ids[rows]
    return Minutes(
        opened_at=window[starts],
        open=price[starts],
        high=np.maximum.reduceat(price, starts) if len(starts) else price,
        low=np.minimum.reduceat(price, starts) if len(starts) else price,
        close=price[ends - 1],
        volume=exact_sums(quantity, starts),
        quote_volume=exact_sums(quote, starts),
        trade_count=_int_sums(last_ids - first_ids + 1, starts),
        taker_buy_volume=exact_sums(quantity * taken, starts),
        taker_buy_quote_volume=exact_sums(quote * taken, starts),
        first_id=first_ids[starts],
        last_id=last_ids[ends - 1],
    )
