"""Writes what ingest has decided on: trades in order, heartbeats, gaps and events."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

from quantstream.binance.wire import LogPosition, heartbeat_event
from quantstream.core.errors import BadRecord
from quantstream.core.time import LATEST, SECOND
from quantstream.core.trade import Trade
from quantstream.core.trade_ids import Gap, IdStatus
from quantstream.messages.payloads import Event, EventKind
from quantstream.observability.metrics import Metrics
from streaming.ingest.log_protocol import TradeLog
from streaming.ingest.symbol_feed import SymbolFeed

log = logging.getLogger(__name__)


class Forwarder:
    """The log's only writer within ingest. It never sends a trade that the log is known to hold."""

    def __init__(
        self, trade_log: TradeLog, metrics: Metrics, now: Callable[[], int], horizon: Callable[[], int] = lambda: LATEST
    ) -> None:
        """`now` is the receiver's clock, µs; `horizon` tells after which time (µs) nothing can have happened yet."""
        self.log, self.now, self.horizon = trade_log, now, horizon
        self.gaps = metrics.gaps
        self.sent = metrics.records.labels("forwarded")
        self.filled = metrics.records.labels("repaired")
        self._live = 0
        self.dropped = metrics.records.labels("duplicate")

    def forward(
        self, state: SymbolFeed, trade: Trade, raw: bytes, kind: str, origin: str, received_at: int = 0
    ) -> IdStatus:
        """Append a trade unless the log has it; report the gap when trades before it are missing."""
        status, gap = state.note(trade)
        if not status.is_new:
            self.dropped.inc()
            if status.is_refused:
                state.account.refused += 1
            else:
                state.account.duplicate += 1
            return status
        if state.starts_at:
            self._start(state, status)
        if status is IdStatus.JUMP and gap is not None:
            self._report_gap(state, gap)
        self.log.send(state.symbol, raw, kind, received_at or self.now(), origin)
        state.account.stored += 1
        if origin == "live":
            self._live += 1
        else:
            self.filled.inc()
        return status

    def refuse_beyond(self, horizon: int, trade: Trade) -> None:
        """Refuse a trade of the future: it would close every window up to its time for good.

        Raises: BadRecord.
        """
        if trade.traded_at > horizon:
            ahead = (trade.traded_at - horizon) // SECOND
            raise BadRecord(f"a trade of {trade.symbol} dated {ahead} s beyond what the exchange's clock allows")

    def count(self) -> None:
        """Publish how many live trades were forwarded; a counter's lock for each would cost as much as its parsing."""
        live, self._live = self._live, 0
        self.sent.inc(live)

    def heartbeats(self, states: Collection[SymbolFeed], at: int, grid: int) -> None:
        """Say of each whole symbol that all before exchange time `at` (µs) is in the log, but for the gaps named.

        Past the end of a window, which lies on `grid`, only what is proven is said: see `streaming.ingest.silence`.
        """
        for state in states:
            if at and state.pending is None and state.has_history and (state.is_whole or state.silence.mute_since):
                self.heartbeat(state, state.sayable(at, grid))

    def heartbeat(self, state: SymbolFeed, at: int) -> None:
        """Write a heartbeat if it says anything new; a restart reads from it which gaps are still open."""
        gaps = state.open_gaps
        if gaps or at > max(state.ids.last_at, state.last_heartbeat):
            state.last_heartbeat = max(at, state.last_heartbeat)
            self.repeat_heartbeat(state)

    def repeat_heartbeat(self, state: SymbolFeed) -> None:
        """Write the last heartbeat once more."""
        at = max(state.last_heartbeat, state.ids.last_at)
        position = LogPosition(state.ids.last_id, state.ids.last_at, state.next_id, state.open_gaps)
        self.log.send(state.symbol, heartbeat_event(state.symbol, at, position), "heartbeat", self.now(), "live")

    def event(self, kind: str, text: str, symbol: str = "", detail: dict[str, str | int | float] | None = None) -> None:
        """Send an event to the operators."""
        self.log.event(Event("ingest", kind, text, self.now(), symbol, detail or {}))

    def _start(self, state: SymbolFeed, status: IdStatus) -> None:
        if status is IdStatus.NEXT:
            raw = heartbeat_event(state.symbol, state.starts_at)
            self.log.send(state.symbol, raw, "heartbeat", self.now(), "live")
        state.starts_at = 0

    def _report_gap(self, state: SymbolFeed, gap: Gap) -> None:
        self.gaps.labels("found").inc()
        text = f"{gap.missing} trades of {state.symbol} from id {gap.first} are missing; they are asked for again later"
        self.event(EventKind.GAP_FOUND, text, state.symbol, {"first": gap.first, "last": gap.last})
        if (lost := state.ids.give_up_oldest()) is not None:
            self.give_up(state, lost, "too many others are open")

    def give_up(self, state: SymbolFeed, gap: Gap, reason: str) -> None:
        """Report that a gap is not asked for any more: its candles are corrected from klines."""
        self.gaps.labels("given_up").inc()
        text = f"{gap.missing} trades of {state.symbol} from id {gap.first} are not asked for any more: {reason}"
        self.event(EventKind.GAP_GIVEN_UP, text, state.symbol, {"first": gap.first, "last": gap.last})
