"""The synthetic market: trades drawn on demand along each symbol's path, with fat fingers whose truth is known.

A window of trades (a block) is drawn by a generator of its own, seeded by (seed, symbol, when it begins): any of them can be
made alone and in any order, and comes out the same. A history of months costs nothing until it is asked for.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from quantstream.core.time import DAY, MINUTE
from streaming.exchange.market.draw import draw_tape
from streaming.exchange.market.listing import Character, Listing, synthetic_listing
from streaming.exchange.market.price_path import MINUTES_A_DAY, Climate, Floats, Regime, SymbolPath
from streaming.exchange.market.tape import Ints, Minutes, Tape

DEFAULT_SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT")
HISTORY_RATE = 1.5  # trades per second of the busiest symbol; history keeps it, however pressed the present is
BLOCK_TRADES = 200_000  # trades drawn at once: some tens of milliseconds
BLOCK_MINUTES = (MINUTES_A_DAY, 60, 5, 1)
SPARE_TAPES = 6  # kept beyond two a symbol: the present and the window that history is read from
KEPT_MINUTES = 4_000  # windows of which the minutes are kept,
BLOCKS_OF_A_DAY = (
    4  # and at least those that a symbol's last 24 hours lie in: a ticker of all symbols looks at them every time
)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MarketSeed:
    """All that decides a synthetic market; two markets with equal seeds are the same, trade by trade."""

    seed: int
    starts_at: int
    history_days: int = 60
    trades_per_second: float = HISTORY_RATE
    off_book_a_minute: float = 0.0  # trades that no order book saw: a futures market has some
    regime: Regime | None = None  # that the market changes to


class SyntheticMarket:
    """Seeded symbols with history and an open end."""

    ends_at: int | None = None

    def __init__(self, market: MarketSeed, symbols: Sequence[str] = DEFAULT_SYMBOLS) -> None:
        self.starts_at = market.starts_at
        self.begins_at = market.starts_at - market.starts_at % DAY - market.history_days * DAY
        self._present = market.starts_at - market.starts_at % MINUTE
        self._seed = market.seed
        self._rates = (min(HISTORY_RATE, market.trades_per_second), market.trades_per_second)
        self._off_book_rate, self._regime = market.off_book_a_minute, market.regime
        self._minutes: _Recent[Minutes] = _Recent(max(KEPT_MINUTES, BLOCKS_OF_A_DAY * len(symbols)))
        self._paths: dict[str, SymbolPath] = {}
        self._block_minutes: dict[str, int] = {}
        self.listings: dict[str, Listing] = {}
        self._tapes: _Recent[Tape] = _Recent(2 * len(symbols) + SPARE_TAPES)
        climate = Climate(market.seed)
        for symbol in symbols:
            self.listings[symbol], character = synthetic_listing(symbol)
            self._add(symbol, character, climate)

    def _add(self, symbol: str, character: Character, climate: Climate) -> None:
        history, present = (rate * character.activity for rate in self._rates)

        def trade_rate(at: Ints) -> Floats:
            return np.where(at < self._present, history, present)

        fits = [minutes for minutes in BLOCK_MINUTES if minutes * 60 * present <= BLOCK_TRADES]
        self._block_minutes[symbol] = fits[0] if fits else 1
        self._paths[symbol] = SymbolPath(
            *(symbol, character, self._seed, climate, self.begins_at, trade_rate, self._off_book_rate, self._regime)
        )

    def bounds_at(self, symbol: str, at: int) -> tuple[int, int]:
        """Return when the block that covers `at` opens and closes: a day of history, less where trades are dense."""
        if at < self._present:
            opened_at = at - at % DAY
            return opened_at, min(opened_at + DAY, self._present)
        length = self._block_minutes[symbol] * MINUTE
        opened_at = at - at % length
        return max(opened_at, self._present), opened_at + length

    def tape_at(self, symbol: str, at: int) -> Tape:
        """Return the tape that covers `at`."""
        opened_at, closed_at = self.bounds_at(symbol, at)
        tape = self._tapes.get((symbol, opened_at))
        if tape is None:
            day, day_opened_at = self._paths[symbol].day_at(opened_at)
            first, last = (opened_at - day_opened_at) // MINUTE, (closed_at - day_opened_at) // MINUTE
            character = synthetic_listing(symbol)[1]
            tape = draw_tape(self._seed, self.listings[symbol], character, day, opened_at, first, last)
            self._tapes.put((symbol, opened_at), tape)
        return tape

    def minutes_at(self, symbol: str, at: int) -> Minutes:
        """Return the minutes of the tape that covers `at`; they are kept far longer than the trades."""
        key = symbol, self.bounds_at(symbol, at)[0]
        minutes = self._minutes.get(key)
        if minutes is None:
            minutes = self.tape_at(symbol, at).minutes()
            self._minutes.put(key, minutes)
        return minutes

    def tape_with_trade(self, symbol: str, trade_id: int, now: int) -> Tape | None:
        """Return the tape of the first trade whose id is `trade_id` or higher; None when there is none before `now`."""
        at = self._paths[symbol].minute_of_trade(trade_id, now)
        return self.tape_at(symbol, at) if at is not None else None

    def tape_with_aggregate(self, symbol: str, aggregate_id: int, now: int) -> Tape | None:
        """Return the tape of the first aggregate whose id is `aggregate_id` or higher; None when there is none before `now`."""
        at = self._paths[symbol].minute_of_aggregate(aggregate_id, now)
        return self.tape_at(symbol, at) if at is not None else None


class _Recent(Generic[T]):
    """The values used last, up to a number of them."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[tuple[str, int], T] = OrderedDict()

    def get(self, key: tuple[str, int]) -> T | None:
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: tuple[str, int], value: T) -> None:
        self._values[key] = value
        if len(self._values) > self._size:
            self._values.popitem(last=False)
