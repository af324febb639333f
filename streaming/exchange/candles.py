"""The exchange's klines from a market's minutes: any interval, flat where nobody traded, the last one still open."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from quantstream.market import MINUTE, SECOND
from streaming.exchange.market import Market, latest_trades
from streaming.exchange.tape import Ints, Minutes, exact_sums

HOUR, DAY = 60 * MINUTE, 1440 * MINUTE
INTERVALS = {
    "1m": MINUTE,
    "3m": 3 * MINUTE,
    "5m": 5 * MINUTE,
    "15m": 15 * MINUTE,
    "30m": 30 * MINUTE,
    "1h": HOUR,
    "2h": 2 * HOUR,
    "4h": 4 * HOUR,
    "6h": 6 * HOUR,
    "8h": 8 * HOUR,
    "12h": 12 * HOUR,
    "1d": DAY,
    "3d": 3 * DAY,
    "1w": 7 * DAY,
    "1M": 0,  # a calendar month
}
MONDAY = 4 * DAY  # the epoch was a Thursday; weeks open on Mondays


class Kline(NamedTuple):
    """One kline: prices, volumes and quote volumes in 10⁻⁸, times in µs, `closed_at` the first instant after it."""

    opened_at: int
    closed_at: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    quote_volume: int
    trade_count: int
    taker_buy_volume: int
    taker_buy_quote_volume: int
    first_id: int
    last_id: int


def window_of(interval: str, at: int) -> int:
    """Return the opening time of the window that holds `at`."""
    if interval == "1M":
        month = datetime.fromtimestamp(at // SECOND, UTC).replace(day=1, hour=0, minute=0, second=0)
        return int(month.timestamp()) * SECOND
    offset = MONDAY if interval == "1w" else 0
    return at - (at - offset) % INTERVALS[interval]


def next_window(interval: str, opened_at: int) -> int:
    """Return the opening time of the window after the one that opens at `opened_at`."""
    if interval == "1M":
        return window_of(interval, opened_at + 32 * DAY)
    return opened_at + INTERVALS[interval]


def windows_between(interval: str, start: int, end: int, limit: int) -> list[int]:
    """Return the first `limit` windows that open in `[start, end)`."""
    opened_at = window_of(interval, start)
    if opened_at < start:
        opened_at = next_window(interval, opened_at)
    windows: list[int] = []
    while opened_at < end and len(windows) < limit:
        windows.append(opened_at)
        opened_at = next_window(interval, opened_at)
    return windows


def windows_back(interval: str, end: int, limit: int, earliest: int) -> list[int]:
    """Return the last `limit` windows that open before `end` and not before the one that holds `earliest`."""
    windows: list[int] = []
    opened_at = window_of(interval, end - 1)
    first = window_of(interval, earliest)
    while opened_at >= first and len(windows) < limit:
        windows.append(opened_at)
        opened_at = window_of(interval, opened_at - 1)
    return windows[::-1]


def klines(market: Market, symbol: str, interval: str, windows: list[int], now: int) -> list[Kline]:
    """Return the klines of consecutive windows, of what traded before `now`; none before the symbol's first trade."""
    if not windows:
        return []
    end = next_window(interval, windows[-1])
    minutes = minutes_between(market, symbol, windows[0], min(end, now))
    closes = [*windows[1:], end]
    found = _grouped(minutes, np.array(windows, dtype=np.int64), closes)
    return _with_flat_ones(market, symbol, windows, closes, found, now)


def minutes_between(market: Market, symbol: str, start: int, end: int) -> Minutes:
    """Return the minutes with trades in `[start, end)`; `start` is a whole minute, `end` may lie within one."""
    parts: list[Minutes] = []
    at = max(start, market.begins_at)
    whole = end - end % MINUTE
    while at < whole:
        parts.append(market.minutes_at(symbol, at).between(at, whole))
        at = market.bounds_at(symbol, at)[1]
    if end > whole and end > market.begins_at:
        tape = market.tape_at(symbol, max(whole, market.begins_at))
        parts.append(tape.minutes(until=end).between(whole, end))
    return _joined(parts)


def _joined(parts: list[Minutes]) -> Minutes:
    if len(parts) == 1:
        return parts[0]
    if not parts:
        empty = np.empty(0, dtype=np.int64)
        return Minutes(*([empty] * len(Minutes.__slots__)))
    return Minutes(*(np.concatenate([getattr(part, name) for part in parts]) for name in Minutes.__slots__))


def _grouped(minutes: Minutes, windows: Ints, closes: list[int]) -> dict[int, Kline]:
    """Return the klines of the windows that had trades, by opening time."""
    if not len(minutes):
        return {}
    window = np.searchsorted(windows, minutes.opened_at, side="right") - 1
    starts = np.flatnonzero(np.diff(window, prepend=-1))
    ends = np.append(starts[1:], len(window)) - 1
    columns = (
        windows[window[starts]],
        np.array(closes, dtype=np.int64)[window[starts]],
        minutes.open[starts],
        np.maximum.reduceat(minutes.high, starts),
        np.minimum.reduceat(minutes.low, starts),
        minutes.close[ends],
        exact_sums(minutes.volume, starts),
        exact_sums(minutes.quote_volume, starts),
        np.add.reduceat(minutes.trade_count, starts),
        exact_sums(minutes.taker_buy_volume, starts),
        exact_sums(minutes.taker_buy_quote_volume, starts),
        minutes.first_id[starts],
        minutes.last_id[ends],
    )
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return {row[0]: Kline(*row) for row in rows}


def _with_flat_ones(
    market: Market, symbol: str, windows: list[int], closes: list[int], found: dict[int, Kline], now: int
) -> list[Kline]:
    """Put flat klines at the last price where nobody traded."""
    close: int | None = None
    if windows[0] not in found:
        close = _price_before(market, symbol, min(windows[0], now))
    complete: list[Kline] = []
    for opened_at, closed_at in zip(windows, closes, strict=True):
        kline = found.get(opened_at)
        if kline is None and close is not None:
            kline = Kline(opened_at, closed_at, close, close, close, close, 0, 0, 0, 0, 0, -1, -1)
        if kline is not None:
            close = kline.close
            complete.append(kline)
    return complete


def _price_before(market: Market, symbol: str, at: int) -> int | None:
    for tape, _, stop in latest_trades(market, symbol, 1, at):
        return int(tape.price[stop - 1])
    return None
