"""Streams that repeat a state instead of telling events: klines as they grow and close, and tickers."""

from __future__ import annotations

from typing import Any

import msgspec

from quantstream.market import SECOND
from streaming.exchange import tickers, wire
from streaming.exchange.candles import Kline, klines, next_window, window_of
from streaming.exchange.market import Market
from streaming.exchange.refusals import Refused

UPDATE_EVERY = 2 * SECOND  # of exchange time, as the real one
UPDATE_AT_MOST_EVERY = 0.25  # seconds of wall time: a fast clock must not flood
TICKER_EVERY = 1.0  # seconds of wall time


class KlineFeed:
    """The kline of one symbol and interval: an update every two seconds while it changes, and one when it closes."""

    def __init__(self, market: Market, symbol: str, interval: str, now: int) -> None:
        self._market = market
        self._symbol = symbol
        self._interval = interval
        self._opened_at = window_of(interval, now)
        self._told: Kline | None = None
        self._told_at = 0
        self._told_wall = 0.0

    def due(self, now: int, wall: float, units: set[int]) -> list[dict[int, str]]:
        """Return the events due at exchange time `now` (µs), `wall` seconds of the wall's clock; JSON by unit."""
        events: list[dict[int, str]] = []
        while (closes_at := next_window(self._interval, self._opened_at)) <= now:
            events += self._tell(self._opened_at, closes_at, now, units)
            self._opened_at, self._told = closes_at, None
        if now - self._told_at >= UPDATE_EVERY and wall - self._told_wall >= UPDATE_AT_MOST_EVERY:
            self._told_at, self._told_wall = now, wall
            events += self._tell(self._opened_at, now, now, units)
        return events

    def _tell(self, opened_at: int, until: int, now: int, units: set[int]) -> list[dict[int, str]]:
        found = klines(self._market, self._symbol, self._interval, [opened_at], until)
        if not found or (found[0] == self._told and until < found[0].closed_at):
            return []
        self._told = found[0]
        seen = min(now, until) if until >= found[0].closed_at else now
        return [
            {unit: wire.kline_event(self._symbol, self._interval, found[0], max(seen, until), unit) for unit in units}
        ]


class TickerFeed:
    """`ticker`, `miniTicker` or `bookTicker` of one symbol, told again when something traded, at most once a second."""

    def __init__(self, market: Market, symbol: str, channel: str) -> None:
        self._market = market
        self._symbol = symbol
        self._channel = channel
        self._told_id = -1
        self._told_wall = 0.0

    def due(self, now: int, wall: float, units: set[int]) -> list[dict[int, str]]:
        """Return the events due, like `KlineFeed.due`."""
        if wall - self._told_wall < TICKER_EVERY:
            return []
        self._told_wall = wall
        try:
            last = tickers.last_trade(self._market, self._symbol, now)
        except Refused:
            return []  # nothing has traded yet
        if last.id == self._told_id:
            return []
        self._told_id = last.id
        return [{unit: msgspec.json.encode(self._event(last, now, unit)).decode() for unit in units}]

    def _event(self, last: tickers.Last, now: int, unit: int) -> dict[str, Any]:
        if self._channel == "bookTicker":
            row = tickers.book_row(self._market, self._symbol, now)
            keys = {"b": "bidPrice", "B": "bidQty", "a": "askPrice", "A": "askQty"}
            return {"u": last.id * 10, "s": self._symbol, **{short: row[long] for short, long in keys.items()}}
        row = tickers.day_row(self._market, self._symbol, now, unit)
        keys = {
            "c": "lastPrice",
            "o": "openPrice",
            "h": "highPrice",
            "l": "lowPrice",
            "v": "volume",
            "q": "quoteVolume",
        }
        name = "24hrMiniTicker"
        if self._channel == "ticker":
            name = "24hrTicker"
            keys |= {"p": "priceChange", "P": "priceChangePercent", "w": "weightedAvgPrice", "x": "prevClosePrice"}
            keys |= {"Q": "lastQty", "b": "bidPrice", "B": "bidQty", "a": "askPrice", "A": "askQty"}
            keys |= {"O": "openTime", "C": "closeTime", "F": "firstId", "L": "lastId", "n": "count"}
        return {"e": name, "E": now // unit, "s": self._symbol, **{short: row[long] for short, long in keys.items()}}
