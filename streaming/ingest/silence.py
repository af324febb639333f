"""Tells a quiet market from a stream that says nothing: asks REST who traded, before a window counts as complete.

A stream that the exchange accepts and never fills looks like a quiet market: pings are answered, nothing comes. Of each symbol
that is silent for longer than usual, or at the end of a window, REST is asked for the newest trade's id, of many symbols at
once. What the log has already proves the silence until then, and heartbeats may say so. What the stream does not bring within a
grace either makes it a mute stream: that is told, its connection is replaced, and REST fills in for it until it speaks again.
When REST does not answer, nothing is proven and nothing closes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Mapping

from quantstream.binance.exchange_clock import MarketClock
from quantstream.binance.protocols import MarketHistory, UnknownSymbol
from quantstream.core.candle import NO_TRADE_ID
from quantstream.core.errors import Unavailable
from quantstream.core.time import SECOND
from quantstream.core.trade import Trade
from quantstream.messages.payloads import EventKind
from quantstream.observability.metrics import Metrics
from streaming.ingest.delisted import Delisted
from streaming.ingest.forward import Forwarder
from streaming.ingest.gap_fill import GapFill
from streaming.ingest.mute_streams import MuteStreams
from streaming.ingest.symbol_feed import SymbolFeed

log = logging.getLogger(__name__)
BEHIND = 2 * SECOND  # of the exchange: its answers may be so old
LOOK_EVERY = 2.0  # exchange seconds from look to look
LOOKS = 0.1, 1.0  # of ours: as short and as long as that may be
LONGEST_PAUSE = 5.0  # seconds
PAUSES = 4  # times what an answer took, until the next question: an exchange that is slow is asked less
AT_ONCE = 4  # symbols that are asked about one by one at a time
FAILURES = 2  # in a row before the silence of REST is told
UNPROVEN = 30 * SECOND  # of the exchange: from then on a symbol counts as unproven


class SilenceWatch:
    """Watches the silence of all symbols of a process, in one task beside the reading."""

    def __init__(
        self,
        states: Mapping[str, SymbolFeed],
        history: MarketHistory,
        forwarder: Forwarder,
        gap_fill: GapFill,
        delisted: Delisted,
        clock: MarketClock,
        metrics: Metrics,
        grid: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`grid` (µs) is where windows end; `monotonic` our own clock, s."""
        self.states, self.history, self.forwarder, self.gap_fill = states, history, forwarder, gap_fill
        self.delisted, self.clock, self.grid, self.monotonic = delisted, clock, grid, monotonic
        self.spawn: Callable[[Coroutine[None, None, None]], object] = asyncio.ensure_future
        self.checks = metrics.counter("silence_checks_total", "silences asked about, by what came of it", "outcome")
        self.mute = MuteStreams(states, forwarder, gap_fill, clock, self.checks, self._prove, monotonic)
        metrics.gauge("mute_streams", "streams that bring nothing though REST has trades").set_function(
            lambda: len([state for state in list(self.states.values()) if state.silence.mute_since])
        )
        metrics.gauge("unproven_symbols", "symbols whose silence nothing proves; their windows stay open").set_function(
            lambda: len(self._unproven())
        )
        metrics.gauge("unbegun_symbols", "symbols of which nothing says yet where their log begins").set_function(
            lambda: len([state for state in list(self.states.values()) if not state.is_begun and not state.set_aside])
        )
        self._alone = asyncio.Semaphore(AT_ONCE)
        self._asked_alone: set[str] = set()
        self._next_ask = 0.0
        self._failures = 0
        self._is_told = False

    async def watch(self) -> None:
        """Look for ever."""
        while True:
            speed = max(self.clock.speed, 1e-9)
            await asyncio.sleep(min(max(LOOK_EVERY / speed, LOOKS[0]), LOOKS[1]))
            if self.clock.at:
                await self.look()

    async def look(self) -> None:
        """Ask about those whose silence is due, and judge those that were found suspect a while ago."""
        now = self.clock.now()
        self.mute.note_recovered(now)
        due = [state for state in self.states.values() if self._is_due(state, now)]
        if due and self.monotonic() >= self._next_ask:
            asked = self.monotonic()
            await self._ask(due)
            pause = min(PAUSES * (self.monotonic() - asked), LONGEST_PAUSE)
            self._next_ask = self.monotonic() + max(self.history.seconds_a_look(len(due)), pause)
        await self.mute.judge()

    def _is_due(self, state: SymbolFeed, now: int) -> bool:
        if not state.is_up or state.set_aside or state.pending is not None or state.symbol in self._asked_alone:
            return False
        silence = state.silence
        silence.learn(state.ids.last_id, state.ids.last_at)
        if not state.is_whole or silence.suspect_id != NO_TRADE_ID:
            return True
        known = max(state.ids.last_at, silence.proven_at)
        end = known - known % self.grid + self.grid
        return self.clock.at - BEHIND >= end or now - known > silence.patience()

    async def _ask(self, due: Collection[SymbolFeed]) -> None:
        asked_at = self.clock.at - BEHIND
        try:
            newest = await self.history.newest_ids([state.symbol for state in due])
        except Unavailable as error:
            self._unanswered(str(error))
            return
        self._answered()
        for state in due:
            if state.is_up and not state.set_aside and state.pending is None:
                self._sort(state, newest.get(state.symbol), asked_at)

    def _sort(self, state: SymbolFeed, newest: int | None, asked_at: int) -> None:
        """Decide what the newest single trade's id says of a symbol; None when it cannot be told."""
        silence = state.silence
        if newest is None or (newest == NO_TRADE_ID and state.has_history and not silence.is_idle):
            self._ask_alone(state, newest)
            return
        state.was_known = True
        if not state.has_history:
            if newest == NO_TRADE_ID:
                self._prove(state, asked_at)  # its log begins with its first trade
            elif state.by_aggregate:
                self._ask_alone(state, newest)
            else:
                self._foresee(state, newest + 1, newest + 1, asked_at)
        elif newest <= state.newest_single:
            self._prove(state, asked_at)
        elif state.by_id and silence.suspect_id == NO_TRADE_ID and state.is_whole:
            self._ask_alone(state, newest)  # it may be no market trade
        else:
            self._lacks(state, newest)

    def _foresee(self, state: SymbolFeed, trade_id: int, aggregate_id: int, asked_at: int) -> None:
        """Note where the log of a symbol that has not traded here begins, if the trade before is not on its way on the stream."""
        silence = state.silence
        if silence.foreseen is None:
            silence.foreseen = trade_id, aggregate_id, asked_at
            self.mute.suspect(state, trade_id - 1)

    def first_came(self, state: SymbolFeed, trade: Trade) -> None:
        """Let a log begin where REST said that it does, unless its first trade was on its way already when REST was asked.

        So all since then is known to be in the log, or to be missing, and the next window is whole.
        """
        foreseen = state.silence.foreseen
        if foreseen is None or trade.first_number < foreseen[0]:
            return
        state.begin(*foreseen)
        state.silence.foreseen = None
        self._prove(state, foreseen[2])
        self.forwarder.repeat_heartbeat(state)

    def interrupted(self, state: SymbolFeed) -> None:
        """Let a log begin with the trade that may have been on its way when its connection broke: REST has it."""
        foreseen, state.silence.foreseen = state.silence.foreseen, None
        if foreseen is not None and not state.has_history:
            trade_id, aggregate_id, asked_at = foreseen
            state.begin(max(trade_id - 1, 0), max(aggregate_id - 1, 0), asked_at)

    def _lacks(self, state: SymbolFeed, newest: int) -> None:
        """See to a symbol of which REST has a trade that the log has not."""
        silence = state.silence
        if not state.is_whole or silence.mute_since:
            if self.monotonic() >= silence.next_fill:
                self.checks.labels("missing").inc()
                mute = len([each for each in self.states.values() if each.silence.mute_since])
                silence.next_fill = self.monotonic() + self.history.seconds_a_fill(mute)
                state.pending = deque()
                self.spawn(self._fill(state, newest))
            return
        if silence.suspect_id == NO_TRADE_ID or silence.suspected[0] != state.ids.last_id:
            self.mute.suspect(state, newest)

    def _prove(self, state: SymbolFeed, at: int) -> None:
        """Note that the log has all of a symbol before `at` (µs)."""
        silence = state.silence
        silence.proven_at = max(silence.proven_at, at)
        state.is_whole = state.is_whole or not silence.mute_since
        self.mute.clear(state)
        self.checks.labels("quiet").inc()

    async def _fill(self, state: SymbolFeed, newest: int) -> None:
        """Take from REST what the stream does not bring; what it says is all there was until it was asked."""
        asked_at = self.clock.at - BEHIND
        reason = await self.gap_fill.catch_up(state)
        if state.silence.mute_since and not state.silence.was_heard:
            state.is_whole = False
        if reason:
            self._unanswered(reason)
        elif state.newest_single >= newest:
            self._prove(state, asked_at)
        elif not state.set_aside:
            self._ask_alone(state, newest)

    def _ask_alone(self, state: SymbolFeed, newest: int | None) -> None:
        if state.symbol not in self._asked_alone:
            self._asked_alone.add(state.symbol)
            self.spawn(self._one(state, newest))

    async def _one(self, state: SymbolFeed, newest: int | None) -> None:
        try:
            async with self._alone:
                await self._ask_about(state, newest)
        except UnknownSymbol as error:
            self.delisted.put(state, error)
        except Unavailable as error:
            self._unanswered(str(error))
        finally:
            self._asked_alone.discard(state.symbol)

    async def _ask_about(self, state: SymbolFeed, newest: int | None) -> None:
        """Ask for one symbol's newest trade, which is certain to be one of its log."""
        asked_at = self.clock.at - BEHIND
        latest = await self.history.latest_trade(state.symbol)
        state.was_known = True
        silence = state.silence
        if state.pending is not None or not state.is_up:
            return
        if latest is None:
            self._prove(state, asked_at)
        elif not state.has_history:
            silence.dismissed = max(latest.last_trade_id, newest or 0)
            self._foresee(state, latest.last_number + 1, latest.id + 1, asked_at)
        elif latest.last_number <= state.ids.last_id:
            silence.dismissed, silence.is_idle = max(silence.dismissed, newest or 0), newest == NO_TRADE_ID
            self._prove(state, asked_at)
        else:
            self._lacks(state, latest.last_trade_id)

    def _unanswered(self, reason: str) -> None:
        self.checks.labels("unanswered").inc()
        self._failures += 1
        if self._failures == 1:  # and not with every look
            log.warning("who traded is not known", extra={"reason": reason})
        if self._failures >= FAILURES and not self._is_told:
            self._is_told = True
            text = f"REST does not say whether silent symbols are quiet, so their windows stay open: {reason}"
            self.forwarder.event(EventKind.SILENCE_UNPROVEN, text, detail={"symbols": len(self.states)})

    def _answered(self) -> None:
        if self._failures:
            self.gap_fill.wake.set()
        self._failures = 0
        if self._is_told:
            self._is_told = False
            self.forwarder.event(EventKind.SILENCE_PROVEN, "REST says again whether silent symbols are quiet")

    def _unproven(self) -> list[SymbolFeed]:
        now = self.clock.now()
        return [
            state
            for state in list(self.states.values())
            if state.is_up and state.has_history and not state.set_aside
            if now - max(state.ids.last_at, state.silence.proven_at) > UNPROVEN + state.silence.patience()
        ]
