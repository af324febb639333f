"""Fills gaps over REST: at once while newer trades wait, later for what could not be had, and at the start of a log.

Single trades come by their id where the exchange gives them out. Where it gives out aggregates only, those are found by time,
and one that reaches into what the log has already is cut to what is missing, or left out if that cannot be done exactly.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection

from quantstream.binance.protocols import MarketHistory, NotOffered, Row, UnknownSymbol
from quantstream.binance.wire import aggregate_row
from quantstream.core.candle import NO_TRADE_ID
from quantstream.core.errors import Unavailable
from quantstream.core.time import DAY, window_start
from quantstream.core.trade import Trade
from quantstream.core.trade_ids import Gap
from quantstream.messages.payloads import EventKind
from streaming.ingest.forward import Forwarder
from streaming.ingest.overlaps import remainder
from streaming.ingest.symbol_feed import SymbolFeed

log = logging.getLogger(__name__)
PATIENCE = 0.05  # seconds before REST is asked: what is only out of order, or on the other connection, comes by itself
FILL_TRIES = 4  # the exchange's REST side may be a little behind its streams
FILL_PAUSE = 0.5  # seconds between them, doubled each time
RETRY_EVERY = 30.0  # seconds between tries for remembered gaps
GIVE_UP_AFTER = DAY  # by then the exchange's daily archive has it
AT_ONCE = 8  # symbols whose gaps are asked for at the same time
PAGE = 1000  # rows of one REST answer: fewer mean that there are no more


class GapFill:
    """Gap fills of all symbols of a process; each is a task beside the reading."""

    def __init__(
        self,
        forwarder: Forwarder,
        history: MarketHistory,
        stream: str,
        window: int,
        states: Collection[SymbolFeed],
        on_unknown: Callable[[SymbolFeed, UnknownSymbol], None],
    ) -> None:
        """`stream` is trade or aggTrade; a new log begins with the open window of length `window` (µs).

        `on_unknown` sees to a symbol that the exchange refuses.
        """
        self.forwarder, self.history, self.stream, self.window = forwarder, history, stream, window
        self.states = states
        self.has_singles = stream == "trade"  # until the exchange says otherwise
        self.on_unknown = on_unknown
        self.wake = asyncio.Event()  # set when what could not be had may be there now
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def catch_up(self, state: SymbolFeed) -> str:
        """Fetch the trades between the log's last one and the waiting ones, and forward those that then follow it.

        Return why some could not be had; nothing when all is whole.
        """
        try:
            reason = await self._catch_up(state)
        except UnknownSymbol as error:
            reason = str(error)
            self.on_unknown(state, error)
        except Unavailable as error:
            reason = str(error)
        self.go_on(state, reason)
        return reason

    async def _catch_up(self, state: SymbolFeed) -> str:
        """Return why newer trades must go without those before them; nothing when all is whole."""
        if not state.has_history:
            async with self._slots:
                await self._begin(state)
        elif state.pending:
            await asyncio.sleep(PATIENCE)
            self._drain(state)
            if not state.pending:
                return ""
        attempt = 0
        while True:
            before = state.next_id
            async with self._slots:
                await self._fetch(state)
            self._drain(state)
            attempt = 0 if state.next_id > before else attempt + 1
            if not state.pending:
                return ""
            if attempt >= FILL_TRIES:
                return "the exchange does not have them"
            await asyncio.sleep(FILL_PAUSE * 2**attempt)

    def go_on(self, state: SymbolFeed, reason: str) -> None:
        """Let the waiting trades go; if some before them are still missing, the gap is remembered by their ids."""
        waiting, state.pending = state.pending or deque(), None
        state.is_whole = not state.set_aside
        if reason:
            log.warning("gap fill incomplete", extra={"symbol": state.symbol, "reason": reason})
        for trade, raw, received_at in sorted(waiting, key=lambda item: item[0].id):
            self.forwarder.forward(state, trade, raw, self.stream, "live", received_at)

    async def retry_for_ever(self, exchange_time: Callable[[], int]) -> None:
        """Ask for the open gaps again and again."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.wake.wait(), RETRY_EVERY)
            self.wake.clear()
            for state in self.states:
                for gap in state.open_gaps:
                    if exchange_time() - gap.before > GIVE_UP_AFTER:
                        state.ids.open_gaps.remove(gap)
                        self.forwarder.give_up(state, gap, "they have been missing for a day")
                    elif state.pending is None and not state.set_aside:
                        await self.retry(state, gap)

    async def retry(self, state: SymbolFeed, gap: Gap) -> None:
        """Ask once more for the trades of a gap; they come late into the log, marked by their origin (`repaired`)."""
        recovered = 0
        try:
            async with self._slots:
                is_named = self.has_singles or state.by_id
                async for page, kind in self._pages(state, gap.first if is_named else NO_TRADE_ID, gap.after):
                    recovered += sum(self._fill(state, gap, trade, raw, kind) for trade, raw in page)
                    if page[-1][0].last_number >= gap.last:
                        break
        except UnknownSymbol as error:
            self.on_unknown(state, error)
        except Unavailable as error:
            log.warning("gap still open", extra={"symbol": state.symbol, "reason": str(error)})
        if recovered:
            is_closed = not any(gap.first <= left.first and left.last <= gap.last for left in state.ids.open_gaps)
            self.forwarder.gaps.labels("repaired" if is_closed else "narrowed").inc()
            text = f"{recovered} of {gap.missing} missing trades of {state.symbol} from id {gap.first} were recovered"
            self.forwarder.event(EventKind.GAP_REPAIRED, text, state.symbol, {"first": gap.first, "last": gap.last})

    def _fill(self, state: SymbolFeed, gap: Gap, trade: Trade, raw: bytes, kind: str) -> int:
        """Forward the part of a row that fills a gap; return its number of trades."""
        if trade.last_number < gap.first or trade.first_number > gap.last:
            return 0
        known = (*state.before.get(gap.first, ()), *state.after.get(gap.last, ()))
        return self._forward_missing(state, trade, raw, kind, gap.first, gap.last, known)

    def _forward_missing(
        self, state: SymbolFeed, trade: Trade, raw: bytes, kind: str, first: int, last: int, known: tuple[Trade, ...]
    ) -> int:
        """Forward the part of a row within `[first, last]`, if it can be cut exactly; return its number of trades."""
        state.account.read += 1
        if trade.traded_at > self.forwarder.horizon():
            log.warning("the exchange repeats a trade of the future", extra={"symbol": state.symbol, "trade": trade.id})
            state.account.refused += 1
            return 0
        part, origin = trade, "repaired"
        if trade.first_number < first or trade.last_number > last:
            cut = remainder(trade, first, last, known) if self.stream == "trade" else None
            if cut is None:
                log.warning("an aggregate cannot be split", extra={"symbol": state.symbol, "aggregate": trade.id})
                state.account.refused += 1
                return 0
            part, raw, origin = cut, aggregate_row(cut), "split"
        status = self.forwarder.forward(state, part, raw, kind, origin)
        return part.last_number - part.first_number + 1 if status.is_new else 0

    async def _begin(self, state: SymbolFeed) -> None:
        """Start a new log with the open window, so that its first candle is whole where the exchange can still tell."""
        opened_at = window_start(await self.history.time(), self.window)
        opened_at = min(opened_at, state.empty_since or opened_at)
        rows = await self.history.aggregates_since(state.symbol, opened_at)
        if not rows and not await self._begin_quietly(state, opened_at):
            rows = await self.history.aggregates_since(state.symbol, opened_at)  # somebody has traded meanwhile
        if not rows:  # it has never traded: its log begins with its first trade, however late that is asked for
            state.empty_since = opened_at
            return
        first = rows[0][0]
        before = await self.history.aggregates_from(state.symbol, max(first.id - 1, 0))
        if (
            before and before[0][0].id < first.id
        ):  # the exchange knows what came before: nothing of the window is missing
            state.starts_at = opened_at - 1
        state.begin(first.first_number, first.id, opened_at - 1)

    async def _begin_quietly(self, state: SymbolFeed, opened_at: int) -> bool:
        """Nobody has traded in the window yet: the next trade is the first of it. Return False when that is not so."""
        last = await self.history.latest_trade(state.symbol)
        if last is None or last.traded_at >= opened_at:  # no market yet, or one trade just now
            return False
        self.forwarder.heartbeat(state, opened_at - 1)
        state.begin(last.last_number + 1, last.id + 1, opened_at - 1)
        return True

    async def _fetch(self, state: SymbolFeed) -> None:
        if not state.has_history:
            return
        async for page, kind in self._pages(state, state.next_id, state.ids.last_at):
            for trade, raw in page[: _before_waiting(state, page)]:
                self._forward_new(state, trade, raw, kind)
            if _before_waiting(state, page) < len(page):
                return

    def _forward_new(self, state: SymbolFeed, trade: Trade, raw: bytes, kind: str) -> None:
        """Forward a row that goes beyond the log's end; of an aggregate that began before it, what is beyond."""
        if trade.last_number > state.ids.last_id:
            first, last = state.ids.last_id + 1, trade.last_number
            self._forward_missing(state, trade, raw, kind, first, last, tuple(state.run))

    async def _pages(self, state: SymbolFeed, next_id: int, since: int) -> AsyncIterator[tuple[list[Row], str]]:
        """Yield the exchange's rows from an id on, in order, page by page, with the name of their shape.

        `next_id` is in the stream's numbering; where only aggregates are offered they are looked up by time, `since` (µs).
        """
        if self.has_singles:
            try:
                while rows := await self.history.trades_from(state.symbol, next_id):
                    await self.forwarder.log.room()
                    self._single_trades_are_offered()
                    yield rows, "restTrade"
                    next_id = rows[-1][0].id + 1
                    if len(rows) < PAGE:
                        break
            except NotOffered as error:
                self.has_singles = False
                log.warning("gaps are filled by aggregates from now on", extra={"reason": str(error)})
            else:
                return
        by_id = state.by_aggregate and next_id != NO_TRADE_ID
        ask, start = (self.history.aggregates_from, next_id) if by_id else (self.history.aggregates_since, since)
        while rows := await ask(state.symbol, start):
            await self.forwarder.log.room()
            yield rows, "restAggTrade"
            ask, start = self.history.aggregates_from, rows[-1][0].id + 1
            if len(rows) < PAGE:
                break

    def _single_trades_are_offered(self) -> None:
        for state in self.states if next(iter(self.states)).keeps_runs else ():
            state.keeps_runs = False

    def _drain(self, state: SymbolFeed) -> None:
        """Let the waiting trades go that follow the log's last one; they may have come out of order."""
        if state.pending is None:
            return
        waiting = deque(sorted(state.pending, key=lambda item: item[0].id))
        while waiting and state.follows(waiting[0][0]):
            trade, raw, received_at = waiting.popleft()
            self.forwarder.forward(state, trade, raw, self.stream, "live", received_at)
        state.pending = waiting


def _before_waiting(state: SymbolFeed, page: list[Row]) -> int:
    """Return how many rows of a page to take: all, or those before the first trade that waits."""
    if state.pending is None:  # it was gone on without them
        return 0
    if not state.pending:
        return len(page)
    stop = min(trade.first_number for trade, _, _ in state.pending)
    return next((row for row, (trade, _) in enumerate(page) if trade.first_number >= stop), len(page))
