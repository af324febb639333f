"""The exchange's own candles of the past, fetched over REST into the lake, so that models can learn on the first day.

The live path builds candles from trades and owns every window from its first trade on; this fills what lies before, once:
running it again writes nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow.compute as pc

from quantstream.binance.klines import PAGE, exchange_time, fetch_klines
from quantstream.binance.rest import BlockingRest
from quantstream.core.candle import Candle
from quantstream.core.errors import BadRecord
from quantstream.core.time import DAY, SCORED, interval_length, window_start
from quantstream.lake.schemas import candle_rows
from quantstream.lake.store import Lake, micros, utc
from quantstream.settings import Settings

log = logging.getLogger(__name__)
SHOWN = 20  # odd rows that the log names one by one


@dataclass(frozen=True)
class BackfillResult:
    """The backfill of one symbol's history: `[start, end)` in exchange time, how many candles are new, how many were there."""

    symbol: str
    start: datetime
    end: datetime
    written: int
    present: int
    missing: int  # windows for which the exchange has no kline
    odd: tuple[str, ...] = ()  # rows of the exchange that are no klines: why, one by one

    def __str__(self) -> str:
        """Say it in one sentence."""
        span = f"{self.start:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M} UTC"
        odd = f"; left out {len(self.odd)} that are no klines, the first: {self.odd[0]}" if self.odd else ""
        if not self.written and not self.present and not odd:
            return f"{self.symbol}: the exchange has no history from {span}"
        gaps = f", {self.missing} that the exchange does not have" if self.missing else ""
        return f"{self.symbol}: {self.written} candles written, {self.present} were there already{gaps}, {span}{odd}"


def _wall_clock() -> int:
    return time.time_ns() // 1000


def backfill(
    symbol: str, settings: Settings, rest: BlockingRest | None = None, wall: Callable[[], int] = _wall_clock
) -> BackfillResult:
    """Bring the candles of one symbol before the live path's first window into the lake, known from now (`wall`, µs) on.

    A kline that contradicts itself is left out, named and counted. Raises: Misconfigured for a symbol the exchange does not
    know, Unavailable when it or the lake does not answer for long, DataRejected for answers that are no klines at all.
    """
    lake = Lake(settings.lake_url)
    rest = rest or BlockingRest(settings.endpoints.rest + settings.endpoints.api)
    length = interval_length(SCORED)
    now = exchange_time(rest)
    start = window_start(now - settings.history_days * DAY, length)
    end = min(window_start(now, length), _first_live_window(lake, symbol, length) or now)
    if end <= start:  # the live path is older than the history asked for
        return BackfillResult(symbol, utc(start), utc(start), 0, 0, 0)
    present = _present(lake, symbol, start, end)
    wanted = [at for at in range(start, end, length) if at not in present]
    odd: list[BadRecord] = []
    candles = [candle for page in _pages(wanted, length) for candle in _fetch(rest, symbol, page, length, odd.append)]
    fresh = {candle.opened_at: candle for candle in candles}
    if fresh:
        rows = candle_rows([fresh[at] for at in sorted(fresh)], known_at=[wall()] * len(fresh))
        lake.append("candles", rows, metadata={"backfill": symbol})
    for error in odd[:SHOWN]:
        log.warning("%s: left out, %s", symbol, error)
    missing = max(0, len(wanted) - len(fresh) - len(odd))
    reasons = tuple(map(str, odd))
    result = BackfillResult(symbol, utc(start), utc(end), len(fresh), len(present), missing, reasons)
    log.info("%s", result)
    return result


def _fetch(
    rest: BlockingRest, symbol: str, page: list[int], length: int, on_odd: Callable[[BadRecord], None]
) -> list[Candle]:
    """Return the candles of the wanted windows of one page that the exchange has."""
    wanted = set(page)
    found = fetch_klines(rest, symbol, SCORED, page[0], page[-1] + length, on_odd)
    return [candle for candle in found if candle.opened_at in wanted]


def _pages(wanted: list[int], length: int) -> Iterator[list[int]]:
    """Split opening times, in order, into requests that span at most `PAGE` windows."""
    page: list[int] = []
    for at in wanted:
        if page and at - page[0] >= PAGE * length:
            yield page
            page = []
        page.append(at)
    if page:
        yield page


def _present(lake: Lake, symbol: str, start: int, end: int) -> set[int]:
    rows = lake.read("candles", [symbol], utc(start), utc(end), columns=["opened_at", "interval"])
    rows = rows.filter(pc.field("interval") == SCORED)
    return {micros(at) for at in rows["opened_at"].to_pylist()}


def _first_live_window(lake: Lake, symbol: str, length: int) -> int | None:
    """Return the opening time of the window of the earliest live trade in the lake; only its first day is read."""
    days = [str(p["date"]) for p in lake.table("trades").partitions() if p["symbol"] == symbol]
    if not days:
        return None
    day = datetime.fromisoformat(min(days) + "T00:00:00+00:00")
    rows = lake.read("trades", [symbol], day, day + timedelta(days=1), columns=["traded_at"])
    return window_start(micros(pc.min(rows["traded_at"]).as_py()), length)
