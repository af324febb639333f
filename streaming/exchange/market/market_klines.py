"""The exchange's klines from a market's minutes and seconds: any interval and time zone, flat where nobody traded.

The last one is still open. Tickers are computed from the same candles, over any window of time.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from quantstream.core.time import DAY, HOUR, MINUTE, SECOND
from streaming.exchange.market.protocol import Market, latest_trades, trades_between
from streaming.exchange.market.tape import Ints, Minutes, bars_of, exact_sums

INTERVALS = {
    "1s": SECOND,
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


def window_of(interval: str, at: int, offset: int = 0) -> int:
    """Return the opening time of the window that holds `at`; `offset` is the time zone whose days and weeks count, µs."""
    local = at + offset
    if interval == "1M":
        month = datetime.fromtimestamp(local // SECOND, UTC).replace(day=1, hour=0, minute=0, second=0)
        return int(month.timestamp()) * SECOND - offset
    monday = MONDAY if interval == "1w" else 0
    return at - (local - monday) % INTERVALS[interval]


def next_window(interval: str, opened_at: int, offset: int = 0) -> int:
    """Return the opening time of the window after the one that opens at `opened_at`."""
    if interval == "1M":
        return window_of(interval, opened_at + 32 * DAY, offset)
    return opened_at + INTERVALS[interval]


def windows_between(interval: str, start: int, end: int, limit: int, offset: int = 0) -> list[int]:
    """Return the first `limit` windows that open in `[start, end)`."""
    opened_at = window_of(interval, start, offset)
    if opened_at < start:
        opened_at = next_window(interval, opened_at, offset)
    windows: list[int] = []
    while opened_at < end and len(windows) < limit:
        windows.append(opened_at)
        opened_at = next_window(interval, opened_at, offset)
    return windows


def windows_back(interval: str, end: int, limit: int, earliest: int, offset: int = 0) -> list[int]:
    """Return the last `limit` windows that open before `end` and not before the one that holds `earliest`."""
    windows: list[int] = []
    opened_at = window_of(interval, end - 1, offset)
    first = window_of(interval, earliest, offset)
    while opened_at >= first and len(windows) < limit:
        windows.append(opened_at)
        opened_at = window_of(interval, opened_at - 1, offset)
    return windows[::-1]


def klines(market: Market, symbol: str, interval: str, windows: list[int], now: int, offset: int = 0) -> list[Kline]:
    """Return the klines of consecutive windows, of what traded before `now`; none before the symbol's first trade."""
    if not windows:
        return []
    end = next_window(interval, windows[-1], offset)
    width = SECOND if interval == "1s" else MINUTE
    bars = bars_between(market, symbol, windows[0], min(end, now), width)
    closes = [*windows[1:], end]
    found = _grouped(bars, np.array(windows, dtype=np.int64), closes)
    return _with_flat_ones(market, symbol, windows, closes, found, now)


def bars_between(market: Market, symbol: str, start: int, end: int, width: int = MINUTE) -> Minutes:
    """Return the candles of `width` that the trades in `[start, end)` make; the first and the last may be parts of one."""
    start = max(start, market.begins_at)
    first_whole, last_whole = start + -start % MINUTE, end - end % MINUTE
    if width != MINUTE or first_whole >= last_whole:
        return _joined(_drawn(market, symbol, start, end, width))
    parts = _drawn(market, symbol, start, first_whole, width)
    parts += minutes_between(market, symbol, first_whole, last_whole)
    return _joined(parts + _drawn(market, symbol, last_whole, end, width))


def minutes_between(market: Market, symbol: str, start: int, end: int) -> list[Minutes]:
    """Return the minutes with trades in `[start, end)`, both whole minutes, tape by tape."""
    parts: list[Minutes] = []
    at = start
    while at < end:
        parts.append(market.minutes_at(symbol, at).between(at, end))
        at = market.bounds_at(symbol, at)[1]
    return parts


def _drawn(market: Market, symbol: str, start: int, end: int, width: int) -> list[Minutes]:
    return [bars_of(*span, width) for span in trades_between(market, symbol, start, end)]


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
    close = price_before(market, symbol, min(windows[0], now)) if windows[0] not in found else None
    complete: list[Kline] = []
    for opened_at, closed_at in zip(windows, closes, strict=True):
        kline = found.get(opened_at)
        if kline is None and close is not None:
            kline = Kline(opened_at, closed_at, close, close, close, close, 0, 0, 0, 0, 0, -1, -1)
        if kline is not None:
            close = kline.close
            complete.append(kline)
    return complete


def price_before(market: Market, symbol: str, at: int) -> int | None:
    """Return the price of the last trade before `at`, None when there is none."""
    for tape, _, stop in latest_trades(market, symbol, 1, at):
        return int(tape.price[stop - 1])
    return None
