"""What a validation found in one symbol's rows of a table, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ml.validation.engine import Finding

Outcome = Literal["passed", "short", "held"]


@dataclass(frozen=True)
class Report:
    """What a validation found in one symbol's rows of a table, and what follows; times are ISO 8601."""

    table: str
    symbol: str
    outcome: Outcome  # held: days came into quarantine just now
    is_enough: bool  # what is not held is enough to learn from
    rows: int
    usable_rows: int
    days: int
    first: str
    last: str
    table_version: int
    checked_at: str
    run: str
    expectations: int
    findings: tuple[Finding, ...]
    held: Mapping[str, str]  # every day that is held, and why
    newly_held: tuple[str, ...]
    released: tuple[str, ...]
    outages: Mapping[str, int]  # of each day with a declared outage, how many windows it lacks for that
    data_docs: str
    months: int = 0  # of the history, where what was checked before and has not changed since counts
    months_anew: int = 0  # of them, those that were read by this run

    def __str__(self) -> str:
        """Say it in one sentence."""
        what = f"{self.symbol} {self.table}"
        if self.newly_held:
            first = self.newly_held[0]
            more = f", and {len(self.newly_held) - 1} days more" if len(self.newly_held) > 1 else ""
            return f"{what}: {first} is in quarantine{more}: {self.held[first]}; see {self.data_docs}"
        if self.outcome == "short":
            return f"{what}: {self.usable_rows} rows are too few to learn from, nothing is wrong with them"
        held = f", {len(self.held)} days of them in quarantine" if self.held else ""
        let_out = f", {len(self.released)} released" if self.released else ""
        outages = f", {sum(self.outages.values())} windows within declared outages" if self.outages else ""
        known = f", {self.months_anew} of {self.months} months read anew" if self.months_anew < self.months else ""
        warned = sum(not one.is_critical for one in self.findings)
        warnings = f", {warned} warnings" if warned else ""
        asked = f"{self.expectations} expectations{warnings}"
        return f"{what}: {self.rows} rows of {self.days} days{held}{let_out}{outages}{known}, {asked}"
