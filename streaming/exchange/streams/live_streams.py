"""Streams that repeat a state instead of telling events: klines as they grow and close, tickers, averages, books."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from quantstream.core.time import SECOND
from streaming.exchange.error_answers import NotTraded
from streaming.exchange.formats import futures_wire, spot_wire
from streaming.exchange.market.book import book_at, rows, update_between
from streaming.exchange.market.market_klines import Kline, klines, next_window, window_of
from streaming.exchange.market.protocol import Market
from streaming.exchange.market.statistics import Last, last_trade
from streaming.exchange.streams import ticker_events
from streaming.exchange.streams.stream_names import ALL, Kind, Stream

UPDATE_AT_MOST_EVERY = 0.25  # seconds of wall time: a fast clock must not flood
CLOSED_AT_ONCE = 1000  # klines of one interval told together
NOTHING_YET = Last(0, 0, 0, 0)
PASSING = ("E", "O", "C", "T")  # times that go on without a trade


class Feed(Protocol):
    """One stream."""

    def due(self, now: int, wall: float, units: set[int]) -> list[dict[int, str]]:
        """Return the events due at exchange time `now` (µs), `wall` seconds of the wall's clock; JSON by unit."""
        ...


def feed_of(market: Market, stream: Stream, kind: Kind, now: int) -> Feed | None:
    """Return what fills a stream from now on, None for the streams of single trades and aggregates."""
    if stream.channel in ("trade", "aggTrade"):
        return None
    if stream.channel in ("kline", "continuousKline"):
        return KlineFeed(market, stream, kind, now)
    if stream.channel in ("depth", "partialDepth"):
        return BookFeed(market, stream, kind, now)
    return TickerFeed(market, stream, kind)


class KlineFeed:
    """The kline of one symbol and interval: an update every second or two while it changes, and one when it closes."""

    def __init__(self, market: Market, stream: Stream, kind: Kind, now: int) -> None:
        self._market = market
        self._stream = stream
        self._kind = kind
        self._opened_at = window_of(stream.detail, now, stream.offset)
        self._told: Kline | None = None
        self._told_at = 0
        self._told_wall = 0.0

    def due(self, now: int, wall: float, units: set[int]) -> list[dict[int, str]]:
        """Return the events due, see `Feed`."""
        events: list[dict[int, str]] = []
        while closed := self._closed(now):
            found = self._klines(closed, self._opened_at)
            events += [self._event(kline, kline.closed_at, units) for kline in found]
            self._told = None
        if now - self._told_at >= self._stream.every and wall - self._told_wall >= UPDATE_AT_MOST_EVERY:
            self._told_at, self._told_wall = now, wall
            for kline in self._klines([self._opened_at], now):
                if kline != self._told:
                    self._told = kline
                    events.append(self._event(kline, now, units))
        return events

    def _closed(self, now: int) -> list[int]:
        """Return the windows that are over, a number of them at once, and go on to the one after them."""
        closed: list[int] = []
        interval, offset = self._stream.detail, self._stream.offset
        while len(closed) < CLOSED_AT_ONCE:
            closes_at = next_window(interval, self._opened_at, offset)
            if closes_at > now:
                break
            closed.append(self._opened_at)
            self._opened_at = closes_at
        return closed

    def _klines(self, windows: list[int], until: int) -> list[Kline]:
        stream = self._stream
        return klines(self._market, stream.symbol, stream.detail, windows, until, stream.offset)

    def _event(self, kline: Kline, at: int, units: set[int]) -> dict[int, str]:
        symbol, interval = self._stream.symbol, self._stream.detail
        write = spot_wire.kline_event if self._stream.channel == "kline" else futures_wire.continuous_kline_event
        return {unit: write(symbol, interval, kline, at, unit) for unit in units}


class TickerFeed:
    """A ticker of one symbol, or of all that changed: told again when a trade came into its window, or left it."""

    def __init__(self, market: Market, stream: Stream, kind: Kind) -> None:
        self._market = market
        self._stream = stream
        self._row = ticker_events.row_of(stream, kind)
        self._told: dict[str, object] = {}
        self._told_wall = 0.0

    def due(self, now: int, wall: float, units: set[int]) -> list[dict[int, str]]:
        """Return the events due, see `Feed`."""
        if wall - self._told_wall < self._stream.every / SECOND:
            return []
        self._told_wall = wall
        is_all = self._stream.symbol == ALL
        symbols = self._market.listings if is_all else [self._stream.symbol]
        found = [rows for symbol in symbols if (rows := self._changed(symbol, now, units))]
        if not found:
            return []
        if is_all and self._stream.channel != "bookTicker":
            return [{unit: _encoded([row[unit] for row in found]) for unit in units}]
        return [{unit: _encoded(row[unit]) for unit in units} for row in found]

    def _changed(self, symbol: str, now: int, units: set[int]) -> dict[int, dict[str, Any]] | None:
        """Return a symbol's row by unit, None when all but its times was told before."""
        try:
            state: object = last_trade(self._market, symbol, now)
            if self._stream.channel == "bookTicker" and state == self._told.get(symbol):
                return None
            rows = {unit: self._row(self._market, symbol, now, unit) for unit in units}
        except NotTraded:
            return None
        if self._stream.channel != "bookTicker":
            state = {key: value for key, value in rows[min(units)].items() if key not in PASSING}
        if state == self._told.get(symbol):
            return None
        self._told[symbol] = state
        return rows


class BookFeed:
    """The book of one symbol: what changed since the last event, or its best levels."""

    def __init__(self, market: Market, stream: Stream, kind: Kind, now: int) -> None:
        self._market = market
        self._stream = stream
        self._kind = kind
        self._told = self._last(now) or NOTHING_YET
        self._told_wall = 0.0

    def due(self, now: int, wall: float, units: set[int]) -> list[dict[int, str]]:
        """Return the events due, see `Feed`."""
        if wall - self._told_wall < self._stream.every / SECOND:
            return []
        self._told_wall = wall
        last = self._last(now)
        if last is None or last.id == self._told.id:
            return []
        told, self._told = self._told, last
        found = self._levels(last) if self._stream.detail else self._update(told, last, now)
        return [{unit: _encoded(self._event(found, told, last, now, unit)) for unit in units}]

    def _last(self, now: int) -> Last | None:
        try:
            return last_trade(self._market, self._stream.symbol, now)
        except NotTraded:
            return None

    def _levels(self, last: Last) -> Any:
        bids, asks = book_at(self._market.listings[self._stream.symbol], last.price, int(self._stream.detail))
        return rows(bids), rows(asks)

    def _update(self, told: Last, last: Last, now: int) -> Any:
        update = update_between(self._market, self._stream.symbol, told, last, now)
        return rows(update.bids), rows(update.asks)

    def _event(self, found: Any, told: Last, last: Last, now: int, unit: int) -> dict[str, Any]:
        bids, asks = found
        if self._kind == "spot" and self._stream.detail:
            return {"lastUpdateId": last.id, "bids": bids, "asks": asks}
        head: dict[str, Any] = {"e": "depthUpdate", "E": now // unit}
        ids = {"s": self._stream.symbol, "U": told.id + 1, "u": last.id}
        if self._kind == "futures":
            head["T"] = last.at // unit
            ids |= {"pu": told.id, "ps": self._stream.symbol.partition("_")[0], "st": 1}
        return head | ids | {"b": bids, "a": asks}


def _encoded(event: Any) -> str:
    return msgspec.json.encode(event).decode()
