"""Candles made once more from the lake's trades, one symbol and day at a time: the same sums as live, none of its state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from itertools import pairwise

import pyarrow as pa

from quantstream.core.candle import Candle
from quantstream.core.partial_sums import Window
from quantstream.core.time import interval_length, utc, window_start
from quantstream.core.trade import Trade
from quantstream.core.trade_ids import Sequence
from quantstream.lake.store import Lake
from quantstream.lake.trades import COLUMNS as COLUMNS
from quantstream.lake.trades import trades_of as trades_of
from quantstream.lake.trades import units as units

LOOK_BACK = (timedelta(hours=1), timedelta(days=1), timedelta(days=7))  # for the last price before a range


def trade_ids_skip(rows: pa.Table) -> bool:
    """Tell whether these are a futures market's aggregates: each has an id of its own, which run on where trades' ids skip."""
    ids, firsts, lasts = (rows[name].to_pylist() for name in ("id", "first_trade_id", "last_trade_id"))
    ranks = sorted(zip(ids, firsts, lasts, strict=True))
    follows = [(one, other) for one, other in pairwise(ranks) if other[0] == one[0] + 1]
    is_aggregate = all(number != first for number, first, _ in ranks)
    return is_aggregate and any(other[1] > one[2] + 1 for one, other in follows)


class DayOfTrades:
    """The trades of one symbol over (a part of) a day in their windows, and which of them are there twice."""

    def __init__(self, rows: pa.Table, lengths: Mapping[str, int], seen: Sequence, skips: bool | None = None) -> None:
        """`seen` goes on from day to day: it tells what is repeated and, in its gaps, what is missing.

        `skips` is what an earlier day of the symbol said of its ids, None when there was none.
        """
        self.skips = trade_ids_skip(rows) if skips is None else skips
        self.windows: dict[str, dict[int, Window]] = {interval: {} for interval in lengths}
        self.count = 0
        self.repeated: list[int] = []
        for trade in sorted(trades_of(rows, self.skips), key=lambda trade: trade.first_trade_id):
            if not seen.take(trade)[0].is_new:
                self.repeated.append(trade.id)
                continue
            self.count += 1
            for interval, length in lengths.items():
                self._window(interval, window_start(trade.traded_at, length)).add(trade)

    def _window(self, interval: str, opened_at: int) -> Window:
        window = self.windows[interval].get(opened_at)
        if window is None:
            window = self.windows[interval][opened_at] = Window(opened_at)
        return window


def candles_of(
    symbol: str, interval: str, day: DayOfTrades, opens: Iterable[int], close: int | None
) -> dict[int, Candle]:
    """Return the candles of the windows `opens`, in order; where nobody traded, flat at the last close, if one is known."""
    found: dict[int, Candle] = {}
    for opened_at in opens:
        window = day.windows[interval].get(opened_at)
        if window is None and close is not None:
            window = Window(opened_at, close, close, close, close)
        if window is not None:
            found[opened_at] = window.candle(symbol, interval, is_complete=True)
            close = window.close
    return found


def last_before(lake: Lake, symbol: str, at: int) -> Trade | None:
    """Return the newest trade of a symbol before `at` (µs), looking back a week at most."""
    end = utc(at)
    steps = [timedelta(0), *LOOK_BACK]
    for near, far in pairwise(steps):
        rows = lake.read("trades", [symbol], end - far, end - near, columns=COLUMNS)
        if rows.num_rows:
            return max(trades_of(rows), key=lambda trade: trade.last_trade_id)
    return None


def lengths_of(intervals: Iterable[str]) -> dict[str, int]:
    """Return each interval's length, µs."""
    return {interval: interval_length(interval) for interval in intervals}
