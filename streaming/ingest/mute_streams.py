"""Streams that are open and bring nothing: suspected when REST has what the log lacks, found mute when it does not come in time.

A mute stream is told, its connection is replaced, and its symbols count as not whole until it speaks again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Protocol

from prometheus_client import Counter

from quantstream.binance.exchange_clock import MarketClock
from quantstream.core.candle import NO_TRADE_ID
from quantstream.core.errors import Unavailable
from quantstream.core.time import SECOND
from quantstream.messages.payloads import EventKind
from streaming.ingest.forward import Forwarder
from streaming.ingest.gap_fill import GapFill
from streaming.ingest.symbol_feed import SymbolFeed

GRACE = 10.0  # exchange seconds: what REST has already may still be on its way on the stream
LEAST_GRACE = 0.5  # of ours
SETTLING = 3.0  # seconds for a line to bring what it has
NAMED = 5  # symbols that an event names


class Connected(Protocol):
    """The line that brings some symbols."""

    number: int

    async def settled(self) -> bool:
        """Tell whether all was taken in that the exchange had sent before this call. Raises: Unavailable."""
        ...

    def replace(self) -> None:
        """Have the connection replaced soon, unless that was tried lately."""
        ...


class MuteStreams:
    """The symbols whose streams are suspected, and those whose streams are mute."""

    def __init__(
        self,
        states: Mapping[str, SymbolFeed],
        forwarder: Forwarder,
        gap_fill: GapFill,
        clock: MarketClock,
        checks: Counter,
        prove: Callable[[SymbolFeed, int], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`checks` counts silences asked about by outcome; `prove` notes that the log has all of a symbol before a time (µs)."""
        self.states, self.forwarder, self.gap_fill, self.clock = states, forwarder, gap_fill, clock
        self.checks, self.prove, self.monotonic = checks, prove, monotonic
        self.lines: dict[str, Connected] = {}  # by symbol
        self.suspects: dict[str, SymbolFeed] = {}

    def suspect(self, state: SymbolFeed, newest: int) -> None:
        """Expect the trade `newest`, which REST has, on the stream."""
        state.silence.suspect_id, state.silence.suspected = newest, (state.ids.last_id, self.monotonic())
        self.suspects[state.symbol] = state

    def clear(self, state: SymbolFeed) -> None:
        """Suspect a symbol no more."""
        state.silence.suspect_id = NO_TRADE_ID
        self.suspects.pop(state.symbol, None)

    async def judge(self) -> None:
        """Find the streams mute that did not bring in time what REST has."""
        grace = max(LEAST_GRACE, GRACE / max(self.clock.speed, 1e-9))
        overdue = [state for state in self.suspects.values() if self.monotonic() - state.silence.suspected[1] >= grace]
        by_line: dict[int, tuple[Connected, list[SymbolFeed]]] = {}
        for state in overdue:
            line = self.lines[state.symbol]
            by_line.setdefault(line.number, (line, []))[1].append(state)
        for line, states in by_line.values():
            try:
                is_settled = await asyncio.wait_for(line.settled(), SETTLING)
            except (Unavailable, TimeoutError):
                continue  # the line itself is in trouble, and sees to it
            if is_settled:
                self._sentence(line, states)

    def _sentence(self, line: Connected, states: Iterable[SymbolFeed]) -> None:
        mute = []
        for state in states:
            silence = state.silence
            suspect_id = silence.suspect_id
            self.clear(state)
            foreseen, silence.foreseen = silence.foreseen, None
            if foreseen is not None and not state.has_history and state.is_up and state.pending is None:
                state.begin(*foreseen)
                self.prove(state, foreseen[2])
                continue
            is_same = state.ids.last_id == silence.suspected[0] and suspect_id > state.newest_single
            if is_same and state.is_up and state.pending is None and state.is_whole:
                silence.mute_since, silence.was_heard, state.is_whole = max(self.clock.now(), 1), False, False
                mute.append(state)
        if mute:
            self.checks.labels("mute").inc(len(mute))
            since = min(max(state.ids.last_at, state.silence.proven_at) for state in mute)
            detail: dict[str, str | int | float] = {
                "line": line.number,
                "symbols": len(mute),
                "proven_until": since,
                "found_at": self.clock.now(),
            }
            text = f"the exchange's {_named(mute)} bring nothing though it has trades; REST fills in until they do"
            self.forwarder.event(EventKind.STREAM_MUTE, text, mute[0].symbol if len(mute) == 1 else "", detail)
            line.replace()

    def note_recovered(self, now: int) -> None:
        back = [s for s in self.states.values() if s.silence.mute_since and (s.is_whole or s.silence.was_heard)]
        if back:
            longest = max(now - state.silence.mute_since for state in back) / SECOND
            for state in back:
                state.silence.mute_since, state.silence.was_heard = 0, False
            text = f"the exchange's {_named(back)} bring trades again"
            detail: dict[str, str | int | float] = {"symbols": len(back), "seconds": longest}
            self.forwarder.event(EventKind.STREAM_RECOVERED, text, back[0].symbol if len(back) == 1 else "", detail)
            self.gap_fill.wake.set()


def _named(states: Collection[SymbolFeed]) -> str:
    names = [state.symbol for state in states]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"streams of {', '.join(names[:NAMED])}{more}"
