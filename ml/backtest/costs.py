"""What a trade costs, as the user says: fee, half the spread and slippage, in basis points of the value on each of its two sides.

Exact: rates are fractions, values whole units, so a ledger adds up to the last digit.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from quantstream.core.errors import Misconfigured

BP = 10_000  # basis points of one
FEES_BP = {"taker": Fraction(10), "maker": Fraction(2), "futures": Fraction(4)}  # a side
MOST_BP = BP  # a side that costs all it is worth
ZERO = Fraction(0)


@dataclass(frozen=True)
class Costs:
    """Rates in bp. The fee and the slippage are paid on each side, the spread is what lies between bid and ask.

    All of it is paid on each trade, also where a resting order may have paid less. Raises: Misconfigured.
    """

    fee_bp: Fraction = FEES_BP["taker"]
    spread_bp: Fraction = ZERO
    slippage_bp: Fraction = ZERO

    def __post_init__(self) -> None:
        for name, rate in (("fee", self.fee_bp), ("spread", self.spread_bp), ("slippage", self.slippage_bp)):
            if not 0 <= rate <= MOST_BP:
                raise Misconfigured(f"a {name} of {number(rate)} bp is none; write 0 to {MOST_BP:,} basis points")

    @cached_property
    def slip_bp(self) -> Fraction:
        """What one side loses beside the fee: half the spread, and the slippage."""
        return self.spread_bp / 2 + self.slippage_bp

    @property
    def side_bp(self) -> Fraction:
        """What one side costs together."""
        return self.fee_bp + self.slip_bp

    def __str__(self) -> str:
        """Say it in words."""
        parts = f"fee {number(self.fee_bp)}, half the spread {number(self.spread_bp / 2)}, slippage {number(self.slippage_bp)}"
        return f"{number(self.side_bp)} bp a side ({parts})"


TAKER = Costs()


def charged(value: int, rate_bp: Fraction) -> int:
    """Return a rate of a value, in the value's unit, rounded to the nearest whole one (half to even)."""
    unit = BP * rate_bp.denominator  # in whole numbers: fractions take ten times as long
    whole, rest = divmod(2 * value * rate_bp.numerator + unit, 2 * unit)
    return whole - (whole % 2 if not rest else 0)


def number(rate: Fraction) -> str:
    """Return a rate as a person writes it: 10, 2.5."""
    return f"{float(rate):.10g}".replace("-", "−")


def costs_of(preset: str | None, fee_bp: str | None, spread_bp: str = "0", slippage_bp: str = "0") -> Costs:
    """Return the costs that a user names: a preset's fee or one of their own, with spread and slippage.

    Raises: Misconfigured.
    """
    if preset is not None and fee_bp is not None:
        raise Misconfigured("--costs and --fee-bp both name the fee; give one of them")
    if preset is not None and preset not in FEES_BP:
        raise Misconfigured(f"{preset!r} names no costs; choose one of {', '.join(FEES_BP)}, or write --fee-bp")
    fee = FEES_BP[preset or "taker"] if fee_bp is None else _rate("--fee-bp", fee_bp)
    return Costs(fee, _rate("--spread-bp", spread_bp), _rate("--slippage-bp", slippage_bp))


def _rate(option: str, text: str) -> Fraction:
    try:
        return Fraction(text.strip())
    except (ValueError, ZeroDivisionError):
        raise Misconfigured(f"{option} {text!r} is no number of basis points; write one like 7.5") from None
