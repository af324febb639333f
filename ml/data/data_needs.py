"""How many candles of a symbol each kind of model needs before it can be trained at all: what a person is told who has fewer.

The numbers follow from the features' reach, the labels' and the split's gaps; a test holds them to the models, which are not
imported here because that takes seconds.
"""

from __future__ import annotations

from quantstream.core.time import DAY, SCORED_LENGTH

NEEDED = {"anomaly": 436, "signal": 559, "forecast": 8_360, "risk": 8_918}  # uninterrupted 5m candles of one symbol
PER_DAY = DAY // SCORED_LENGTH


def shortfall(candles: int) -> str:
    """Return in a sentence which models cannot learn from so many candles of a symbol; empty when all can."""
    lacking = [kind for kind, needed in NEEDED.items() if candles < needed]
    if not lacking:
        return ""
    who = "no model can learn" if len(lacking) == len(NEEDED) else f"{_and(lacking)} cannot learn"
    needs = ", ".join(f"{kind} {NEEDED[kind]:,} ({NEEDED[kind] / PER_DAY:.1f} days)" for kind in lacking)
    return f"{who} from {candles:,} candles of 5 minutes ({candles / PER_DAY:.1f} days); needed are for {needs}"


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
