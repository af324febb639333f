"""Exact decimals as scaled integers: prices and quantities in 10⁻⁸, the finest step the exchange prints, products in 10⁻¹⁶.

Sums of them are exact, so that a candle equals the exchange's own to the last decimal.
"""

from __future__ import annotations

from decimal import Decimal

from quantstream.core.errors import BadRecord

DECIMALS = 8  # the exchange's finest price and quantity step
UNIT = 10**DECIMALS
QUOTE_DECIMALS = 2 * DECIMALS  # price × quantity
QUOTE_UNIT = 10**QUOTE_DECIMALS
MAX_DIGITS = 38  # of decimal128
BEYOND = 10**MAX_DIGITS


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
