"""Candles from trades in O(1) per trade: a pure function of the trade log, live, replayed or in batch.

A candle is a commutative sum of its trades (open and close go by trade id, high and low by price, the rest are exact sums),
so neither batching nor the order of arrival can change it. Ids tell duplicates and gaps; a window closes when the watermark
(latest event time less the allowed lateness) has passed its end. A gap leaves a *hole*: candles it touches are incomplete
until trades fill it, and then come out once more as the next revision. What came before the first trade is a hole too: that is
why the first window of a log is incomplete, unless a heartbeat showed that the feed was already alive when it opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from quantstream.market import NO_TRADE_ID, SECOND, Candle, Trade, interval_length, window_start
from quantstream.sequence import Hole, Seen
from quantstream.sequence import Sequence as Ids

RETAINED_WINDOWS = 2  # closed windows kept for trades that come after their window closed
MAX_TOUCHED_WINDOWS = 288  # closed windows kept because a hole touches them: a day of 5m, and the state stays bounded
DEFAULT_LATENESS = SECOND // 2  # trades come in id order and the exchange stamps them in order to the ms: ample


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
    is_damaged: bool = False  # a hole in it was given up: only the exchange's kline can mend it

    def add(self, trade: Trade) -> None:
        """Take one trade in; order does not matter."""
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

    def merge(self, part: Window) -> None:
        """Take in what another window has summed of trades that this one has not; order does not matter."""
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


class SymbolState(msgspec.Struct):
    """All that a builder knows of one symbol: bounded, serialisable, enough to continue identically."""

    symbol: str
    ids: Ids = msgspec.field(default_factory=Ids)
    latest_at: int = 0  # latest event time of any trade or heartbeat, µs
    windows: dict[str, dict[int, Window]] = msgspec.field(default_factory=dict)
    next_open: dict[str, int] = msgspec.field(default_factory=dict)  # per interval, the first window not yet closed
    unplaced: int = 0  # trades too late for any retained window
    alive_from: int = 0  # first heartbeat before any trade, µs: the log has everything from then on


class CandleBuilder:
    """Builds the candles of one symbol at several intervals in one pass."""

    def __init__(
        self,
        symbol: str,
        intervals: Iterable[str] = ("5m",),
        lateness: int = DEFAULT_LATENESS,
        state: SymbolState | None = None,
    ) -> None:
        """`lateness` in µs. `state` continues where another builder's snapshot ended."""
        self.lengths = {interval: interval_length(interval) for interval in intervals}
        self.lateness = lateness
        self.state = state or SymbolState(symbol)
        for interval in self.lengths:
            self.state.windows.setdefault(interval, {})

    @property
    def watermark(self) -> int:
        """No trade before this time (µs) is still expected."""
        return self.state.latest_at - self.lateness

    def add(self, trade: Trade) -> list[Candle]:
        """Take one trade in and return the candles it closed or revised, oldest first."""
        state = self.state
        seen, hole = state.ids.take(trade, state.alive_from)
        if seen is Seen.DUPLICATE or seen is Seen.OVERLAP:
            return []
        if seen is Seen.JUMP and (lost := state.ids.give_up_oldest()):
            self._damage(lost)
        revised = self._place(trade, hole if seen is Seen.FILLED else None)
        state.latest_at = max(state.latest_at, trade.traded_at)
        return revised + self._close_due()

    def add_run(
        self, slices: Sequence[Window], last_at: int, latest_at: int, may_close: bool = False
    ) -> list[Candle] | None:
        """Take many trades at once, if that is the same as adding them one by one, and return what they close; else None.

        The trades' ids follow one another; `slices` are their sums over stretches of time that no window's edge divides, in
        order. `last_at` is the time (µs) of the last of them, `latest_at` the latest of any. With `may_close` they may pass the
        end of one window of each interval, all at the same trade; without, nothing may be due to close.
        """
        state = self.state
        latest_at = max(latest_at, state.latest_at)
        if slices[0].first_trade_id != state.ids.last_id + 1:
            return None
        watermark, due = latest_at - self.lateness, 0
        for interval, length in self.lengths.items():
            opened_at = state.next_open.get(interval)
            if opened_at is None or slices[0].opened_at < opened_at:
                return None
            if opened_at + length <= watermark:
                if not may_close or opened_at + 2 * length <= watermark:
                    return None
                due = opened_at + length
        if due and any(hole.before >= due for hole in state.ids.holes):
            return None  # its trades may just be out of order: the window may close later, or be open longer than due
        for interval, length in self.lengths.items():
            windows = state.windows[interval]
            for part in slices:
                start = part.opened_at - part.opened_at % length
                window = windows.get(start)
                if window is None:
                    window = windows[start] = Window(start)
                window.merge(part)
        state.ids.last_id, state.ids.last_at, state.latest_at = slices[-1].last_trade_id, last_at, latest_at
        return self._close_due() if due else []

    def heartbeat(self, at: int) -> list[Candle]:
        """Take note that the feed was alive at exchange time `at` (µs): quiet windows close as flat candles."""
        if at <= self.state.latest_at:
            return []
        if self.state.ids.last_id == NO_TRADE_ID:
            self.state.alive_from = self.state.alive_from or at
        self.state.latest_at = at
        return self._close_due()

    def open_candles(self) -> list[Candle]:
        """Return the candles being built, incomplete by definition."""
        return [
            self._candle(interval, window, is_complete=False)
            for interval in self.lengths
            for _, window in sorted(self.state.windows[interval].items())
            if window.revision < 0
        ]

    def _damage(self, hole: Hole) -> None:
        for interval, length in self.lengths.items():
            for window in self.state.windows[interval].values():
                window.is_damaged = window.is_damaged or hole.touches(window.opened_at, length)

    def _place(self, trade: Trade, hole: Hole | None) -> list[Candle]:
        """Add a trade to its window at each interval; return the closed candles that it changed.

        Candles of a `hole` are silent until nothing of them is missing: one revision, however many trades filled it.
        """
        revised: list[Candle] = []
        for interval, length in self.lengths.items():
            window = self._window(interval, window_start(trade.traded_at, length))
            if window is None:
                self.state.unplaced += 1
                continue
            window.add(trade)
            if hole is not None:
                revised += self._mended(interval, hole, trade)
            elif window.revision >= 0:
                revised += self._revise(interval, [window])
        return revised

    def _window(self, interval: str, opened_at: int) -> Window | None:
        windows = self.state.windows[interval]
        window = windows.get(opened_at)
        if window is None:
            next_open = self.state.next_open.get(interval, opened_at)
            if opened_at < next_open and not self._may_begin_at(interval, opened_at):
                return None
            self.state.next_open[interval] = min(next_open, opened_at)
            window = windows[opened_at] = Window(opened_at)
        return window

    def _may_begin_at(self, interval: str, opened_at: int) -> bool:
        """Before anything closed, an earlier trade may still begin the log with an earlier window."""
        any_closed = any(window.revision >= 0 for window in self.state.windows[interval].values())
        return not any_closed and opened_at + self.lengths[interval] > self.watermark

    def _mended(self, interval: str, hole: Hole, trade: Trade) -> list[Candle]:
        """Return revisions of the closed windows of which `trade` was the last one missing in this hole."""
        length = self.lengths[interval]
        rest = hole.without(trade) if hole.after else []  # what came before the log has no last one
        opened_at = window_start(trade.traded_at, length)
        mended = [
            window
            for window in self.state.windows[interval].values()
            if window.revision >= 0
            and (hole.touches(window.opened_at, length) if hole.after else window.opened_at == opened_at)
            and not any(part.touches(window.opened_at, length) for part in rest)
        ]
        return self._revise(interval, mended)

    def _revise(self, interval: str, changed: list[Window]) -> list[Candle]:
        """Emit closed windows once more, with the flat ones after them, which repeat their close."""
        windows, length = self.state.windows[interval], self.lengths[interval]
        queue = {window.opened_at: window for window in changed}
        revised: list[Candle] = []
        while queue:
            window = queue.pop(min(queue))
            revised.append(self._emit(interval, window))
            follower = windows.get(window.opened_at + length)
            if follower and not follower.trade_count and follower.revision >= 0 and follower.close != window.close:
                follower.open = follower.high = follower.low = follower.close = window.close
                queue[follower.opened_at] = follower
        return revised

    def _close_due(self) -> list[Candle]:
        """Close the windows that the watermark has passed, oldest first."""
        closed: list[Candle] = []
        for interval, length in self.lengths.items():
            opened_at = self.state.next_open.get(interval)
            while (
                opened_at is not None and opened_at + length <= self.watermark and not self._may_fill(opened_at, length)
            ):
                closed.append(self._close(interval, opened_at))
                opened_at = self.state.next_open[interval] = opened_at + length
        return closed

    def _may_fill(self, opened_at: int, length: int) -> bool:
        """Tell whether a hole in the window is so young that its trades may just be out of order."""
        young = self.state.latest_at - self.lateness
        return any(hole.before >= young and hole.touches(opened_at, length) for hole in self.state.ids.holes)

    def _close(self, interval: str, opened_at: int) -> Candle:
        windows, length = self.state.windows[interval], self.lengths[interval]
        window = windows.get(opened_at)
        if window is None:  # nobody traded: flat at the previous close, which is always retained
            close = windows[opened_at - length].close
            window = windows[opened_at] = Window(opened_at, close, close, close, close)
        candle = self._emit(interval, window)
        self._forget(interval, opened_at)
        return candle

    def _forget(self, interval: str, newest: int) -> None:
        """Drop the closed windows that no late or repaired trade is awaited for; `windows` is in order of opening."""
        windows, length = self.state.windows[interval], self.lengths[interval]
        old = [at for at in windows if at <= newest - RETAINED_WINDOWS * length]
        for rank, at in enumerate(sorted(old, reverse=True)):
            if rank >= MAX_TOUCHED_WINDOWS or self._is_complete(interval, windows[at]) or windows[at].is_damaged:
                del windows[at]

    def _is_complete(self, interval: str, window: Window) -> bool:
        length = self.lengths[interval]
        return not window.is_damaged and not any(h.touches(window.opened_at, length) for h in self.state.ids.holes)

    def _emit(self, interval: str, window: Window) -> Candle:
        window.revision += 1
        return self._candle(interval, window, is_complete=self._is_complete(interval, window))

    def _candle(self, interval: str, window: Window, is_complete: bool) -> Candle:
        return Candle(
            symbol=self.state.symbol,
            interval=interval,
            opened_at=window.opened_at,
            open=window.open,
            high=window.high,
            low=window.low,
            close=window.close,
            volume=window.volume,
            quote_volume=window.quote_volume,
            trade_count=window.trade_count,
            taker_buy_volume=window.taker_buy_volume,
            taker_buy_quote_volume=window.taker_buy_quote_volume,
            first_trade_id=window.first_trade_id,
            last_trade_id=window.last_trade_id,
            is_complete=is_complete,
            revision=max(window.revision, 0),
        )
