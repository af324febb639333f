"""A trade as a value that cannot be wrong; prices and quantities in 10⁻⁸, times in µs since the epoch, UTC."""

from __future__ import annotations

import re

import msgspec

from quantstream.core.errors import BadRecord
from quantstream.core.time import EARLIEST, LATEST

MAX_UNITS = 10**30 - 1  # 38 digits of decimal128 less room for sums
MAX_QUOTE = 10**31  # of one trade, in 10⁻¹⁶: ten million such trades still fit a candle
MAX_SINGLES = 10**9  # trades that one aggregate may stand for

# The exchange's own rule for a symbol (`^[\w\-._&&[^a-z]]{1,50}$`): BTCUSDT, BTCUSDT_240628, BTCUSD_PERP, 币安人生USDT.
MAX_SYMBOL = 50
_SYMBOL = re.compile(rf"(?=.*[^\W_])(?:(?![a-z])[\w.-]){{1,{MAX_SYMBOL}}}")


def is_symbol(name: str) -> bool:
    """Tell whether a name is written as the exchange writes its symbols."""
    if len(name) <= MAX_SYMBOL and name.isascii() and name.isalnum() and name.isupper():
        return True  # as nearly all are
    return _SYMBOL.fullmatch(name) is not None


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
