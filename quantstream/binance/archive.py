"""The exchange's public archive of past data: which files hold what, and where they lie.

Source: github.com/binance/binance-public-data. A day's file is there on the next day, a month's some days after its end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from urllib.parse import urlsplit

from quantstream.core.errors import Misconfigured
from quantstream.core.time import INTERVALS
from quantstream.core.trade import is_symbol

APIS = {"/api/": "spot", "/fapi/": "futures/um", "/dapi/": "futures/cm"}  # how the paths of each market's REST begin
MARKETS = tuple(APIS.values())
ARCHIVED = re.compile(r"(data-api\.binance\.vision|(api\d*|api-gcp|fapi|dapi)\.binance\.com)")  # whose trades these are
KINDS = ("klines", "aggTrades", "trades")
BEGINNING = date(2017, 1, 1)  # nothing in the archive is older
ONE_DAY = timedelta(days=1)


def market_of_api(api: str) -> str:
    """Return the market of which REST tells under a path such as `/api/v3`. Raises: Misconfigured."""
    for beginning, market in APIS.items():
        if f"{api}/".startswith(beginning):
            return market
    raise Misconfigured(f"QUANTSTREAM_ENDPOINTS__API={api} is of no market that is archived; use /api/v3 or /fapi/v1")


def is_archived(rest: str) -> bool:
    """Tell whether the public archive holds what the REST host at an address tells: a test net's trades are others."""
    return ARCHIVED.fullmatch(urlsplit(rest).hostname or "") is not None


@dataclass(frozen=True)
class Series:
    """One symbol's data of one kind; klines have an interval. Raises: Misconfigured for what the archive does not have."""

    symbol: str
    kind: str = "klines"
    interval: str = ""
    market: str = "spot"

    def __post_init__(self) -> None:
        if not is_symbol(self.symbol):
            raise Misconfigured(f"{self.symbol!r} is no symbol; write it as the exchange does, e.g. BTCUSDT")
        if self.kind not in KINDS:
            raise Misconfigured(f"kind {self.kind!r} is not in the archive; use one of {', '.join(KINDS)}")
        if self.market not in MARKETS:
            raise Misconfigured(f"market {self.market!r} is not in the archive; use one of {', '.join(MARKETS)}")
        if (self.kind == "klines") != bool(self.interval) or (self.interval and self.interval not in INTERVALS):
            raise Misconfigured(f"klines have one of the intervals {', '.join(INTERVALS)}, nothing else has one")

    def __str__(self) -> str:
        """Name it in a sentence."""
        return f"{self.symbol} {self.interval} {self.kind}" if self.interval else f"{self.symbol} {self.kind}"

    @property
    def unit(self) -> str:
        """What its rows are."""
        return {"klines": "candles", "aggTrades": "aggregates"}.get(self.kind, self.kind)

    @property
    def application(self) -> str:
        """The name under which a table of the lake keeps how far its import is."""
        return "/".join(["archive", self.market, self.kind, *([self.interval] if self.interval else []), self.symbol])

    def other_markets(self) -> Iterator[Series]:
        """Yield whatever other markets may have of a symbol of that name."""
        for market in MARKETS:
            if market != self.market:
                yield from (Series(self.symbol, "klines", interval, market) for interval in INTERVALS)
                yield from (Series(self.symbol, kind, "", market) for kind in KINDS if kind != "klines")


@dataclass(frozen=True)
class ArchiveFile:
    """The file of a series over the days `[first, after)`: one day, or one month."""

    series: Series
    first: date
    after: date

    @property
    def is_monthly(self) -> bool:
        """Whether it holds a month."""
        return self.length > 1

    @property
    def length(self) -> int:
        """How many days it holds."""
        return (self.after - self.first).days

    @property
    def name(self) -> str:
        """Its name, without the folders."""
        period = f"{self.first:%Y-%m}" if self.is_monthly else f"{self.first:%Y-%m-%d}"
        return f"{self.series.symbol}-{self.series.interval or self.series.kind}-{period}.zip"

    @property
    def path(self) -> str:
        """Where it lies below the archive's address."""
        series = self.series
        folders = [series.market, "monthly" if self.is_monthly else "daily", series.kind, series.symbol]
        return "/".join(["data", *folders, *([series.interval] if series.interval else []), self.name])

    def days(self) -> Iterator[ArchiveFile]:
        """Yield the files of its days."""
        for number in range(self.length):
            first = self.first + number * ONE_DAY
            yield ArchiveFile(self.series, first, first + ONE_DAY)

    def before(self) -> Iterator[ArchiveFile]:
        """Yield the files that may end where it begins: that of the day, and that of the month."""
        yield ArchiveFile(self.series, self.first - ONE_DAY, self.first)
        if self.first.day == 1:
            yield ArchiveFile(self.series, (self.first - ONE_DAY).replace(day=1), self.first)


def files_between(series: Series, first: date, after: date) -> Iterator[ArchiveFile]:
    """Yield the files of the days `[first, after)`: months that are whole, and single days at both ends."""
    at = first
    while at < after:
        following = (at.replace(day=1) + 32 * ONE_DAY).replace(day=1)
        is_whole = at.day == 1 and following <= after
        yield ArchiveFile(series, at, following if is_whole else at + ONE_DAY)
        at = following if is_whole else at + ONE_DAY
