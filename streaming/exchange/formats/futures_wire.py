"""The JSON of the USD-M futures: trades that say what they were (`X`), aggregates of market trades only.

Keys as the exchange sent them in September 2026: `st` is 1 for USD-M, `ps` the pair, `nq` the quantity without retail price
improvement orders, of which this market has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from quantstream.core.decimals import DECIMALS, units_text
from streaming.exchange.formats.spot_wire import aggregate_values, kline_json
from streaming.exchange.market.listing import Listing
from streaming.exchange.market.market_klines import Kline
from streaming.exchange.market.protocol import Span
from streaming.exchange.market.tape import Tape

_BOOL = ("false", "true")
Told = tuple[int, str]  # when it traded, µs, and its event


class _Text:
    """Prices and quantities of a symbol as the futures write them: with the decimals of their steps."""

    def __init__(self, listing: Listing) -> None:
        self._price, self._quantity = _surplus(listing.tick), _surplus(listing.lot)

    def price(self, eight_decimals: str) -> str:
        return eight_decimals[: self._price]

    def quantity(self, eight_decimals: str) -> str:
        return eight_decimals[: self._quantity]


def trade_events(span: Span, since: int, until: int, unit: int) -> list[Told]:
    """Return the `trade` events of the rows of a tape and of the trades off the book in `[since, until)`, in order of id."""
    found = [*_market_trades(span, unit), *_off_book_trades(span.tape, since, until, unit)]
    found.sort()
    return [(at, text) for _, at, text in found]


def _market_trades(span: Span, unit: int) -> Iterator[tuple[int, int, str]]:
    tape, rows = span.tape, slice(span.start, span.stop)
    text = _Text(tape.listing)
    columns = (tape.ids[rows], tape.at[rows], tape.price[rows], tape.quantity[rows], tape.buyer_is_maker[rows])
    for number, at, price, quantity, maker in zip(*(column.tolist() for column in columns), strict=True):
        p, q = text.price(units_text(price)), text.quantity(units_text(quantity))
        yield number, at, _trade(tape, at // unit, number, p, q, "MARKET", maker)


def _off_book_trades(tape: Tape, since: int, until: int, unit: int) -> Iterator[tuple[int, int, str]]:
    off, rows = tape.off_book, tape.off_book.between(since, until)
    columns = (off.ids[rows], off.at[rows], off.price[rows], off.quantity[rows], off.buyer_is_maker[rows])
    values = zip(*(column.tolist() for column in columns), off.kinds[rows], strict=True)
    for number, at, price, quantity, maker, kind in values:
        yield number, at, _trade(tape, at // unit, number, _plain(price), _plain(quantity), kind, maker)


def _trade(tape: Tape, at: int, number: int, price: str, quantity: str, kind: str, maker: bool) -> str:
    return (
        f'{{"e":"trade","E":{at},"T":{at},"s":"{tape.listing.symbol}","t":{number},"p":"{price}","q":"{quantity}",'
        f'"X":"{kind}","m":{_BOOL[maker]},"st":1}}'
    )


def aggregate_events(span: Span, unit: int) -> list[str]:
    """Return the `aggTrade` events of a run of aggregates."""
    symbol = span.tape.listing.symbol
    return [
        f'{{"e":"aggTrade","E":{at},"a":{number},"s":"{symbol}",{rest},"st":1}}'
        for number, at, rest in _aggregates(span, unit)
    ]


def aggregate_rows(spans: Iterable[Span], unit: int) -> str:
    """Return the answer of `/fapi/v1/aggTrades`."""
    return "[" + ",".join(f'{{"a":{a},{rest}}}' for span in spans for a, _, rest in _aggregates(span, unit)) + "]"


def _aggregates(span: Span, unit: int) -> Iterator[tuple[int, int, str]]:
    text = _Text(span.tape.listing)
    for number, price, quantity, first, last, at, maker in aggregate_values(span, unit):
        p, q = text.price(price), text.quantity(quantity)
        yield number, at, f'"p":"{p}","q":"{q}","nq":"{q}","f":{first},"l":{last},"T":{at},"m":{maker}'


def continuous_kline_event(pair: str, interval: str, kline: Kline, now: int, unit: int) -> str:
    """Return the `continuous_kline` event of a pair's perpetual contract."""
    told = kline_json(interval, kline, now, unit, symbol=None)
    return f'{{"e":"continuous_kline","E":{now // unit},"ps":"{pair}","ct":"PERPETUAL","k":{told}}}'


def trade_rows(spans: Iterable[Span], unit: int) -> str:
    """Return the answer of `/fapi/v1/trades` and `/fapi/v1/historicalTrades`: market trades only."""
    return "[" + ",".join(row for span in spans for row in _rows(span, unit)) + "]"


def _rows(span: Span, unit: int) -> Iterator[str]:
    tape, rows, text = span.tape, slice(span.start, span.stop), _Text(span.tape.listing)
    amounts = (tape.price[rows], tape.quantity[rows], tape.quote(rows))
    columns = (tape.ids[rows], *amounts, tape.at[rows], tape.buyer_is_maker[rows])
    for number, price, quantity, quote, at, maker in zip(*(column.tolist() for column in columns), strict=True):
        p, q = text.price(units_text(price)), text.quantity(units_text(quantity))
        yield (
            f'{{"id":{number},"price":"{p}","qty":"{q}","quoteQty":"{_plain(quote)}","time":{at // unit},'
            f'"isBuyerMaker":{_BOOL[maker]},"isRPITrade":false}}'
        )


def _surplus(step: int) -> int | None:
    """Return where to cut a text of eight decimals so that it has those of a step; with the last of them goes the dot."""
    zeros = len(str(step)) - 1
    return None if not zeros else -zeros if zeros < DECIMALS else -(DECIMALS + 1)


def _plain(units: int) -> str:
    return units_text(units).rstrip("0").rstrip(".")
