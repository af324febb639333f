"""Candles that lack trades, corrected from the exchange's own klines: a newer revision with `source = klines`.

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
from quantstream.core.moments import moment_text
from quantstream.core.time import MINUTE, interval_length
from quantstream.kafka import Reader
from streaming.reconcile.compare import KLINE_FIELDS, as_printed
from streaming.reconcile.corrections import Corrector, Key, Known, corrected, known_candles

SETTLE = 5 * MINUTE  # of exchange time after a window closed: ingest's own gap fill comes sooner
Planned = tuple[Candle, "Correction"]


class Correction(msgspec.Struct, frozen=True):
    """What was corrected: `fields` names what was not the exchange's, or says `missing` or `incomplete`."""

    symbol: str
    interval: str
    opened_at: str
    fields: list[str]
    revision: int

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{self.symbol} {self.interval} {self.opened_at}: {', '.join(self.fields)}; now revision {self.revision}"


def find_corrections(known: Mapping[Key, Known], klines: Iterable[Candle]) -> list[Planned]:
    """Return the corrections that klines of windows which the live path has closed call for."""
    planned = []
    for kline in klines:
        there = known.get((kline.symbol, kline.interval, kline.opened_at))
        fields = _wrong(there.candle if there else None, kline)
        if fields:
            candle = corrected(kline, there.candle.revision if there else -1)
            key = (kline.symbol, kline.interval, moment_text(kline.opened_at))
            planned.append((candle, Correction(*key, fields, candle.revision)))
    return planned


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
) -> tuple[list[Correction], list[str]]:
    """Correct the candles of some symbols from `start` (µs) on; return what was corrected, and why a symbol was passed over.

    Raises: Unavailable when the exchange or the broker does not answer; what was corrected until then is.
    """
    until = exchange_time(rest) - SETTLE
    known = known_candles(reader, frozenset(symbols), start)
    partitions = {key[0]: there.partition for key, there in known.items()}
    corrections: list[Correction] = []
    troubles: list[str] = []
    for symbol in symbols:
        planned: list[Planned] = []
        try:
            for interval in intervals:
                planned += find_corrections(known, _klines(rest, known, symbol, interval, until, troubles))
        except (Misconfigured, DataRejected) as error:
            troubles.append(str(error))
            continue
        corrector.publish(reader, [candle for candle, _ in planned], partitions)
        corrections += [what for _, what in planned]
    return corrections, troubles


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
