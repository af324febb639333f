"""What a market behind the simulated exchange must offer, and the questions that any market can be asked.

Two markets exist, a synthetic one and a recording; both are tapes by time and by id, and nothing else. What has not happened yet
by the exchange's clock (`now`) is never shown: a trade is visible when it traded before `now`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

from streaming.exchange.market.listing import Listing
from streaming.exchange.market.tape import Minutes, Tape


class Market(Protocol):
    """Trades of several symbols over `[begins_at, ends_at)`; the clock starts at `starts_at`, earlier is history. µs UTC."""

    @property
    def listings(self) -> Mapping[str, Listing]:
        """The symbols, by name."""
        ...

    @property
    def begins_at(self) -> int:
        """When its history begins."""
        ...

    @property
    def starts_at(self) -> int:
        """When its clock starts."""
        ...

    @property
    def ends_at(self) -> int | None:
        """When its clock stops, if ever."""
        ...

    def tape_at(self, symbol: str, at: int) -> Tape:
        """Return the tape that covers `at`, which lies in the market's time."""
        ...

    def bounds_at(self, symbol: str, at: int) -> tuple[int, int]:
        """Return when the tape that covers `at` opens and closes, without making it."""
        ...

    def minutes_at(self, symbol: str, at: int) -> Minutes:
        """Return the minutes of the tape that covers `at`."""
        ...

    def tape_with_trade(self, symbol: str, trade_id: int, now: int) -> Tape | None:
        """Return the tape of the first trade whose id is `trade_id` or higher; None when there is none before `now`."""
        ...

    def tape_with_aggregate(self, symbol: str, aggregate_id: int, now: int) -> Tape | None:
        """Return the tape of the first aggregate whose id is `aggregate_id` or higher; None when there is none before `now`."""
        ...


class Span(NamedTuple):
    """A run of rows (or of aggregates) of one tape."""

    tape: Tape
    start: int
    stop: int


def tapes_between(market: Market, symbol: str, start: int, end: int) -> Iterator[Tape]:
    """Yield the tapes that overlap `[start, end)`, oldest first."""
    at = max(start, market.begins_at)
    while at < end:
        tape = market.tape_at(symbol, at)
        yield tape
        at = tape.closed_at


def tapes_back(market: Market, symbol: str, before: int) -> Iterator[Tape]:
    """Yield the tapes that begin before `before`, newest first."""
    at = before - 1
    while at >= market.begins_at:
        tape = market.tape_at(symbol, at)
        yield tape
        at = tape.opened_at - 1


def trades_between(market: Market, symbol: str, start: int, end: int) -> Iterator[Span]:
    """Yield the trades of `[start, end)`."""
    for tape in tapes_between(market, symbol, start, end):
        yield Span(tape, tape.rows_until(start), tape.rows_until(end))


def latest_trades(market: Market, symbol: str, limit: int, now: int) -> list[Span]:
    """Return the newest `limit` trades before `now`, oldest first."""
    spans: list[Span] = []
    for tape in tapes_back(market, symbol, now):
        if rows := tape.rows_until(now):
            spans.insert(0, Span(tape, max(0, rows - limit), rows))
        limit -= min(limit, rows)
        if not limit:
            break
    return spans


def latest_aggregates(market: Market, symbol: str, limit: int, now: int) -> list[Span]:
    """Return the newest `limit` aggregates before `now`, oldest first."""
    spans: list[Span] = []
    for tape in tapes_back(market, symbol, now):
        if count := tape.aggregates_until(now):
            spans.insert(0, Span(tape, max(0, count - limit), count))
        limit -= min(limit, count)
        if not limit:
            break
    return spans


def trades_from(market: Market, symbol: str, trade_id: int, limit: int, now: int) -> Iterator[Span]:
    """Yield up to `limit` trades before `now`, from `trade_id` on."""
    tape = market.tape_with_trade(symbol, trade_id, now)
    while tape is not None and limit > 0:
        start = int(tape.ids.searchsorted(trade_id))
        stop = min(tape.rows_until(now), start + limit)
        if stop > start:
            yield Span(tape, start, stop)
            limit -= stop - start
        tape = market.tape_at(symbol, tape.closed_at) if tape.closed_at < now else None


def aggregates_from(market: Market, symbol: str, aggregate_id: int, limit: int, now: int) -> Iterator[Span]:
    """Yield up to `limit` aggregates before `now`, from `aggregate_id` on."""
    tape = market.tape_with_aggregate(symbol, aggregate_id, now)
    while tape is not None and limit > 0:
        start = int(tape.aggregate_ids.searchsorted(aggregate_id))
        stop = min(tape.aggregates_until(now), start + limit)
        if stop > start:
            yield Span(tape, start, stop)
            limit -= stop - start
        tape = market.tape_at(symbol, tape.closed_at) if tape.closed_at < now else None


def aggregates_between(market: Market, symbol: str, start: int, end: int, limit: int) -> Iterator[Span]:
    """Yield the first `limit` aggregates of `[start, end)`."""
    for tape in tapes_between(market, symbol, start, end):
        first = tape.aggregates_until(start)
        stop = min(tape.aggregates_until(end), first + limit)
        yield Span(tape, first, stop)
        limit -= stop - first
        if not limit:
            return
