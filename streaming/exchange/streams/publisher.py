"""Sends what happens on the market to whoever listens: one loop for all symbols, each event encoded once.

Every few milliseconds of wall time the loop takes what traded since the last time, in the order of trading across symbols,
lets the ordered faults spoil it, and puts it into the line of each connection that listens.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable

from streaming.exchange.clock import Clock
from streaming.exchange.faults import Faults
from streaming.exchange.formats import futures_wire, spot_wire
from streaming.exchange.market.protocol import Market, Span, trades_between
from streaming.exchange.streams.client import Connection, Event
from streaming.exchange.streams.live_streams import Feed, feed_of
from streaming.exchange.streams.stream_names import ALL, Kind, Stream, parse_stream
from streaming.exchange.truth import Truth

STEP = 0.02  # seconds of wall time between looks at the market


class Publisher:
    """Who listens to what, and how far the market was sent."""

    def __init__(
        self, market: Market, clock: Clock, faults: Faults, truth: Truth | None = None, kind: Kind = "spot"
    ) -> None:
        self._market = market
        self._kind = kind
        self._clock = clock
        self._faults = faults
        self._truth = truth
        self._sent_until = self._now = clock.now()
        self._listeners: dict[str, dict[Connection, None]] = defaultdict(dict)
        self._feeds: dict[str, Feed] = {}
        self._held: dict[str, Event] = {}  # by stream: events kept back to be sent after the next one
        self.connections: dict[Connection, dict[str, Stream]] = {}

    def listen(self, connection: Connection, names: Iterable[str]) -> None:
        """Make these streams the ones that a connection listens to; the first to listen starts a waiting clock."""
        wanted = {name: stream for name in names if (stream := self._offered(name, connection))}
        had = self.connections.get(connection, {})
        self.connections[connection] = wanted
        for name in had.keys() - wanted.keys():
            self._remove(connection, name)
        for name in wanted.keys() - had.keys():
            self._listeners[name][connection] = None
            self._add_feed(name, wanted[name])
        if wanted:
            self._clock.start()

    def leave(self, connection: Connection) -> None:
        """Forget a connection."""
        for name in self.connections.pop(connection, {}):
            self._remove(connection, name)

    def _offered(self, name: str, connection: Connection) -> Stream | None:
        """Return what is to be sent; nothing comes of symbols that are not listed, nor at the wrong address of the futures."""
        stream = parse_stream(name, self._kind)
        if stream is None or (stream.symbol != ALL and stream.symbol not in self._market.listings):
            return None
        return stream if connection.route in (None, stream.route) else None

    def _remove(self, connection: Connection, name: str) -> None:
        del self._listeners[name][connection]
        if not self._listeners[name]:
            del self._listeners[name]
            self._feeds.pop(name, None)
            self._held.pop(name, None)

    async def run(self) -> None:
        """Send for ever."""
        while True:
            self.step(self._clock.now())
            await asyncio.sleep(STEP)

    def step(self, now: int) -> None:
        """Send what happened before `now`."""
        self._now = now
        due: list[tuple[int, Event]] = []
        for symbol in self._market.listings:
            due += self._due(symbol, now)
        due.sort(key=lambda item: item[0])
        for _, event in due:
            self._send_through_faults(event)
        wall = time.monotonic()
        for name, feed in self._feeds.items():
            for raw in feed.due(now, wall, self._units(name)):
                self._send(Event(name, raw))
        self._sent_until = max(self._sent_until, now)

    def _due(self, symbol: str, now: int) -> list[tuple[int, Event]]:
        lower = symbol.lower()
        trades, aggregates = f"{lower}@trade", f"{lower}@aggTrade"
        listened = trades in self._listeners, aggregates in self._listeners
        if not any(listened) and self._truth is None:
            return []
        due: list[tuple[int, Event]] = []
        for span in trades_between(self._market, symbol, self._sent_until, now):
            if self._truth is not None:
                self._truth.write(span)
            if listened[0]:
                due += self._trades_due(trades, span, now)
            if listened[1]:
                run = Span(span.tape, *span.tape.aggregate_starts.searchsorted([span.start, span.stop]).tolist())
                at = span.tape.at[span.tape.aggregate_starts[run.start : run.stop]].tolist()
                write = futures_wire.aggregate_events if self._kind == "futures" else spot_wire.aggregate_events
                texts = {unit: write(run, unit) for unit in self._units(aggregates)}
                due += _events(aggregates, at, texts)
        return due

    def _trades_due(self, name: str, span: Span, now: int) -> list[tuple[int, Event]]:
        units = self._units(name)
        if self._kind == "futures":
            told = {unit: futures_wire.trade_events(span, self._sent_until, now, unit) for unit in units}
            at = [traded_at for traded_at, _ in next(iter(told.values()))]
            texts = {unit: [text for _, text in events] for unit, events in told.items()}
        else:
            at = span.tape.at[span.start : span.stop].tolist()
            texts = {unit: spot_wire.trade_events(span, unit) for unit in units}
        return _events(name, at, texts)

    def _units(self, name: str) -> set[int]:
        return {connection.unit for connection in self._listeners[name]}

    def _add_feed(self, name: str, stream: Stream) -> None:
        if name not in self._feeds and (feed := feed_of(self._market, stream, self._kind, self._clock.now())):
            self._feeds[name] = feed

    def _send(self, event: Event) -> None:
        if (self._faults.muted or self._faults.delisted) and self._faults.mutes(event.stream, self._now):
            return
        for connection in self._listeners.get(event.stream, ()):
            connection.send_event(event)

    def _send_through_faults(self, event: Event) -> None:
        if not self._faults.active and not self._held:
            self._send(event)
            return
        strike, stream = self._faults.strike, event.stream
        if strike("skip", stream):
            return
        if fault := strike("mute", stream):
            self._faults.mute(fault, self._now, stream)
        if strike("malformed", stream):
            event = event.broken()
        held = self._held.pop(stream, None)
        if held is None and strike("reorder", stream):
            self._held[stream] = event
            return
        self._send(event)
        if strike("duplicate", stream):
            self._send(event)
        if held is not None:
            self._send(held)
        self._break_connections(stream)

    def _break_connections(self, stream: str) -> None:
        for connection in list(self._listeners.get(stream, ())):
            if self._faults.strike("drop", stream):
                connection.abort()
            if fault := self._faults.strike("stall", stream):
                connection.stall(fault.seconds, fault.pings)


def _events(stream: str, at: list[int], texts: dict[int, list[str]]) -> list[tuple[int, Event]]:
    if len(texts) == 1:
        unit, only = next(iter(texts.items()))
        return [(t, Event(stream, {unit: text})) for t, text in zip(at, only, strict=True)]
    return [(t, Event(stream, {unit: text[i] for unit, text in texts.items()})) for i, t in enumerate(at)]
