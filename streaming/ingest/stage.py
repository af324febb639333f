"""Trades from the exchange to the log: each once, in id order, gaps filled over REST before newer trades go on.

The log's own tail says where a symbol stands, so a start after any crash is the same thing as a gap: what is missing is
fetched, what is there is not sent again. Heartbeats are written only when a symbol is known to be whole.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from math import gcd

from quantstream.binance.exchange_clock import MarketClock
from quantstream.binance.protocols import Feed, MarketHistory
from quantstream.binance.wire import (
    LogPosition,
    NotMarketTrade,
    announces_shutdown,
    is_trade_stream,
    parse_trade,
    split_frame,
)
from quantstream.core.accounts import NO_SYMBOL, Account
from quantstream.core.candle import NO_TRADE_ID
from quantstream.core.errors import BadRecord, Unavailable
from quantstream.core.time import HOUR, SECOND, interval_length
from quantstream.core.trade import Trade
from quantstream.observability.balance import BalanceSheet
from quantstream.observability.health import Health
from quantstream.observability.metrics import Metrics
from streaming.ingest.delisted import Delisted
from streaming.ingest.forward import Forwarder
from streaming.ingest.gap_fill import GapFill
from streaming.ingest.log_protocol import TradeLog
from streaming.ingest.silence import SilenceWatch
from streaming.ingest.symbol_feed import SymbolFeed

log = logging.getLogger(__name__)
MAX_PENDING = 20_000  # trades of one symbol that wait for a gap fill: about 10 MB, some minutes of the busiest symbol
MAX_ALL_PENDING = 200_000  # of all symbols together
MAX_BEGINNINGS = (
    100  # new symbols whose open window is fetched first: 33 of the weight each, 6,000 a minute are allowed
)
CLOCK_EVERY = 1.0  # seconds between readings of the exchange's clock


class Ingest:
    """Takes frames in and keeps the log whole. One event loop, no locks: gap fills are tasks beside the reading."""

    def __init__(
        self,
        symbols: Sequence[str],
        history: MarketHistory,
        trade_log: TradeLog,
        metrics: Metrics,
        health: Health,
        now: Callable[[], int],
        stream: str = "trade",
        intervals: Sequence[str] = ("5m",),
        ahead: int = HOUR,
        share: tuple[int, int] = (1, 1),
    ) -> None:
        """`now` is the receiver's clock, µs. A new log begins with the window of the shortest of `intervals` that is open.

        A trade dated more than `ahead` (µs) after the exchange's clock is dead-lettered. `share` says which part of all symbols
        these are, from 1, and of how many.
        """
        singles = stream == "trade"
        self.feeds = {symbol: SymbolFeed(symbol, not singles, keeps_runs=singles) for symbol in symbols}
        self.history, self.log, self.metrics, self.health, self.now = history, trade_log, metrics, health, now
        self.stream = stream
        self.clock = MarketClock()
        self.forwarder = Forwarder(trade_log, metrics, now, lambda: self.clock.horizon(ahead, self.now()))
        lengths = [interval_length(interval) for interval in intervals]
        self.grid = gcd(*lengths)  # a window ends nowhere else
        states = self.feeds.values()
        self.delisted = Delisted(states, history, self.forwarder, metrics)
        self.gap_fill = GapFill(self.forwarder, history, stream, max(lengths), states, self.delisted.put)
        self.silence = SilenceWatch(
            *(self.feeds, history, self.forwarder, self.gap_fill, self.delisted, self.clock, metrics, self.grid)
        )
        self.not_market = metrics.records.labels("not_market")
        self.strangers = Account()  # frames that nobody can read, or of symbols that nobody asked for
        self.balance = BalanceSheet(metrics)
        self.frames = metrics.counter("frames_total", "frames received")
        self.feed_delay = metrics.histogram("feed_delay_seconds", "from traded to received, by the exchange's clock")
        self.shard = f"{share[0]}/{share[1]}"
        metrics.gauge("shards", "parts that the symbols are followed in, each by processes of its own").set(share[1])
        self.market_time = metrics.gauge(
            "market_time_seconds", "the exchange's clock, seconds since the epoch, by part of the symbols", "shard"
        ).labels(self.shard)
        traded = metrics.symbol_gauge(
            "symbol_has_trades",
            "1 for a symbol that is followed and has traded since the start, 0 for one that has not",
        )
        traded.read = lambda: {
            name: float(state.has_traded) for name, state in self.feeds.items() if not state.set_aside
        }
        self.waiting = metrics.gauge("waiting_trades", "trades that wait for what is missing before them")
        self.waiting.set_function(lambda: sum(len(state.pending or ()) for state in list(self.feeds.values())))
        metrics.open_gaps.set_function(lambda: sum(len(state.open_gaps) for state in list(self.feeds.values())))
        self.spawn: Callable[[Coroutine[None, None, object]], object] = asyncio.ensure_future
        self._beginnings = MAX_BEGINNINGS
        self._pending = 0  # an upper bound of all that waits

    def streams(self, symbols: Collection[str]) -> list[str]:
        """Return the names of the exchange's streams of some symbols."""
        return [f"{symbol.lower()}@{self.stream}" for symbol in symbols]

    def resume(self, tails: Mapping[str, Iterable[Trade | LogPosition]]) -> None:
        """Continue after what the log's end holds of each symbol: trades, and where heartbeats say that it stood, in order."""
        for symbol in tails.keys() & self.feeds.keys():
            state = self.feeds[symbol]
            for item in tails[symbol]:
                state.recall(item)
            if state.by_aggregate and not state.by_id and state.next_id == state.ids.last_id + 1:
                state.next_id = NO_TRADE_ID  # the log's end are single trades: the aggregates' ids are unknown

    def connected(self, symbols: Sequence[str]) -> None:
        """Take note of a new connection: what came before it may have been missed, REST is asked about that."""
        for state in [self.feeds[symbol] for symbol in symbols]:
            state.is_whole, state.is_up = False, True
            if not state.has_history and state.pending is None and self._beginnings:
                self._beginnings -= 1
                self._fill_gap(state)

    def disconnected(self, symbols: Sequence[str]) -> None:
        """Take note that nothing brings these symbols now."""
        for state in [self.feeds[symbol] for symbol in symbols]:
            state.is_whole = state.is_up = False
            self.silence.interrupted(state)

    def take(self, frames: Sequence[bytes], feed: Feed) -> None:
        """Sort frames: forward their trades, let them wait, or put them aside."""
        self.frames.inc(len(frames))
        received_at, trade, horizon = self.now(), None, self.forwarder.horizon()
        for frame in frames:
            state = None
            try:
                name, raw = split_frame(frame)
                if not is_trade_stream(name):
                    if announces_shutdown(raw):
                        feed.leaving.set()
                    continue
                trade = parse_trade(raw)
                state = self.feeds.get(trade.symbol)
                if state is None:
                    raise BadRecord(f"a trade of {trade.symbol}, which nobody asked for")
                state.account.read += 1
                self.forwarder.refuse_beyond(horizon, trade)
            except NotMarketTrade:
                self.not_market.inc()
                self.strangers.read += 1
                self.strangers.passed += 1
                continue
            except BadRecord as error:
                self._dead_letter(error, frame, state)
                continue
            if not state.has_history and state.pending is None:
                self.silence.first_came(state, trade)
            if state.pending is not None:
                self._wait(state, trade, raw, received_at)
            elif state.has_history and not state.follows(trade):
                self._fill_gap(state, (trade, raw, received_at))
            else:
                state.is_whole = True
                self.forwarder.forward(state, trade, raw, self.stream, "live", received_at)
        self.forwarder.count()
        if trade is not None and self.clock.at:
            self.feed_delay.observe(max(0, self.clock.now() - trade.traded_at) / SECOND)

    def accounts(self) -> Iterator[tuple[str, Account]]:
        """Yield the account of each symbol, then that of what belongs to none; true between two steps of the event loop."""
        for symbol, state in self.feeds.items():
            yield symbol, state.balance()
        yield NO_SYMBOL, self.strangers

    def _dead_letter(self, error: BadRecord, frame: bytes, state: SymbolFeed | None) -> None:
        """Write a dead letter; only a symbol's own trade has been read under it."""
        account = self.strangers if state is None else state.account
        account.read += state is None
        account.dead += 1
        self.metrics.dead.inc()
        self.log.dead("ingest", str(error), frame)

    async def room(self) -> None:
        """Return when the broker has taken enough for more to be read."""
        if not self.log.has_room:
            log.warning("the broker takes no records; the exchange is not read meanwhile")
            self.health.not_ready("the broker takes no records")
            await self.log.room()
            log.info("the broker takes records again")

    async def keep_time(self) -> None:
        """Read the exchange's clock for ever; while it does not answer, no heartbeat says anything new."""
        while True:
            try:
                self.clock.read(await self.history.time())
                self.market_time.set(self.clock.at / SECOND)
            except Unavailable as error:
                log.warning("the exchange's clock cannot be read", extra={"reason": str(error)})
            self.balance.show(self.accounts())
            await asyncio.sleep(CLOCK_EVERY)

    async def retry_gaps(self) -> None:
        """Ask again and again for what could not be had."""
        await self.gap_fill.retry_for_ever(lambda: self.clock.at)

    def heartbeats(self, symbols: Sequence[str], at: int) -> None:
        """Say of each whole symbol that all before exchange time `at` (µs) is in the log, as far as that is proven."""
        self.forwarder.heartbeats([self.feeds[symbol] for symbol in symbols], at, self.grid)

    def _fill_gap(self, state: SymbolFeed, *waiting: tuple[Trade, bytes, int]) -> None:
        state.pending = deque(waiting)
        state.silence.was_heard = bool(waiting)
        self.spawn(self.gap_fill.catch_up(state))

    def _wait(self, state: SymbolFeed, trade: Trade, raw: bytes, received_at: int) -> None:
        assert state.pending is not None
        state.pending.append((trade, raw, received_at))
        state.silence.was_heard = True
        self._pending += 1
        if len(state.pending) > MAX_PENDING:
            self.gap_fill.go_on(state, "too many of its trades wait for a gap fill")
        elif self._pending > MAX_ALL_PENDING:
            self._pending = sum(len(other.pending or ()) for other in self.feeds.values())
            if self._pending > MAX_ALL_PENDING:
                self.gap_fill.go_on(state, "too many trades wait for gap fills")
