"""Trades from the exchange to the log: each once, in id order, holes filled over REST before newer trades go on.

The log's own tail says where a symbol stands, so a start after any crash is the same thing as a gap: what is missing is
fetched, what is there is not sent again. Heartbeats are written only when a symbol is known to be whole.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field

from quantstream.errors import BadRecord, QuantStreamError, Unavailable
from quantstream.market import NO_TRADE_ID, SECOND, Trade, interval_length, window_start
from quantstream.metrics import Health, Metrics
from quantstream.sequence import Hole, Seen
from quantstream.sequence import Sequence as TradeSequence
from quantstream.topics import Event
from streaming.binance import heartbeat_event, is_trade_stream, parse_trade, split_frame
from streaming.ports import Feed, MarketHistory, TradeLog

log = logging.getLogger(__name__)
MAX_PENDING = 20_000  # trades of one symbol that wait for a repair: about 10 MB, some minutes of the busiest symbol
HEARTBEAT_EVERY = 1.0  # seconds
RETRY_HOLES_EVERY = 30.0  # seconds
REPAIR_TRIES = 4  # the exchange's REST side may be a little behind its streams
REPAIR_PAUSE = 0.5  # seconds between them
PAGE = 1000  # rows of one REST answer: fewer mean that there are no more
Pending = tuple[Trade, bytes, int]


@dataclass
class SymbolFeed:
    """Where one symbol stands: its ids, and the trades that wait while what is missing before them is fetched."""

    symbol: str
    ids: TradeSequence = field(default_factory=TradeSequence)
    next_id: int = NO_TRADE_ID  # in the stream's own numbering: what to ask the exchange for next
    pending: deque[Pending] | None = None  # None: live; else in repair
    last_heartbeat: int = 0  # µs

    @property
    def has_history(self) -> bool:
        """Whether the log holds any trade of it."""
        return self.next_id != NO_TRADE_ID


class Ingest:
    """Takes frames in and keeps the log whole. One event loop, no locks: repairs are tasks beside the reading."""

    def __init__(
        self,
        symbols: Sequence[str],
        history: MarketHistory,
        trade_log: TradeLog,
        metrics: Metrics,
        health: Health,
        now: Callable[[], int],
        stream: str = "trade",
        interval: str = "5m",
    ) -> None:
        """`now` is the receiver's clock, µs. A new log begins with the window of `interval` that is open."""
        self.feeds = {symbol: SymbolFeed(symbol) for symbol in symbols}
        self.history, self.log, self.metrics, self.health, self.now = history, trade_log, metrics, health, now
        self.stream = stream
        self.window = interval_length(interval)
        self.frames = metrics.counter("frames_total", "frames received")
        self.round_trip = metrics.gauge("feed_round_trip_seconds", "ping to pong on the exchange's stream")
        self.market_time = metrics.gauge("market_time_seconds", "the exchange's clock, seconds since the epoch")
        self.sent = metrics.records.labels("forwarded")
        self.dropped = metrics.records.labels("duplicate")
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: QuantStreamError | None = None

    @property
    def streams(self) -> list[str]:
        """Names of the exchange's streams to subscribe to."""
        return [f"{symbol.lower()}@{self.stream}" for symbol in self.feeds]

    def resume(self, tail: Mapping[str, Trade]) -> None:
        """Continue after the last trade of each symbol that the log holds."""
        for symbol, trade in tail.items():
            if symbol in self.feeds:
                state = self.feeds[symbol]
                state.ids.last_id, state.ids.last_at = trade.last_trade_id, trade.traded_at
                state.next_id = trade.id + 1

    async def run(self, feed: Feed) -> None:
        """Forward one connection's trades until it ends.

        Raises: Unavailable when the connection ends, Broken when the broker takes no more, Misconfigured for an unknown symbol.
        """
        self._failure = None
        for state in self.feeds.values():
            self._repair(state)
        self._spawn(self._send_heartbeats(feed))
        self._spawn(self._retry_holes())
        try:
            async for frame in feed.frames():
                self._take(frame)
                if self._failure:
                    raise self._failure
        finally:
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._tasks.clear()
            self.health.not_ready("not connected to the exchange")

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = error if isinstance(error, QuantStreamError) else Unavailable(f"ingest failed: {error!r}")
            log.error("ingest task failed", extra={"reason": str(self._failure)})

    def _take(self, frame: bytes) -> None:
        """Sort one frame: forward its trade, let it wait, or put it aside."""
        self.frames.inc()
        self.health.beat()
        try:
            name, raw = split_frame(frame)
            if not is_trade_stream(name):
                return
            trade = parse_trade(raw)
            state = self.feeds.get(trade.symbol)
            if state is None:
                raise BadRecord(f"a trade of {trade.symbol}, which nobody asked for")
        except BadRecord as error:
            self._put_aside(frame, error)
            return
        if state.pending is not None:
            state.pending.append((trade, raw, self.now()))
            if len(state.pending) > MAX_PENDING:
                self._go_on(state, "too many trades wait for its repair")
        elif state.has_history and trade.first_trade_id > state.ids.last_id + 1:
            self._repair(state, (trade, raw, self.now()))
        else:
            self._forward(state, trade, raw, self.stream, "live", self.now())

    def _put_aside(self, frame: bytes, error: BadRecord) -> None:
        if b'"serverShutdown"' in frame[:200]:
            self._failure = Unavailable("the exchange announced its shutdown: connecting anew")
        elif not frame.startswith((b'{"result":', b'{"id":')):  # those acknowledge a subscription
            self.metrics.dead.inc()
            self.log.dead("ingest", str(error), frame)

    def _forward(self, state: SymbolFeed, trade: Trade, raw: bytes, kind: str, origin: str, received_at: int) -> None:
        seen, hole = state.ids.take(trade)
        if seen in (Seen.DUPLICATE, Seen.OVERLAP):
            self.dropped.inc()
            return
        if seen is Seen.JUMP and hole is not None:
            self._report_gap(state, hole)
        self.log.send(state.symbol, raw, kind, received_at, origin)
        state.next_id = max(state.next_id, trade.id + 1)
        self.sent.inc()

    def _report_gap(self, state: SymbolFeed, hole: Hole) -> None:
        self.metrics.gaps.labels("found").inc()
        self.metrics.open_gaps.set(sum(_open_holes(feed) for feed in self.feeds.values()))
        text = (
            f"{hole.missing} trades of {state.symbol} from id {hole.first} are missing; they are asked for again later"
        )
        detail: dict[str, str | int | float] = {"first": hole.first, "last": hole.last}
        self.log.event(Event("ingest", "gap_found", text, self.now(), state.symbol, detail))

    def _repair(self, state: SymbolFeed, *waiting: Pending) -> None:
        state.pending = deque(waiting)
        self._spawn(self._catch_up(state))

    async def _catch_up(self, state: SymbolFeed) -> None:
        """Fetch what lies between the log's last trade and the waiting ones, and let those go that then follow it."""
        reason, attempt = "", 0
        try:
            if not state.has_history:
                await self._begin(state)
            while True:
                before = state.next_id
                await self._fetch_missing(state)
                self._drain(state)
                attempt = 0 if state.next_id > before else attempt + 1
                if not state.pending:
                    break
                if attempt >= REPAIR_TRIES:
                    reason = "the exchange does not have them"
                    break
                await asyncio.sleep(REPAIR_PAUSE * 2**attempt)
        except Unavailable as error:
            reason = str(error)
        self._go_on(state, reason)
        self.health.ready()

    async def _begin(self, state: SymbolFeed) -> None:
        """Start a new log with the open window, so that its first candle is whole where the exchange can still tell."""
        opened_at = window_start(await self.history.time(), self.window)
        first = await self.history.first_trade_since(state.symbol, opened_at)
        if first is None:
            return
        start = first.first_trade_id if self.stream == "trade" else first.id
        rows = await self.history.trades_from(state.symbol, max(start - 1, 0))
        if rows and rows[0][0].id < start:  # the exchange knows what came before: nothing of the window is missing
            self._heartbeat(state, opened_at - 1)
        state.next_id = start

    async def _fetch_missing(self, state: SymbolFeed) -> None:
        while state.has_history and state.pending is not None:
            rows = await self.history.trades_from(state.symbol, state.next_id)
            for trade, raw in rows:
                if state.pending and trade.id >= state.pending[0][0].id:
                    return
                self._forward(state, trade, raw, self.history.kind(), "repaired", self.now())
                self.metrics.records.labels("repaired").inc()
            if len(rows) < PAGE:
                return

    def _drain(self, state: SymbolFeed) -> None:
        """Let the waiting trades go that follow the log's last one; they may have come out of order."""
        if state.pending is None:
            return
        waiting = deque(sorted(state.pending, key=lambda item: item[0].id))
        while waiting and (state.ids.last_id == NO_TRADE_ID or waiting[0][0].first_trade_id <= state.ids.last_id + 1):
            trade, raw, received_at = waiting.popleft()
            self._forward(state, trade, raw, self.stream, "live", received_at)
        state.pending = waiting

    def _go_on(self, state: SymbolFeed, reason: str) -> None:
        """Let the waiting trades go; if some before them are still missing, the hole is remembered by their ids."""
        waiting, state.pending = state.pending or deque(), None
        if reason:
            log.warning("repair incomplete", extra={"symbol": state.symbol, "reason": reason})
        for trade, raw, received_at in sorted(waiting, key=lambda item: item[0].id):
            self._forward(state, trade, raw, self.stream, "live", received_at)

    async def _retry_holes(self) -> None:
        while True:
            await asyncio.sleep(RETRY_HOLES_EVERY)
            for state in self.feeds.values():
                for hole in [hole for hole in state.ids.holes if hole.after]:
                    if state.pending is None:
                        await self._refill(state, hole)

    async def _refill(self, state: SymbolFeed, hole: Hole) -> None:
        """Ask once more for the trades of a hole; the log takes them late, marked as repaired."""
        try:
            start: int = hole.first
            if self.stream != "trade":
                first = await self.history.first_trade_since(state.symbol, hole.after)
                start = first.id if first else NO_TRADE_ID
            rows = await self.history.trades_from(state.symbol, start) if start >= 0 else []
        except Unavailable as error:
            log.warning("gap still open", extra={"symbol": state.symbol, "reason": str(error)})
            return
        inside = [row for row in rows if hole.first <= row[0].first_trade_id and row[0].last_trade_id <= hole.last]
        for trade, raw in inside:
            self._forward(state, trade, raw, self.history.kind(), "repaired", self.now())
        if inside:
            self.metrics.gaps.labels("repaired").inc()
            self.metrics.open_gaps.set(sum(_open_holes(feed) for feed in self.feeds.values()))
            text = f"{len(inside)} missing trades of {state.symbol} from id {hole.first} were recovered"
            self.log.event(Event("ingest", "gap_repaired", text, self.now(), state.symbol))

    async def _send_heartbeats(self, feed: Feed) -> None:
        """Every second say of each whole symbol: all before this exchange time is in the log.

        The time is the one read a round earlier, before a ping that the exchange has answered since: whatever it printed
        by then has arrived, and has been taken in, for this task runs only while the reading waits.
        """
        earlier = 0
        while True:
            at = await self.history.time()
            started = time.monotonic()
            await feed.barrier()
            self.round_trip.set(time.monotonic() - started)
            self.market_time.set(at / SECOND)
            await asyncio.sleep(0)
            for state in self.feeds.values() if earlier else ():
                if state.pending is None:
                    self._heartbeat(state, earlier)
            earlier = at
            self.health.beat()
            await asyncio.sleep(HEARTBEAT_EVERY)

    def _heartbeat(self, state: SymbolFeed, at: int) -> None:
        if at > max(state.ids.last_at, state.last_heartbeat):
            state.last_heartbeat = at
            self.log.send(state.symbol, heartbeat_event(state.symbol, at), "heartbeat", self.now(), "live")


def _open_holes(feed: SymbolFeed) -> int:
    return sum(1 for hole in feed.ids.holes if hole.after)
