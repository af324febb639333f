"""The exchange's own candles over REST, parsed once: what backfill stores, what repairs are made from, what proofs compare with.

Source of every field: github.com/binance/binance-spot-api-docs, rest-api.md, "Kline/Candlestick data".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from quantstream.binance.rest import BlockingRest
from quantstream.core.candle import Candle
from quantstream.core.decimals import QUOTE_DECIMALS, to_units, units_text
from quantstream.core.errors import BadRecord, DataRejected, Misconfigured
from quantstream.core.instrument import contract_size
from quantstream.core.time import EARLIEST, LATEST, interval_length, to_micros, to_millis

PAGE = 1000  # klines an answer holds at most
FIELDS = 11  # of a kline that a candle is made of


def parse_kline(symbol: str, row: Any, interval: str = "5m") -> Candle:
    """Return one row of /api/v3/klines as a candle; it names no trades, so its ids are -1.

    Volumes are in coins and in the quote currency, of COIN-M too, whose rows count contracts where others have coins and coins
    where others have the quote: a contract is so many USD. Raises: BadRecord.
    """
    if not isinstance(row, list) or len(row) < FIELDS:  # an object's or a text's beginning is none either
        raise BadRecord(f"{str(row)[:120]} is not a kline: it is no list of {FIELDS} fields")
    opened_at, open_, high, low, close, volume, _, quote, count, taker, taker_quote = row[:FIELDS]
    if type(opened_at) is not int or type(count) is not int:
        raise BadRecord(f"{str(row)[:120]} is not a kline: its time and its count of trades must be whole numbers")
    try:
        if size := contract_size(symbol):
            volume, quote = quote, _worth(volume, size)
            taker, taker_quote = taker_quote, _worth(taker, size)
        return Candle(
            symbol=symbol,
            interval=interval,
            opened_at=to_micros(opened_at),
            open=to_units(open_),
            high=to_units(high),
            low=to_units(low),
            close=to_units(close),
            volume=to_units(volume),
            quote_volume=to_units(quote, QUOTE_DECIMALS),
            trade_count=count,
            taker_buy_volume=to_units(taker),
            taker_buy_quote_volume=to_units(taker_quote, QUOTE_DECIMALS),
            first_trade_id=-1,
            last_trade_id=-1,
            is_complete=True,
            revision=0,
            source="klines",
        )
    except AttributeError as error:  # a number that is not printed as text
        raise BadRecord(f"{str(row)[:120]} is not a kline: {error}") from error


def _worth(contracts: str, size: int) -> str:
    return units_text(to_units(contracts) * size)


def exchange_time(rest: BlockingRest) -> int:
    """Return the exchange's clock, µs.

    Raises: Unavailable, Misconfigured when something else answers there.
    """
    answer = rest.get("/time")
    try:
        at = to_micros(int(answer["serverTime"]))
    except (LookupError, TypeError, ValueError, OverflowError):
        at = 0
    if not EARLIEST <= at < LATEST:
        raise Misconfigured(f"what answers at {rest.address} is not the exchange; see QUANTSTREAM_ENDPOINTS__REST")
    return at


def fetch_klines(
    rest: BlockingRest,
    symbol: str,
    interval: str,
    start: int,
    end: int,
    on_odd: Callable[[BadRecord], None] | None = None,
) -> Iterator[Candle]:
    """Yield the exchange's candles that open in `[start, end)` (µs, on window boundaries), oldest first.

    The last may still be building when `end` lies in the future. A row that is no kline is told to `on_odd` and left out.
    Raises: Unavailable, Misconfigured, DataRejected for an answer that is no list, and for an odd row when nobody is told.
    """
    length = interval_length(interval)
    for first in range(start, end, PAGE * length):
        last = min(first + (PAGE - 1) * length, end - length)
        query = {"symbol": symbol, "interval": interval, "limit": PAGE}
        rows = rest.get("/klines", {**query, "startTime": to_millis(first), "endTime": to_millis(last)})
        if not isinstance(rows, list):
            raise DataRejected(
                f"the exchange's history of {symbol} is not usable: {str(rows)[:120]} is no list of klines"
            )
        for row in rows:
            try:
                candle = parse_kline(symbol, row, interval)
            except BadRecord as error:
                if on_odd is None:
                    raise DataRejected(f"the exchange's history of {symbol} is not usable: {error}") from error
                on_odd(error)
            else:
                yield candle
