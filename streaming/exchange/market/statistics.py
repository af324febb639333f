"""What traded in a window of time, exactly: the sums behind tickers and average prices, rolling or by the day of a time zone.

A window is whole milliseconds, closed on both sides as the exchange tells it (`openTime` to `closeTime`): whoever adds up the
trades between the two times gets the same numbers. It ends with the last whole millisecond before now.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from quantstream.core.time import DAY, HOUR, MINUTE
from streaming.exchange.error_answers import NotTraded, Refused
from streaming.exchange.market.market_klines import bars_between, price_before, window_of
from streaming.exchange.market.protocol import Market, latest_trades

MILLISECOND = 1000  # µs
AVERAGE_MINUTES = 5
WINDOW_SIZE = re.compile(r"([1-9]|[1-5][0-9])m|([1-9]|1[0-9]|2[0-3])h|[1-7]d")
_LENGTHS = {"m": MINUTE, "h": HOUR, "d": DAY}


class Last(NamedTuple):
    """The newest trade of a symbol, 10⁻⁸ and µs."""

    id: int
    price: int
    quantity: int
    at: int


class Window(NamedTuple):
    """A window `[opened_at, closed_at)` in whole milliseconds; what traded is known `until` then. µs."""

    opened_at: int
    closed_at: int
    until: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """What traded in a window; prices and sums in 10⁻⁸. Without trades it is flat at the last price, its ids are −1."""

    window: Window
    open: int
    high: int
    low: int
    last: Last
    volume: int
    quote_volume: int
    first_id: int
    last_id: int
    count: int

    @property
    def change(self) -> int:
        """The last price less the opening price."""
        return self.last.price - self.open

    @property
    def average(self) -> int:
        """Quote volume over volume, rounded half up as in the documentation's examples; the last price without trades."""
        return (2 * self.quote_volume * 10**8 + self.volume) // (2 * self.volume) if self.volume else self.last.price

    @property
    def change_percent(self) -> str:
        """The change in percent of the opening price, three decimals, rounded half up."""
        thousandths = (abs(self.change) * 200_000 + self.open) // (2 * self.open)
        sign = "-" if self.change < 0 and thousandths else ""
        return f"{sign}{thousandths // 1000}.{thousandths % 1000:03}"


def last_trade(market: Market, symbol: str, now: int) -> Last:
    """Return the newest trade before `now`.

    Raises: NotTraded when nothing has traded yet.
    """
    for tape, row, _ in latest_trades(market, symbol, 1, now):
        return Last(int(tape.last_ids[row]), int(tape.price[row]), int(tape.quantity[row]), int(tape.at[row]))
    raise NotTraded(symbol)


def rolling_day(now: int) -> Window:
    """Return the last 24 hours."""
    end = now - now % MILLISECOND
    return Window(end - MILLISECOND - DAY, end, end)


def rolling_window(now: int, size: str) -> Window:
    """Return the window of `/ticker`: at least `size` long, from a whole minute on.

    Raises: Refused for a size that the exchange does not offer.
    """
    if not WINDOW_SIZE.fullmatch(size):
        raise Refused(-1130, "Data sent for parameter 'windowSize' is not valid.")
    end = now - now % MILLISECOND
    start = end - MILLISECOND - int(size[:-1]) * _LENGTHS[size[-1]]
    return Window(start - start % MINUTE, end, end)


def trading_day(now: int, offset: int) -> Window:
    """Return the day of a time zone that holds now, to its end."""
    opened_at = window_of("1d", now, offset)
    return Window(opened_at, opened_at + DAY, now - now % MILLISECOND)


def average_window(now: int) -> Window:
    """Return the minutes that the average price looks at."""
    end = now - now % MILLISECOND
    return Window(end - AVERAGE_MINUTES * MINUTE, end, end)


def statistics(market: Market, symbol: str, window: Window) -> Statistics:
    """Return what a symbol traded in a window.

    Raises: NotTraded when nothing has traded at all.
    """
    last = last_trade(market, symbol, window.until)
    bars = bars_between(market, symbol, window.opened_at, window.until)
    if not len(bars):
        return Statistics(window, last.price, last.price, last.price, last, 0, 0, -1, -1, 0)
    return Statistics(
        window,
        open=int(bars.open[0]),
        high=int(bars.high.max()),
        low=int(bars.low.min()),
        last=last,
        volume=sum(bars.volume.tolist()),
        quote_volume=sum(bars.quote_volume.tolist()),
        first_id=int(bars.first_id[0]),
        last_id=int(bars.last_id[-1]),
        count=int(bars.trade_count.sum()),
    )


def previous_close(market: Market, symbol: str, found: Statistics) -> int:
    """Return the price of the last trade before a window; its opening price when there is none."""
    before = price_before(market, symbol, found.window.opened_at)
    return found.open if before is None else before
