"""Trades and candles as values that cannot be wrong.

Prices and quantities are scaled integers (10⁻⁸, the finest step the exchange prints), products of the two are 10⁻¹⁶:
sums of them are exact, so that a candle equals the exchange's own to the last decimal. Times are µs since the epoch, UTC.
"""

from __future__ import annotations

import re
from decimal import Decimal

import msgspec

from quantstream.errors import BadRecord, Misconfigured

DECIMALS = 8  # the exchange's finest price and quantity step
UNIT = 10**DECIMALS
QUOTE_DECIMALS = 2 * DECIMALS  # price × quantity
QUOTE_UNIT = 10**QUOTE_DECIMALS
MAX_DIGITS = 38  # of decimal128
BEYOND = 10**MAX_DIGITS
MAX_UNITS = 10**30 - 1  # 38 digits of decimal128 less room for sums
MAX_QUOTE = 10**31  # of one trade, in 10⁻¹⁶: ten million such trades still fit a candle
MAX_SINGLES = 10**9  # trades that one aggregate may stand for

MICROSECOND = 1
SECOND = 1_000_000
MINUTE = 60 * SECOND
EARLIEST = 1_230_768_000 * SECOND  # 2009-01-01: nothing in this market is older
LATEST = 4_102_444_800 * SECOND  # 2100-01-01

INTERVALS = {
    "1m": MINUTE,
    "3m": 3 * MINUTE,
    "5m": 5 * MINUTE,
    "15m": 15 * MINUTE,
    "30m": 30 * MINUTE,
    "1h": 60 * MINUTE,
    "4h": 240 * MINUTE,
    "1d": 1440 * MINUTE,
}
NO_TRADE_ID = -1  # first and last trade id of a candle without trades, as in the exchange's kline event

# The exchange's own rule for a symbol (`^[\w\-._&&[^a-z]]{1,50}$`): BTCUSDT, BTCUSDT_240628, BTCUSD_PERP, 币安人生USDT.
_SYMBOL = re.compile(r"(?=.*[^\W_])(?:(?![a-z])[\w.-]){1,50}")


def is_symbol(name: str) -> bool:
    """Tell whether a name is written as the exchange writes its symbols."""
    return _SYMBOL.fullmatch(name) is not None


def interval_length(interval: str) -> int:
    """Return the length of an interval in µs.

    Raises: Misconfigured for a name the exchange does not offer.
    """
    try:
        return INTERVALS[interval]
    except KeyError:
        raise Misconfigured(f"interval {interval!r} is not known; use one of {', '.join(INTERVALS)}") from None


def window_start(at: int, length: int) -> int:
    """Return the opening time of the window that holds `at`, both in µs."""
    return at - at % length


def to_units(text: str, decimals: int = DECIMALS) -> int:
    """Return a printed decimal as an integer of 10^-`decimals`; `"0.5"` is 50,000,000 with eight.

    Raises: BadRecord for anything but plain digits, a negative number, or more significant decimals than there is room for.
    """
    whole, _, fraction = text.partition(".")
    if len(fraction) > decimals:
        if fraction[decimals:].strip("0"):
            raise BadRecord(f"{text[:60]!r} has more than {decimals} decimals")
        fraction = fraction[:decimals]
    digits = whole + fraction
    if len(digits) > MAX_DIGITS or not (digits.isascii() and digits.isdigit()):
        raise BadRecord(f"{text[:60]!r} is not a plain non-negative decimal of a sane size")
    return int(digits.ljust(len(whole) + decimals, "0"))


def units_text(units: int, decimals: int = DECIMALS) -> str:
    """Return scaled units as decimal text with all its decimals, as the exchange prints them."""
    if units < 0:
        return "-" + units_text(-units, decimals)
    whole, fraction = divmod(units, 10**decimals)
    return f"{whole}.{fraction:0{decimals}d}"


def units_decimal(units: int, decimals: int = DECIMALS) -> Decimal:
    """Return scaled units as an exact `Decimal`."""
    return Decimal(units_text(units, decimals))


class Trade(msgspec.Struct, frozen=True, gc=False):
    """One aggregated or single trade as the exchange numbered it; for single trades the three ids are equal.

    `price` and `quantity` in 10⁻⁸, `traded_at` in µs UTC. Of a trade `by_id` only `id` runs without a gap: the ids of its single
    trades skip those that are no market trades (aggregates of futures).
    """

    symbol: str
    id: int
    first_trade_id: int
    last_trade_id: int
    price: int
    quantity: int
    traded_at: int
    buyer_is_maker: bool
    by_id: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.first_trade_id <= self.last_trade_id < 2**62 or not 0 <= self.id < 2**62:
            raise BadRecord(f"trade {self.id} of {self.symbol} has ids that run backwards")
        if not 0 < self.price <= MAX_UNITS or not 0 <= self.quantity <= MAX_UNITS:
            raise BadRecord(f"trade {self.id} of {self.symbol} has no price above zero or an absurd quantity")
        if self.price * self.quantity > MAX_QUOTE or self.last_trade_id - self.first_trade_id >= MAX_SINGLES:
            raise BadRecord(f"trade {self.id} of {self.symbol} is worth more, or stands for more trades, than can be")
        if not EARLIEST <= self.traded_at < LATEST:
            raise BadRecord(f"trade {self.id} of {self.symbol} is dated outside 2009 to 2100")

    @property
    def trade_count(self) -> int:
        """Number of single trades in it."""
        return self.last_trade_id - self.first_trade_id + 1

    @property
    def first_number(self) -> int:
        """Its first id in the numbering that has no gaps."""
        return self.id if self.by_id else self.first_trade_id

    @property
    def last_number(self) -> int:
        """Its last id in that numbering."""
        return self.id if self.by_id else self.last_trade_id


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
    def closed_at(self) -> int:
        """First instant after the candle, µs UTC."""
        return self.opened_at + INTERVALS[self.interval]
