"""What a symbol is on the simulated exchange: its assets, its price and lot steps, and the character of its market.

The five best known symbols have figures close to the real ones; any other name gets plausible ones from its own hash, the same
each time, so that a test may ask for any symbol at all.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from quantstream.core.decimals import DECIMALS, UNIT

QUOTE_ASSETS = ("FDUSD", "USDT", "USDC", "BUSD", "TUSD", "BTC", "ETH", "BNB", "EUR", "TRY", "USD")


@dataclass(frozen=True, slots=True)
class Listing:
    """One symbol. `tick` and `lot` are the steps of price and quantity in 10⁻⁸, powers of ten.

    `tick × lot` is at least 10⁻⁸, as on the real exchange, so that every quote amount is exact in eight decimals.
    """

    symbol: str
    base: str
    quote: str
    tick: int
    lot: int


@dataclass(frozen=True, slots=True)
class Character:
    """How a synthetic symbol trades: opening price, yearly volatility, the share of it that is the whole market's,
    trades per second where the busiest symbol has one, and the median worth of a trade in the quote asset."""

    price: float
    volatility: float
    beta: float
    activity: float
    median_notional: float


_KNOWN = {
    "BTCUSDT": (Listing("BTCUSDT", "BTC", "USDT", UNIT // 100, UNIT // 10**5), Character(64_000, 0.55, 0.80, 1.0, 220)),
    "ETHUSDT": (Listing("ETHUSDT", "ETH", "USDT", UNIT // 100, UNIT // 10**4), Character(3_100, 0.70, 0.72, 0.6, 180)),
    "SOLUSDT": (Listing("SOLUSDT", "SOL", "USDT", UNIT // 100, UNIT // 10**3), Character(155, 0.95, 0.60, 0.3, 110)),
    "BNBUSDT": (Listing("BNBUSDT", "BNB", "USDT", UNIT // 100, UNIT // 10**3), Character(560, 0.60, 0.60, 0.12, 90)),
    # Thin enough that some windows pass without a trade: what comes after must cope with them.
    "XRPUSDT": (Listing("XRPUSDT", "XRP", "USDT", UNIT // 10**4, UNIT // 10), Character(0.55, 0.85, 0.50, 0.02, 60)),
}


def split_assets(symbol: str) -> tuple[str, str]:
    """Return the base and quote asset of a symbol by the best known quote assets; without one, the last three letters.

    What follows an underscore is a futures contract's delivery day: BTCUSDT_240628.
    """
    symbol = symbol.partition("_")[0] or symbol
    for quote in QUOTE_ASSETS:
        if symbol.endswith(quote) and len(symbol) > len(quote):
            return symbol[: -len(quote)], quote
    return symbol[:-3] or symbol, symbol[-3:]


def synthetic_listing(symbol: str) -> tuple[Listing, Character]:
    """Return a symbol's listing and character: the known one, or one that its name's hash decides.

    A contract with a delivery day (BTCUSDT_240628) is like its pair.
    """
    pair, _, day = symbol.partition("_")
    if day and pair:
        listing, character = synthetic_listing(pair)
        return replace(listing, symbol=symbol), character
    if symbol in _KNOWN:
        return _KNOWN[symbol]
    digest = hashlib.sha256(symbol.encode()).digest()
    chance = [byte / 255 for byte in digest[:5]]
    price = 10 ** (-0.5 + 3 * chance[0])  # 0.3 to 300
    character = Character(
        price=price,
        volatility=0.5 + 0.9 * chance[1],
        beta=0.3 + 0.5 * chance[2],
        activity=10 ** (-2.5 + 2.2 * chance[3]),
        median_notional=30 + 170 * chance[4],
    )
    tick = UNIT // 10**4 if price < 10 else UNIT // 100
    lot = UNIT // 10 if price < 10 else UNIT // 10**3
    return Listing(symbol, *split_assets(symbol), tick, lot), character


def recorded_listing(symbol: str, price_step: int, quantity_step: int) -> Listing:
    """Return the listing of a recorded symbol from the finest steps seen in its trades (10⁻⁸)."""
    return Listing(symbol, *split_assets(symbol), _power_of_ten(price_step), _power_of_ten(quantity_step))


def _power_of_ten(step: int) -> int:
    power = 1
    while power < 10**DECIMALS and step % (power * 10) == 0:
        power *= 10
    return power
