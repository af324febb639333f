"""What the exchange says of a symbol: whether it trades, in what steps, and since when."""

from __future__ import annotations

import re

import msgspec

TRADING = "TRADING"  # the exchange's own word
DELISTED = "DELISTED"  # ours, for one that the exchange names no more

_COIN_MARGINED = re.compile(r"USD_(?:PERP|\d{6})$")
_LARGE = "BTCUSD_"  # its contracts are 100 USD, all others 10: developers.binance.com, COIN-M futures, contractSize


def contract_size(symbol: str) -> int:
    """Return how many USD a contract of a COIN-M symbol stands for, 0 for a symbol that is counted in coins."""
    return 0 if _COIN_MARGINED.search(symbol) is None else 100 if symbol.startswith(_LARGE) else 10


class Instrument(msgspec.Struct, frozen=True):
    """One symbol as it stood at a time. Steps and the least worth of an order in 10⁻⁸, 0 where the exchange does not say."""

    symbol: str
    status: str  # as the exchange has it: TRADING, BREAK, HALT, SETTLING, …
    base: str = ""
    quote: str = ""
    tick: int = 0
    lot: int = 0
    min_notional: int = 0
    listed_at: int = 0  # µs; only futures say

    @property
    def is_trading(self) -> bool:
        """Whether it could be traded."""
        return self.status == TRADING
