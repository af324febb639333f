"""Candles that lack trades, mended from the exchange's own klines: a newer revision with `source = klines`.

Ingest fetches missing trades itself, and then the aggregator revises the candle. What is still incomplete, missing or other than
the exchange's some minutes later is for this. Running it again finds nothing to do: it looks at the topic it writes to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from quantstream.binance.klines import exchange_time, fetch_klines
from quantstream.binance.rest import BlockingRest
from quantstream.core.candle import Candle
from quantstream.core.errors import DataRejected, Misconfigured
from quantstream.core.time import MINUTE, interval_length
from quantstream.kafka import Reader
from streaming.reconcile.compare import KLINE_FIELDS, as_printed
from streaming.reconcile.corrections import Corrector, Key, Known, corrected, known_candles
from streaming.reconcile.moments import moment_text

SETTLE = 5 * MINUTE  # of exchange time after a window closed: ingest's own repairs come sooner
Repair = tuple[Candle, "Repaired"]


class Repaired(msgspec.Struct, frozen=True):
    """What was mended: `fields` names what was not the exchange's, or says `missing` or `incomplete`."""

    symbol: str
    interval: str
    opened_at: str
    fields: list[str]
    revision: int

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{self.symbol} {self.interval} {self.opened_at}: {', '.join(self.fields)}; now revision {self.revision}"


def find_repairs(known: Mapping[Key, Known], klines: Iterable[Candle]) -> list[Repair]:
    """Return the corrections that klines of windows which the live path has closed call for."""
    repairs = []
    for kline in klines:
        there = known.get((kline.symbol, kline.interval, kline.opened_at))
        fields = _wrong(there.candle if there else None, kline)
        if fields:
            candle = corrected(kline, there.candle.revision if there else -1)
            key = (kline.symbol, kline.interval, moment_text(kline.opened_at))
            repairs.append((candle, Repaired(*key, fields, candle.revision)))
    return repairs


def _wrong(there: Candle | None, kline: Candle) -> list[str]:
    if there is None:
        return ["missing"]
    differing = [name for name in KLINE_FIELDS if not as_printed(there, kline, name)]
    return differing if there.is_complete else ["incomplete", *differing]


def repair(
    reader: Reader,
    corrector: Corrector,
    rest: BlockingRest,
    symbols: Sequence[str],
    intervals: Sequence[str],
    start: int,
) -> tuple[list[Repaired], list[str]]:
    """Mend the candles of some symbols from `start` (µs) on; return what was mended, and why a symbol was passed over.

    Raises: Unavailable when the exchange or the broker does not answer; what was mended until then is.
    """
    until = exchange_time(rest) - SETTLE
    known = known_candles(reader, frozenset(symbols), start)
    partitions = {key[0]: there.partition for key, there in known.items()}
    mended: list[Repaired] = []
    troubles: list[str] = []
    for symbol in symbols:
        repairs: list[Repair] = []
        try:
            for interval in intervals:
                repairs += find_repairs(known, _klines(rest, known, symbol, interval, until, troubles))
        except (Misconfigured, DataRejected) as error:
            troubles.append(str(error))
            continue
        corrector.publish(reader, [candle for candle, _ in repairs], partitions)
        mended += [what for _, what in repairs]
    return mended, troubles


def _klines(
    rest: BlockingRest, known: Mapping[Key, Known], symbol: str, interval: str, until: int, troubles: list[str]
) -> list[Candle]:
    """Return the klines of the windows from the first to the last that the live path has closed and left alone since.

    Odd rows are left out and told in `troubles`.
    """
    opened = [opened_at for of, at, opened_at in known if (of, at) == (symbol, interval)]
    if not opened:
        return []
    length = interval_length(interval)
    end = min(max(opened) + length, until - until % length)
    return list(fetch_klines(rest, symbol, interval, min(opened), end, lambda error: troubles.append(str(error))))
