"""A candle as a value that cannot be wrong; prices and volumes in 10⁻⁸, quote volumes in 10⁻¹⁶, times in µs, UTC."""

from __future__ import annotations

import msgspec

from quantstream.core.decimals import BEYOND
from quantstream.core.errors import BadRecord
from quantstream.core.time import INTERVALS, LATEST, interval_length

NO_TRADE_ID = -1  # first and last trade id of a candle without trades, as in the exchange's kline event
CORRECTION_STEP = 1_000  # revisions of the aggregator between two corrections: far more than any window ever had


class Candle(msgspec.Struct, frozen=True, gc=False):
    """OHLCV of one symbol over `[opened_at, opened_at + interval)` by the trades' own time.

    Prices and volumes in 10⁻⁸, quote volumes in 10⁻¹⁶, `opened_at` in µs UTC. A candle without trades is flat at the
    previous close, its ids are -1. `source` tells where it came from: `trades` (built here) or `klines` (the exchange's).
    """

    symbol: str
    interval: str
    opened_at: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    quote_volume: int
    trade_count: int
    taker_buy_volume: int
    taker_buy_quote_volume: int
    first_trade_id: int
    last_trade_id: int
    is_complete: bool
    revision: int = 0
    source: str = "trades"

    def __post_init__(self) -> None:
        low, high = self.low, self.high
        if not (0 < low <= self.open <= high and low <= self.close <= high):
            raise BadRecord(
                f"candle of {self.symbol} at {self.opened_at}: open and close must lie between low and high"
            )
        if not (0 <= self.taker_buy_volume <= self.volume and 0 <= self.taker_buy_quote_volume <= self.quote_volume):
            raise BadRecord(
                f"candle of {self.symbol} at {self.opened_at}: taker buys must lie between 0 and the volume"
            )
        if self.opened_at % interval_length(self.interval):
            raise BadRecord(f"candle of {self.symbol} at {self.opened_at} does not open on a {self.interval} boundary")
        is_sane = high < BEYOND and self.volume < BEYOND and self.quote_volume < BEYOND
        if not (is_sane and 0 <= self.opened_at < LATEST and 0 <= self.trade_count < 2**62):
            raise BadRecord(f"candle of {self.symbol} at {str(self.opened_at)[:40]}: numbers beyond all reason")

    @property
    def is_correction(self) -> bool:
        """Whether it was published after the fact, in place of one that was not the exchange's."""
        return self.revision >= CORRECTION_STEP

    @property
    def closed_at(self) -> int:
        """First instant after the candle, µs UTC."""
        return self.opened_at + INTERVALS[self.interval]
