"""The condition of one symbol on one day: whole, degraded, pending or missing, and why, in words.

A day counts the windows of all intervals that should be there: from the symbol's first candle on, up to an hour before the
exchange's clock; what is younger may be on its way.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from quantstream.core.accounts import Account
from quantstream.core.time import DAY, HOUR, window_start

LEAST_TRADES_DAYS = 8  # of trades that are kept: proofs look back a week for the price before a day
ON_ITS_WAY = HOUR  # µs of the market: younger candles are not missed yet
Condition = Literal["whole", "degraded", "pending", "missing"]
COUNTS = ("equal", "different", "missing", "duplicate", "incomplete", "unproved", "trades", "missing_trades")


class DayProof(msgspec.Struct):
    """The counts of a symbol on the day that begins at `day`, µs; all intervals together."""

    symbol: str
    day: int
    equal: int = 0
    different: int = 0
    missing: int = 0
    duplicate: int = 0
    incomplete: int = 0
    unproved: int = 0
    pending: int = 0
    corrected: int = 0  # candles whose newest revision is not the first
    trades: int = 0
    missing_trades: int = 0
    is_over: bool = True

    @property
    def found(self) -> int:
        """How many candles the day has."""
        return self.equal + self.different + self.incomplete + self.unproved

    @property
    def candles(self) -> int:
        """How many candles the day should have."""
        return self.found + self.missing + self.pending

    def judged(self, trouble: str = "") -> tuple[Condition, str]:
        """Return the condition and the reason; `trouble` is what is wrong with the accounts."""
        if self.missing and not self.found and not self.trades:
            return "missing", f"none of {self.missing} candles is there" + (f"; {trouble}" if trouble else "")
        wrong = (
            (self.missing, f"of {self.candles} candles are missing"),
            (self.different, "candles differ from their trades or from the exchange's klines"),
            (self.duplicate, "rows are there twice"),
            (self.incomplete, "candles are incomplete"),
            (self.missing_trades, "ids of trades are missing"),
        )
        why = [f"{count} {text}" for count, text in wrong if count] + ([trouble] if trouble else [])
        if why:
            return "degraded", "; ".join(why)
        open_ = [f"candles on their way: {self.pending}"] if self.pending else []
        open_ += [f"candles that nothing could be compared with: {self.unproved}"] if self.unproved else []
        open_ += [] if self.is_over else ["the day is not over"]
        return ("pending", "; ".join(open_)) if open_ else ("whole", "")


def expected(day: int, covered_to: int, horizon: int, lengths: list[int]) -> tuple[int, int]:
    """Return how many windows of a day after `covered_to` are missing, and how many may be on their way, at `horizon` (µs)."""
    missing = pending = 0
    for length in lengths:
        begin, end = max(day, covered_to), min(day + DAY, window_start(horizon, length))
        due = max(begin, min(end, window_start(horizon - ON_ITS_WAY, length)))
        missing += max(0, due - begin) // length
        pending += max(0, end - due) // length
    return missing, pending


def account_trouble(account: Account | None, rows: int) -> str:
    """Return what is wrong with the sink's account of a symbol of which the table holds `rows`; nothing without accounts."""
    if account is None:
        return ""
    if not account.closes:
        return f"the sink's account does not close: {account}"
    if account.stored != rows:
        return f"the table holds {rows} rows, the sink has stored {account.stored}"
    return ""
