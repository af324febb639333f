"""Numbers and times as a trader reads them; all times UTC, since that is the exchange's clock."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

MISSING = "–"
EPOCH = datetime.fromtimestamp(0, UTC)
RISK_WORDS = (
    (33.0, "calm"),
    (66.0, "elevated"),
    (math.inf, "high"),
)  # upper bounds of the score, and what it is called
MAX_DECIMALS = 8  # the exchange's finest step


def price(value: float | None, decimals: int = 2) -> str:
    """Return `64,123.45`."""
    return MISSING if value is None or math.isnan(value) else f"{value:,.{decimals}f}"


def quantity(value: float) -> str:
    """Return a quantity with its decimals but without trailing zeros: `0.0125`, `1,250`."""
    text = f"{value:,.8f}"
    return text.rstrip("0").rstrip(".")


def compact(value: float | None) -> str:
    """Return `950`, `12.3K`, `4.56M`, `1.20B`."""
    if value is None or math.isnan(value):
        return MISSING
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if abs(value) >= size:
            return f"{value / size:,.2f}{letter}"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.2f}"


def rate(value: float | None) -> str:
    """Return a number per second: `0.5`, `81.4`, `1,250`."""
    if value is None or math.isnan(value):
        return MISSING
    return f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


def percent(fraction: float | None, decimals: int = 2, signed: bool = True) -> str:
    """Return a fraction as `+1.25%`; the minus is a real one so that columns align."""
    if fraction is None or math.isnan(fraction):
        return MISSING
    sign = "−" if fraction < 0 else "+" if signed else ""
    return f"{sign}{abs(fraction) * 100:.{decimals}f}%"


def basis_points(fraction: float | None) -> str:
    """Return a fraction in hundredths of a percent: `+1.2 bp`."""
    if fraction is None or math.isnan(fraction):
        return MISSING
    shown = round(fraction * 1e4, 1)
    return f"{'−' if shown < 0 else '+' if shown > 0 else ''}{abs(shown):.1f} bp"


def clock(at: int) -> str:
    """Return µs since the epoch as `14:05:09`."""
    return f"{moment(at):%H:%M:%S}" if at else MISSING


def stamp(at: int) -> str:
    """Return µs since the epoch as `2026-01-31 14:05:09`."""
    return f"{moment(at):%Y-%m-%d %H:%M:%S}" if at else MISSING


def moment(at: int) -> datetime:
    """Return µs since the epoch as a UTC datetime."""
    return EPOCH + timedelta(microseconds=at)


def span(seconds: float | None) -> str:
    """Return a duration as `85 ms`, `4.2 s`, `3m 20s`, `2h 05m`, `3d 4h`."""
    if seconds is None or math.isnan(seconds):
        return MISSING
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02}s"
    if whole < 86_400:
        return f"{whole // 3600}h {whole % 3600 // 60:02}m"
    return f"{whole // 86_400}d {whole % 86_400 // 3600}h"


def risk_word(score: float) -> str:
    """Return the name of a risk score of 0 to 100."""
    return next(word for bound, word in RISK_WORDS if score < bound)


def decimals_of(prices: list[float]) -> int:
    """Return how many decimals the given exchange prices use, at least two: the symbol's tick, as far as seen."""
    used = 2
    for value in prices:
        fraction = f"{value:.{MAX_DECIMALS}f}".rstrip("0").partition(".")[2]
        used = max(used, len(fraction))
    return used
