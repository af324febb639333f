"""What a candle builder holds: windows with their partial sums, the bounds within which it takes sums, the state of a symbol."""

from __future__ import annotations

from copy import copy
from typing import NamedTuple

import msgspec

from quantstream.core.accounts import Account
from quantstream.core.candle import NO_TRADE_ID, Candle
from quantstream.core.trade import Trade
from quantstream.core.trade_ids import Sequence


class Window(msgspec.Struct, array_like=True, gc=False):
    """A candle being built: mutable, exact, O(1) per trade."""

    opened_at: int
    open: int = 0
    high: int = 0
    low: int = 0
    close: int = 0
    volume: int = 0
    quote_volume: int = 0
    trade_count: int = 0
    taker_buy_volume: int = 0
    taker_buy_quote_volume: int = 0
    first_trade_id: int = NO_TRADE_ID
    last_trade_id: int = NO_TRADE_ID
    revision: int = -1  # that of the last emitted candle; -1 while open
    is_damaged: bool = False  # a gap in it was forgotten: only the exchange's kline can correct it

    def add(self, trade: Trade) -> None:
        """Add one trade; order does not matter."""
        price, quantity = trade.price, trade.quantity
        if self.trade_count == 0:
            self.open = self.high = self.low = self.close = price
            self.first_trade_id, self.last_trade_id = trade.first_trade_id, trade.last_trade_id
        else:
            if trade.first_trade_id < self.first_trade_id:
                self.first_trade_id, self.open = trade.first_trade_id, price
            if trade.last_trade_id > self.last_trade_id:
                self.last_trade_id, self.close = trade.last_trade_id, price
            if price > self.high:
                self.high = price
            elif price < self.low:
                self.low = price
        quote = price * quantity
        self.volume += quantity
        self.quote_volume += quote
        self.trade_count += trade.last_trade_id - trade.first_trade_id + 1
        if not trade.buyer_is_maker:
            self.taker_buy_volume += quantity
            self.taker_buy_quote_volume += quote

    def candle(self, symbol: str, interval: str, is_complete: bool) -> Candle:
        """Return the window's candle; the caller decides whether it is complete."""
        return Candle(  # in the order of its fields: to name each would cost as much as all the rest
            symbol,
            interval,
            self.opened_at,
            self.open,
            self.high,
            self.low,
            self.close,
            self.volume,
            self.quote_volume,
            self.trade_count,
            self.taker_buy_volume,
            self.taker_buy_quote_volume,
            self.first_trade_id,
            self.last_trade_id,
            is_complete,
            max(self.revision, 0),
        )

    def copied_to(self, opened_at: int) -> Window:
        """Return a window that opens at `opened_at` (µs) and holds the same sums."""
        window = copy(self)
        window.opened_at = opened_at
        return window

    def merge(self, part: Window) -> None:
        """Add the partial sums of other trades; order does not matter."""
        if self.trade_count == 0:
            self.open, self.high, self.low, self.close = part.open, part.high, part.low, part.close
            self.first_trade_id, self.last_trade_id = part.first_trade_id, part.last_trade_id
        else:
            if part.first_trade_id < self.first_trade_id:
                self.first_trade_id, self.open = part.first_trade_id, part.open
            if part.last_trade_id > self.last_trade_id:
                self.last_trade_id, self.close = part.last_trade_id, part.close
            if part.high > self.high:
                self.high = part.high
            if part.low < self.low:
                self.low = part.low
        self.volume += part.volume
        self.quote_volume += part.quote_volume
        self.trade_count += part.trade_count
        self.taker_buy_volume += part.taker_buy_volume
        self.taker_buy_quote_volume += part.taker_buy_quote_volume


class Bounds(NamedTuple):
    """Which trades only add to the sums of open windows: a builder takes them as partial sums, many at once.

    They have the number `next_id` and follow one another, and their times (µs) lie in `[from_at, due_at)`: there every window is
    open, and none is due to close. A trade whose ids lie in `[known_from, next_id)` is a duplicate.
    """

    next_id: int
    known_from: int
    from_at: int
    due_at: int


class SymbolState(msgspec.Struct):
    """All that a builder knows of one symbol: bounded, serialisable, enough to continue identically."""

    symbol: str
    ids: Sequence = msgspec.field(default_factory=Sequence)
    latest_at: int = 0  # latest event time of any trade or heartbeat, µs
    windows: dict[str, dict[int, Window]] = msgspec.field(default_factory=dict)
    next_open: dict[str, int] = msgspec.field(default_factory=dict)  # per interval, the first window not yet closed
    late_trades: int = msgspec.field(name="unplaced", default=0)  # trades too late for any retained window
    alive_from: int = 0  # first heartbeat before any trade, µs: the log has everything from then on
    late: dict[str, list[int]] = msgspec.field(
        default_factory=dict
    )  # windows closed as flat that got late trades, not revised yet
    lost: int = 0  # new trades that no interval had a window for
    account: Account = msgspec.field(default_factory=Account)  # of the records; `settle` completes it

    def settle(self) -> Account:
        """Complete the account from the ids, and return it."""
        self.account.duplicate = self.ids.duplicates
        self.account.refused = self.ids.refused + self.lost
        return self.account
