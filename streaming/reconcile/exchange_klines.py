"""The exchange's klines and clock for a proof: asked while they answer, and left alone with the reason once they do not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from quantstream.binance.klines import exchange_time, fetch_klines
from quantstream.binance.rest import BlockingRest
from quantstream.core.candle import Candle
from quantstream.core.errors import DataRejected, Misconfigured, Unavailable


@dataclass
class Exchange:
    """The exchange's klines while it answers; after the first failure it is left alone and the reason is kept."""

    rest: BlockingRest | None
    trouble: str = ""
    at: int | None = None  # its clock when it was first asked, µs

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what a worker process makes one of its own by: all that it is asked shares one, its trouble too."""
        address, tries = (self.rest.address, self.rest.tries) if self.rest is not None else ("", 0)
        return _exchange_at, (address, tries, self.trouble, self.at)

    def klines(self, symbol: str, interval: str, start: int, end: int) -> dict[int, Candle] | None:
        """Return the candles that open in `[start, end)` by opening time, None when they cannot be had."""
        if self.rest is None or self.trouble:
            return None
        try:
            return {candle.opened_at: candle for candle in fetch_klines(self.rest, symbol, interval, start, end)}
        except (Unavailable, DataRejected, Misconfigured) as error:
            self.trouble = f"the exchange's klines, for {error}"
            return None

    def now(self) -> int | None:
        """Return the exchange's clock when it was first asked, µs, None when it does not answer: the proof is of one moment."""
        if self.rest is None or self.trouble:
            return None
        try:
            self.at = self.at or exchange_time(self.rest)
        except (Unavailable, Misconfigured) as error:
            self.trouble = f"the exchange's klines, for {error}"
        return self.at


@lru_cache(maxsize=2)
def _exchange_at(address: str, tries: int, trouble: str, at: int | None) -> Exchange:
    return Exchange(BlockingRest(address, tries) if address else None, trouble, at)
