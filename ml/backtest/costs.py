"""What a trade costs, as the user says: fee, half the spread and slippage, in basis points of the value on each of its two sides.

Exact: rates are fractions, values whole units, so a ledger adds up to the last digit.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from quantstream import setting_groups
from quantstream.core.errors import Misconfigured

BP = 10_000  # basis points of one
FEES_BP = {name: Fraction(fee) for name, fee in setting_groups.FEES_BP.items()}  # a side
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
SETTINGS = setting_groups.Costs()  # where nobody says otherwise


def charged(value: int, rate_bp: Fraction) -> int:
    """Return a rate of a value, in the value's unit, rounded to the nearest whole one (half to even)."""
    unit = BP * rate_bp.denominator  # in whole numbers: fractions take ten times as long
    whole, rest = divmod(2 * value * rate_bp.numerator + unit, 2 * unit)
    return whole - (whole % 2 if not rest else 0)


def number(rate: Fraction) -> str:
    """Return a rate as a person writes it: 10, 2.5."""
    return f"{float(rate):.10g}".replace("-", "−")


def costs_of(
    preset: str | None,
    fee_bp: str | None,
    spread_bp: str | None = None,
    slippage_bp: str | None = None,
    usual: setting_groups.Costs = SETTINGS,
) -> Costs:
    """Return the costs that a user names: a preset's fee or one of their own, spread, slippage; the settings' where they do not.

    Raises: Misconfigured.
    """
    if preset is not None and fee_bp is not None:
        raise Misconfigured("--costs and --fee-bp both name the fee; give one of them")
    if preset is not None and preset not in FEES_BP:
        raise Misconfigured(f"{preset!r} names no costs; choose one of {', '.join(FEES_BP)}, or write --fee-bp")
    slips = _rate("--spread-bp", spread_bp, usual.spread_bp), _rate("--slippage-bp", slippage_bp, usual.slippage_bp)
    if preset is not None:
        return Costs(FEES_BP[preset], *slips)
    own = float(FEES_BP[usual.preset]) if usual.fee_bp is None else usual.fee_bp
    return Costs(_rate("--fee-bp", fee_bp, own), *slips)


def _rate(option: str, text: str | None, usual: float) -> Fraction:
    """What an option says, to the digit; else a setting, as a person wrote it and not as a binary number."""
    try:
        return Fraction(str(usual) if text is None else text.strip())
    except (ValueError, ZeroDivisionError):
        raise Misconfigured(f"{option} {text!r} is no number of basis points; write one like 7.5") from None
