"""What a cell or a JSON value of a recording means: whole numbers, exact decimals, moments, truths, symbols.

Recordings are made by many tools: times come in seconds to nanoseconds or as ISO 8601, decimals as text or as floats. Whatever
cannot be told for certain is a BadRecord.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import cast

from quantstream.core.errors import BadRecord, Misconfigured
from quantstream.core.instrument import contract_size
from quantstream.core.time import LATEST, MICROSECONDS_FROM, MILLISECONDS_FROM, NANOSECONDS_FROM
from quantstream.core.trade import is_symbol

MOST_EXPONENT = 30  # of a number that a person could have meant
SHOWN = 60  # characters of a wrong value in a sentence
TRUTHS = {"true": True, "false": False, "1": True, "0": False}
_NAMED = re.compile(r"^((?:(?![a-z_])\w){4,}(?:_(?:PERP|\d{6}))?)(?=[-_.]|$)")
_UNIFIED = re.compile(r"^([^/:]+)/([^/:]+?)(?::([^/:-]+)(?:-(\d{6}))?)?$")


def shown(value: object) -> str:
    """Return a value for a sentence, cut short."""
    return repr(value if isinstance(value, str) else str(value)[: SHOWN + 1])[: SHOWN + 2]


def whole(value: object) -> int:
    """Return a whole number below 2⁶³, printed or not.

    Raises: BadRecord, also for a negative one: nothing that the exchange counts is below zero.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and value % 1 == 0
    text = value.strip() if isinstance(value, str) and len(value) <= SHOWN and value.isascii() else ""
    is_digits = text.removeprefix("-").isdigit()
    if not (is_number or is_digits):
        raise BadRecord(f"{shown(value)} should be a whole number")
    number = int(text if is_digits else cast(float, value))
    if not 0 <= number < 2**63:
        raise BadRecord(f"{shown(value)} is no number that the exchange counts by")
    return number


def plain(value: object) -> str:
    """Return a number as the plain decimal that means it; a float as the shortest one, without an exponent.

    Raises: BadRecord for what is no number, and before an exponent is written out that would fill the memory.
    """
    text = value.strip() if isinstance(value, str) else str(value) if isinstance(value, int | float) else ""
    if isinstance(value, bool) or not text.isascii() or "_" in text:
        raise BadRecord(f"{shown(value)} is no number")
    try:
        exact = Decimal(text)
    except InvalidOperation:
        raise BadRecord(f"{shown(value)} is no number") from None
    if not exact.is_finite() or abs(exact.adjusted()) > MOST_EXPONENT:
        raise BadRecord(f"{shown(value)} is not a number of a sane size")
    return text if text.replace(".", "", 1).isdigit() else f"{exact:f}"


def moment(value: object) -> int:
    """Return a time as µs since the epoch: seconds, ms, µs or ns, told by their size, or ISO 8601 (UTC where it does not say).

    Raises: BadRecord.
    """
    if isinstance(value, str) and (len(value) > SHOWN or "-" in value[1:] or ":" in value):
        return _iso(value)
    number = Decimal(plain(value))
    if number < MILLISECONDS_FROM:
        at = number * 1_000_000
    elif number < MICROSECONDS_FROM:
        at = number * 1000
    else:
        at = number if number < NANOSECONDS_FROM else number / 1000
    if not 0 <= at < LATEST:
        raise BadRecord(f"the time {shown(value)} is outside 2009 to 2100")
    return int(at)


def _iso(text: str) -> int:
    try:
        at = datetime.fromisoformat(text[: SHOWN + 1].strip().removesuffix(" UTC"))
    except ValueError:
        raise BadRecord(f"{shown(text)} is no time") from None
    elapsed = (at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.fromtimestamp(0, UTC)
    return (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds


def truth(value: object) -> bool:
    """Return True or False, in letters or as 1 and 0.

    Raises: BadRecord.
    """
    found = TRUTHS.get(str(value).strip().lower()) if isinstance(value, bool | int | str) else None
    if found is None:
        raise BadRecord(f"{shown(value)} should be True or False")
    return found


def maker_of_side(value: object) -> bool:
    """Return whether the buyer is the maker, from the taker's side.

    Raises: BadRecord.
    """
    side = value.strip().lower() if isinstance(value, str) else ""
    if side not in ("buy", "sell"):
        raise BadRecord(f"side {shown(value)} should be buy or sell")
    return side == "sell"


def symbol(value: object) -> str:
    """Return a symbol as the exchange writes it, also from ccxt's unified names: `BTC/USDT:USDT-240628` is `BTCUSDT_240628`.

    Raises: BadRecord.
    """
    text = value.strip() if isinstance(value, str) else ""
    unified = _UNIFIED.match(text)
    if unified:
        base, quote, settled, expiry = unified.groups()
        suffix = f"_{expiry}" if expiry else "_PERP" if settled == base else ""
        text = f"{base}{quote}{suffix}"
    if not is_symbol(text):
        raise BadRecord(f"{shown(value)} is no symbol")
    return text


def symbol_of(*names: str) -> str:
    """Return the symbol with which the first of the file names begins that begins with one.

    Raises: Misconfigured.
    """
    for name in names:
        match = _NAMED.match(Path(name).name)
        if match and not match[1].isdigit():
            return match[1]
    raise Misconfigured(
        f"cannot tell whose trades {names[-1]} holds; name it like BTCUSDT-trades-2024-08-08.csv, or give --symbol"
    )


CONTRACTS = "a COIN-M contract: its quantities are contracts, not coins, and would make false volumes"


def counts_contracts(name: str) -> bool:
    """Tell whether a symbol is a COIN-M contract, whose quantities are contracts and not coins."""
    return contract_size(name) > 0
