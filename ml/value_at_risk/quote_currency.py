"""In which currency a symbol's price is: as the exchange's list in the lake has it, else as its name ends."""

from __future__ import annotations

from collections.abc import Mapping

from quantstream.core.errors import DataRejected

# What Binance quotes in, as its list of instruments has it (GET /api/v3/exchangeInfo, quoteAsset); longer names first.
QUOTES = (
    *("FDUSD", "USDT", "USDC", "TUSD", "BUSD", "USDP", "USD1", "AEUR", "EURI", "DOGE"),
    *(
        "BTC",
        "ETH",
        "BNB",
        "EUR",
        "GBP",
        "TRY",
        "BRL",
        "JPY",
        "AUD",
        "RUB",
        "UAH",
        "ZAR",
        "PLN",
        "ARS",
        "MXN",
        "COP",
        "CZK",
    ),
    *("RON", "IDR", "NGN", "DAI", "TRX", "XRP", "SOL", "DOT", "VAI"),
)
COIN_MARGINED = "USD"


def quote_of(symbol: str, listed: Mapping[str, str]) -> str:
    """Return the quote currency; `listed` has those that the lake knows.

    Raises: DataRejected where it cannot be told, and for contracts whose loss is in coins and not in that currency.
    """
    root = symbol.split("_", maxsplit=1)[0]
    if root != symbol and root.endswith(COIN_MARGINED):
        raise DataRejected(f"{symbol}: a contract margined in coins loses coins, not {COIN_MARGINED}: no value at risk")
    if found := listed.get(symbol) or next((one for one in QUOTES if root.endswith(one) and root != one), ""):
        return found
    raise DataRejected(
        f"{symbol}: its quote currency is not known; note what the exchange lists: quantstream lake instruments --refresh"
    )
