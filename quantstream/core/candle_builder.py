"""Candles from trades in O(1) per trade: a pure function of the trade log, live, replayed or in batch.

A candle is a commutative sum of its trades (open and close go by trade id, high and low by price, the rest are exact sums),
so neither batching nor the order of arrival can change it. Ids tell duplicates and gaps; a window closes when the watermark
(latest event time less the allowed lateness) has passed its end. Candles that a gap touches are incomplete until trades
fill it, and then come out once more as the next revision. What came before the first trade is a gap too: that is why the first
window of a log is incomplete, unless a heartbeat showed that the feed was already alive when it opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

from quantstream.core.candle import NO_TRADE_ID, Candle
from quantstream.core.partial_sums import Bounds, SymbolState, Window
from quantstream.core.time import LATEST, SECOND, interval_length, window_start
from quantstream.core.trade import Trade
from quantstream.core.trade_ids import MAX_GAPS, Gap, IdStatus

RETAINED_WINDOWS = 2  # closed windows kept for trades that come after their window closed
MAX_TOUCHED_WINDOWS = 288  # closed windows kept because a gap touches them: a day of 5m, and the state stays bounded
DEFAULT_LATENESS = SECOND // 2  # trades come in id order and the exchange stamps them in order to the ms: ample


@cache
def _lengths(intervals: tuple[str, ...]) -> Mapping[str, int]:
    return {interval: interval_length(interval) for interval in intervals}  # one for all builders


class CandleBuilder:
    """Builds the candles of one symbol at several intervals in one pass."""

    def __init__(
        self,
        symbol: str,
        intervals: Iterable[str] = ("5m",),
        lateness: int = DEFAULT_LATENESS,
        state: SymbolState | None = None,
        max_gaps: int = MAX_GAPS,
    ) -> None:
        """`lateness` in µs. `state` continues where another builder's snapshot ended; the last `max_gaps` are known."""
        self.lengths = _lengths(tuple(intervals))
        self.lateness = lateness
        self.max_gaps = max_gaps
        self.state = state or SymbolState(symbol)
        for interval in self.lengths:
            self.state.windows.setdefault(interval, {})

    @property
    def watermark(self) -> int:
        """No trade before this time (µs) is still expected."""
        return self.state.latest_at - self.lateness

    def add(self, trade: Trade) -> list[Candle]:
        """Add one trade and return the candles it closed or revised, oldest first."""
        state = self.state
        newest_at = state.ids.last_at
        status, gap = state.ids.take(trade, state.alive_from)
        if not status.is_new:
            return []
        if status is IdStatus.JUMP and (lost := state.ids.give_up_oldest(self.max_gaps)):
            self._damage(lost)
        revised, late_trades = self._late_revisions(trade.traded_at) if state.late else [], state.late_trades
        if status is IdStatus.FILLED:
            revised += self._place(trade, gap)
        else:
            revised += self._place(trade, None, newest_at)
        if state.late_trades - late_trades < len(self.lengths):
            state.account.stored += 1
        else:
            state.lost += 1
        state.latest_at = max(state.latest_at, trade.traded_at)
        return revised + self._close_due()

    def begin(self, number: int, at: int) -> bool:
        """Begin the log with sums whose first trade has this number and the time `at` (µs); tell whether it may."""
        state = self.state
        if state.ids.last_id != NO_TRADE_ID or number <= 0 or at < state.latest_at:
            return False
        state.ids.last_id = number - 1
        state.ids.begin(number, min(state.alive_from or at, at))
        self._open(at)
        return True

    def go_on(self, closes: Mapping[str, int], at: int, last_id: int) -> None:
        """Go on at `at` (µs), where all windows open, after a log that ended with the id `last_id` and these closes."""
        state = self.state
        for interval, close in closes.items():
            before = at - self.lengths[interval]
            state.windows[interval][before] = Window(before, close, close, close, close, revision=0)
            state.next_open[interval] = at
        state.ids.last_id, state.ids.last_at = last_id, at
        state.alive_from = state.latest_at = at

    def reach(self, at: int) -> list[Candle]:
        """Open the windows of a trade of time `at` (µs) that the next sums begin with, and close those that it makes due.

        It is within `bounds` but for its time, which lies at `due_at` or after. So whatever it makes due does not hold it.
        """
        self._open(at)
        return self._close_due()

    def bounds(self) -> Bounds:
        """Return which trades may come next as partial sums; none while late trades or a due window wait for the next one."""
        state, ids, from_at, due_at = self.state, self.state.ids, 0, LATEST
        for interval, length in self.lengths.items():
            opened_at = state.next_open.get(interval, 0)
            from_at, due_at = max(from_at, opened_at), min(due_at, opened_at + length)
        due_at += self.lateness
        if ids.last_id == NO_TRADE_ID or state.late or state.latest_at >= due_at:
            due_at = 0
        return Bounds(ids.last_id + 1, ids.known_from, from_at, due_at)

    def add_sums(self, part: Window, records: int, last_id: int, last_at: int, latest_at: int) -> None:
        """Add the partial sums of trades within `bounds`, all within one window of every interval.

        They came in so many `records`; `last_id` is the number of the last one, of `last_at`; the latest was of `latest_at`.
        """
        state = self.state
        for interval, length in self.lengths.items():
            windows, opened_at = state.windows[interval], window_start(part.opened_at, length)
            window = windows.get(opened_at)
            if window is None:
                windows[opened_at] = part.copied_to(opened_at)
            else:
                window.merge(part)
        state.account.stored += records
        state.ids.last_id, state.ids.last_at = last_id, last_at
        state.latest_at = max(state.latest_at, latest_at)

    def heartbeat(self, at: int) -> list[Candle]:
        """Note that the feed was alive at exchange time `at` (µs): quiet windows close as flat candles."""
        self.state.account.passed += 1
        late = self._late_revisions() if self.state.late else []
        if at <= self.state.latest_at:
            return late
        if self.state.ids.last_id == NO_TRADE_ID:
            self.state.alive_from = self.state.alive_from or at
        self.state.latest_at = at
        return late + self._close_due()

    def open_candles(self) -> list[Candle]:
        """Return the candles being built, incomplete by definition."""
        found: list[Candle] = []
        for interval in self.lengths:
            windows = self.state.windows[interval]
            for opened_at in sorted(windows):
                if windows[opened_at].revision < 0:
                    found.append(windows[opened_at].candle(self.state.symbol, interval, False))
        return found

    def _open(self, at: int) -> None:
        """Open the windows of the latest time there is, µs."""
        for interval, length in self.lengths.items():
            self._window(interval, window_start(at, length))
        self.state.latest_at = max(self.state.latest_at, at)

    def _damage(self, gap: Gap) -> None:
        for interval, length in self.lengths.items():
            for window in self.state.windows[interval].values():
                window.is_damaged = window.is_damaged or gap.touches(window.opened_at, length)

    def _place(self, trade: Trade, gap: Gap | None, newest_at: int = 0) -> list[Candle]:
        """Add a trade to its window at each interval; return the closed candles that it changed.

        Candles of a `gap` are silent until nothing of them is missing: one revision, however many trades filled it. So are those
        closed as flat, though trades come now (`newest_at`, µs, is when the newest one before traded): see `_late_revisions`.
        """
        revised: list[Candle] = []
        for interval, length in self.lengths.items():
            opened_at = window_start(trade.traded_at, length)
            window = self._window(interval, opened_at) or self._reopened(interval, opened_at, newest_at)
            if window is None:
                self.state.late_trades += 1
                continue
            was_flat = window.revision >= 0 and not window.trade_count
            window.add(trade)
            late = self.state.late.get(interval, ())
            if gap is not None:
                revised += self._completed_by(interval, gap, trade)
            elif was_flat or opened_at in late:
                self.state.late[interval] = sorted({*late, opened_at})
            elif window.revision >= 0:
                revised += self._revise(interval, [window])
        return revised

    def _reopened(self, interval: str, opened_at: int, newest_at: int) -> Window | None:
        """Return a window that closed flat and was dropped, with those after it: their content is known.

        All windows since the newest trade were flat. If they should not have been (the feed was mute, and nobody knew), their
        trades come now.
        """
        windows, length = self.state.windows[interval], self.lengths[interval]
        end = self.state.next_open.get(interval, 0)
        is_flat = newest_at > 0 and window_start(newest_at, length) < opened_at < end
        if not is_flat or end - opened_at > MAX_TOUCHED_WINDOWS * length or end - length not in windows:
            return None
        close = windows[end - length].close
        for at in range(opened_at, end, length):
            if at not in windows:
                windows[at] = Window(at, close, close, close, close, revision=0)
        return windows[opened_at]

    def _late_revisions(self, at: int = 0) -> list[Candle]:
        """Return revisions of the windows that got late trades, unless the next trade (of time `at`, µs) is late as well."""
        revised: list[Candle] = []
        for interval, late in list(self.state.late.items()):
            opened_at = window_start(at, self.lengths[interval])
            if not at or opened_at >= self.state.next_open[interval]:
                del self.state.late[interval]
                windows = self.state.windows[interval]
                revised += self._revise(interval, [windows[each] for each in late if each in windows])
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

    def _completed_by(self, interval: str, gap: Gap, trade: Trade) -> list[Candle]:
        """Return revisions of the closed windows that `trade` completes: this gap has no other trade of theirs."""
        length = self.lengths[interval]
        rest = gap.without(trade) if gap.after else []  # what came before the log has no last one
        opened_at = window_start(trade.traded_at, length)
        completed = [
            window
            for window in self.state.windows[interval].values()
            if window.revision >= 0
            and (gap.touches(window.opened_at, length) if gap.after else window.opened_at == opened_at)
            and not any(part.touches(window.opened_at, length) for part in rest)
        ]
        return self._revise(interval, completed)

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
        watermark = self.watermark
        for interval, length in self.lengths.items():
            opened_at = self.state.next_open.get(interval)
            while opened_at is not None and opened_at + length <= watermark:
                if self.state.ids.may_lack(opened_at, length, since=watermark):
                    break  # so lately that it may just be out of order
                closed.append(self._close(interval, opened_at))
                opened_at = self.state.next_open[interval] = opened_at + length
        return closed

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
        """Drop the closed windows that wait for no late trade and no gap fill; `windows` is in order of opening."""
        windows, length = self.state.windows[interval], self.lengths[interval]
        oldest = newest - RETAINED_WINDOWS * length
        old = [at for at in windows if at <= oldest]
        for rank, at in enumerate(sorted(old, reverse=True)):
            if rank >= MAX_TOUCHED_WINDOWS or self._is_complete(interval, windows[at]) or windows[at].is_damaged:
                del windows[at]

    def _is_complete(self, interval: str, window: Window) -> bool:
        length = self.lengths[interval]
        return not window.is_damaged and not self.state.ids.may_lack(window.opened_at, length)

    def _emit(self, interval: str, window: Window) -> Candle:
        window.revision += 1
        return window.candle(self.state.symbol, interval, self._is_complete(interval, window))
