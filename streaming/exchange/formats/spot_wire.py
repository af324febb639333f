"""The exchange's JSON, written by hand where it is written thousands of times a second: events, rows, klines.

Shapes: github.com/binance/binance-spot-api-docs, web-socket-streams.md and rest-api.md. `unit` is 1000 for times in ms, 1 for µs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from quantstream.core.decimals import units_text
from quantstream.core.time import MICROSECOND
from streaming.exchange.error_answers import INVALID_TIME_UNIT, Refused
from streaming.exchange.market.market_klines import Kline
from streaming.exchange.market.protocol import Span

MILLISECONDS = 1000 * MICROSECOND
MICROSECONDS = MICROSECOND
_UNITS = {
    None: MILLISECONDS,
    "MILLISECOND": MILLISECONDS,
    "millisecond": MILLISECONDS,
    "MICROSECOND": MICROSECONDS,
    "microsecond": MICROSECONDS,
}
_BOOL = ("false", "true")


def unit_named(name: str | None) -> int:
    """Return the unit of time that a header or an address asks for.

    Raises: Refused for a word that is none.
    """
    if name not in _UNITS:
        raise Refused(*INVALID_TIME_UNIT)
    return _UNITS[name]


def trade_events(span: Span, unit: int) -> list[str]:
    """Return the `trade` events of the rows of a tape."""
    tape, start, stop = span
    head = f'{{"e":"trade","E":%d,"s":"{tape.listing.symbol}","t":%d,"p":"%s","q":"%s","T":%d,"m":%s,"M":true}}'
    rows = slice(start, stop)
    at = (tape.at[rows] // unit).tolist()
    columns = (at, tape.ids[rows].tolist(), tape.price[rows].tolist(), tape.quantity[rows].tolist())
    maker = tape.buyer_is_maker[rows].tolist()
    return [
        head % (t, number, units_text(price), units_text(quantity), t, _BOOL[m])
        for t, number, price, quantity, m in zip(*columns, maker, strict=True)
    ]


def aggregate_events(span: Span, unit: int) -> list[str]:
    """Return the `aggTrade` events of a run of aggregates."""
    symbol = span.tape.listing.symbol
    head = f'{{"e":"aggTrade","E":%d,"s":"{symbol}","a":%d,"p":"%s","q":"%s","f":%d,"l":%d,"T":%d,"m":%s,"M":true}}'
    return [head % (row[5], *row[:5], row[5], row[6]) for row in aggregate_values(span, unit)]


def aggregate_rows(spans: Iterable[Span], unit: int) -> str:
    """Return the answer of `/aggTrades`."""
    row = '{"a":%d,"p":"%s","q":"%s","f":%d,"l":%d,"T":%d,"m":%s,"M":true}'
    return "[" + ",".join(row % values for span in spans for values in aggregate_values(span, unit)) + "]"


def aggregate_values(span: Span, unit: int) -> Iterator[tuple[int, str, str, int, int, int, str]]:
    """Yield id, price, quantity, first and last trade id, time and side of each aggregate, as text where JSON has text."""
    tape, start, stop = span
    firsts, lasts = tape.aggregate_starts[start:stop], tape.aggregate_last_rows[start:stop]
    columns = (
        tape.aggregate_ids[start:stop],
        tape.price[firsts],
        tape.aggregate_quantities[start:stop],
        tape.first_ids[firsts],
        tape.last_ids[lasts],
        tape.at[firsts] // unit,
        tape.buyer_is_maker[firsts],
    )
    for number, price, quantity, first, last, at, maker in zip(*(c.tolist() for c in columns), strict=True):
        yield number, units_text(price), units_text(quantity), first, last, at, _BOOL[maker]


def trade_rows(spans: Iterable[Span], unit: int) -> str:
    """Return the answer of `/trades` and `/historicalTrades`."""
    return "[" + ",".join(row for span in spans for row in _trade_rows(span, unit)) + "]"


def _trade_rows(span: Span, unit: int) -> Iterator[str]:
    rows = slice(span.start, span.stop)
    tape = span.tape
    columns = (
        tape.ids[rows],
        tape.price[rows],
        tape.quantity[rows],
        tape.quote(rows),
        tape.at[rows] // unit,
        tape.buyer_is_maker[rows],
    )
    for number, price, quantity, quote, at, maker in zip(*(c.tolist() for c in columns), strict=True):
        yield (
            f'{{"id":{number},"price":"{units_text(price)}","qty":"{units_text(quantity)}",'
            f'"quoteQty":"{units_text(quote)}","time":{at},"isBuyerMaker":{_BOOL[maker]},"isBestMatch":true}}'
        )


def kline_rows(klines: Iterable[Kline], unit: int) -> str:
    """Return the answer of `/klines`: twelve columns."""
    return "[" + ",".join(_kline_row(kline, unit) for kline in klines) + "]"


def _kline_row(kline: Kline, unit: int) -> str:
    opened_at, closed_at, *numbers = kline[:8]
    texts = '","'.join(units_text(number) for number in numbers[:5])
    return (
        f'[{opened_at // unit},"{texts}",{closed_at // unit - 1},"{units_text(kline.quote_volume)}",{kline.trade_count},'
        f'"{units_text(kline.taker_buy_volume)}","{units_text(kline.taker_buy_quote_volume)}","0"]'
    )


def kline_event(symbol: str, interval: str, kline: Kline, now: int, unit: int) -> str:
    """Return the `kline` event of a window as it stands `now`; it is closed once its time is over."""
    return f'{{"e":"kline","E":{now // unit},"s":"{symbol}","k":{kline_json(interval, kline, now, unit, symbol)}}}'


def kline_json(interval: str, kline: Kline, now: int, unit: int, symbol: str | None) -> str:
    """Return what such an event says of the window itself."""
    k = kline
    closed = _BOOL[now >= k.closed_at]
    named = "" if symbol is None else f'"s":"{symbol}",'
    return (
        f'{{"t":{k.opened_at // unit},"T":{k.closed_at // unit - 1},{named}"i":"{interval}",'
        f'"f":{k.first_id},"L":{k.last_id},"o":"{units_text(k.open)}","c":"{units_text(k.close)}",'
        f'"h":"{units_text(k.high)}","l":"{units_text(k.low)}","v":"{units_text(k.volume)}","n":{k.trade_count},'
        f'"x":{closed},"q":"{units_text(k.quote_volume)}","V":"{units_text(k.taker_buy_volume)}",'
        f'"Q":"{units_text(k.taker_buy_quote_volume)}","B":"0"}}'
    )
