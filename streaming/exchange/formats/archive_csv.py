"""The files of the exchange's public archive: their names, and their rows as CSV.

Source: github.com/binance/binance-public-data. Spot files have no header and have been in µs since 2025; futures files begin with
a header and are in ms.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from quantstream.core.decimals import units_text
from quantstream.core.time import SECOND
from streaming.exchange.formats.spot_wire import MICROSECONDS, MILLISECONDS, aggregate_values
from streaming.exchange.market.market_klines import Kline
from streaming.exchange.market.protocol import Span

MARKETS = {"spot": "spot", "futures": "futures/um"}  # by kind of venue
MICROS_SINCE = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp()) * SECOND
PATH = re.compile(
    r"(?P<market>spot|futures/um)/(?P<span>daily|monthly)/(?P<kind>klines|aggTrades|trades)/(?P<symbol>[^/]+)/"
    r"(?:(?P<interval>\w+)/)?(?P<name>(?P=symbol)-(?P<what>\w+)-(?P<period>\d{4}-\d\d(?:-\d\d)?))\.zip(?P<sum>\.CHECKSUM)?"
)
HEADERS = {
    "klines": "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore",
    "trades": "id,price,qty,quote_qty,time,is_buyer_maker",
    "aggTrades": "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker",
}
_TRUTH = ("False", "True")


class ArchiveName(NamedTuple):
    """What a path of the archive names: the file `name` of a symbol's `kind` of data over `[start, end)`, µs."""

    market: str
    kind: str
    symbol: str
    interval: str
    name: str
    start: int
    end: int
    is_sum: bool

    @property
    def path(self) -> str:
        """Where it lies below `/data/`."""
        span = "daily" if re.search(r"\d{4}-\d\d-\d\d$", self.name) else "monthly"
        folders = [self.market, span, self.kind, self.symbol, *([self.interval] if self.interval else [])]
        return "/".join([*folders, f"{self.name}.zip"])

    @property
    def unit(self) -> int:
        """The unit of its times, µs."""
        return MICROSECONDS if self.market == "spot" and self.start >= MICROS_SINCE else MILLISECONDS

    @property
    def header(self) -> str:
        """The line that it begins with, if any."""
        return HEADERS[self.kind] + "\n" if self.market != "spot" else ""


def parse_name(path: str) -> ArchiveName | None:
    """Return what a path below `/data/` names, None when it is none of the archive's."""
    found = PATH.fullmatch(path)
    if found is None:
        return None
    part = found.groupdict()
    is_monthly, interval = part["span"] == "monthly", part["interval"] or ""
    if len(part["period"]) != (7 if is_monthly else 10) or part["what"] != (interval or part["kind"]):
        return None
    if bool(interval) != (part["kind"] == "klines"):
        return None
    try:
        first = date.fromisoformat(part["period"] + ("-01" if is_monthly else ""))
    except ValueError:
        return None
    after = (first + timedelta(days=32)).replace(day=1) if is_monthly else first + timedelta(days=1)
    start, end = (
        int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * SECOND for day in (first, after)
    )
    return ArchiveName(
        part["market"], part["kind"], part["symbol"], interval, part["name"], start, end, part["sum"] is not None
    )


def kline_lines(klines: Iterable[Kline], unit: int) -> Iterator[str]:
    """Yield the rows of a file of klines."""
    for kline in klines:
        prices = ",".join(units_text(number) for number in kline[2:7])
        yield (
            f"{kline.opened_at // unit},{prices},{kline.closed_at // unit - 1},{units_text(kline.quote_volume)},"
            f"{kline.trade_count},{units_text(kline.taker_buy_volume)},{units_text(kline.taker_buy_quote_volume)},0\n"
        )


def trade_lines(span: Span, unit: int, is_spot: bool) -> Iterator[str]:
    """Yield the rows of a file of single trades."""
    tape, rows = span.tape, slice(span.start, span.stop)
    exact = (tape.price[rows], tape.quantity[rows], tape.quote(rows))
    columns = (tape.ids[rows], *exact, tape.at[rows] // unit, tape.buyer_is_maker[rows])
    best = ",True" if is_spot else ""
    for number, price, quantity, quote, at, maker in zip(*(column.tolist() for column in columns), strict=True):
        texts = ",".join(units_text(value) for value in (price, quantity, quote))
        yield f"{number},{texts},{at},{_TRUTH[maker]}{best}\n"


def aggregate_lines(span: Span, unit: int, is_spot: bool) -> Iterator[str]:
    """Yield the rows of a file of aggregates."""
    best = ",True" if is_spot else ""
    for number, price, quantity, first, last, at, maker in aggregate_values(span, unit):
        yield f"{number},{price},{quantity},{first},{last},{at},{maker.capitalize()}{best}\n"
