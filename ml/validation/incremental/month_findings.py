"""What a suite found in some months of one symbol: kept by month, put together again for the whole history."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from ml.validation import engine
from ml.validation.engine import Finding

MONTH = len("2026-01")


@dataclass(frozen=True)
class Found:
    """What was asked, how many rows of which days there are, and what did not hold."""

    expectations: int = 0
    days: Mapping[str, int] = field(default_factory=dict)  # rows
    findings: tuple[Finding, ...] = ()
    outages: Mapping[str, int] = field(default_factory=dict)  # of each day, windows within declared ones
    times: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # of each month its first and its last time, µs

    @classmethod
    def of(cls, frames: Mapping[str, pd.DataFrame], run: engine.Run) -> Found:
        """Return what a run over frames found."""
        rows, by_day = frames["rows"], frames["days"]
        outages = {}
        if "declared" in by_day:
            lacking = by_day[by_day["declared"] > 0]
            outages = dict(zip(lacking["day"].astype(str), lacking["declared"].astype(int).tolist(), strict=True))
        counts = rows["day"].astype(str).value_counts().sort_index()
        at = rows["opened_at" if "opened_at" in rows else "traded_at"].to_numpy(np.int64)
        return cls(
            run.expectations,
            dict(zip(counts.index.tolist(), counts.tolist(), strict=True)),
            run.findings,
            outages,
            _extents(rows["day"].astype(str).str[:MONTH].to_numpy(str), at),
        )

    def within(self, months: Collection[str]) -> Found:
        """Return what is of these months."""
        some = (_within(one, months) for one in self.findings)
        return replace(
            self,
            days=_of(self.days, months),
            findings=tuple(one for one in some if one.days),
            outages=_of(self.outages, months),
            times=_of(self.times, months),
        )


def joined(parts: Iterable[Found], order: Sequence[tuple[str, str, str]]) -> Found:
    """Return what parts of different months found as one; `order` of expectation, columns and severity is the suite's.

    Findings of columns that a parameter names come last.
    """
    whole, findings = Found(), dict[tuple[str, str, str], Finding]()
    for part in parts:
        for one in part.findings:
            key = key_of(one)
            before = findings.get(key, replace(one, days={}, firsts={}))
            findings[key] = replace(before, days={**before.days, **one.days}, firsts={**before.firsts, **one.firsts})
        whole = Found(
            max(whole.expectations, part.expectations),
            {**whole.days, **part.days},
            (),
            {**whole.outages, **part.outages},
            {**whole.times, **part.times},
        )
    place = {key: number for number, key in reversed(list(enumerate(order)))}
    ordered = sorted(findings.values(), key=lambda one: place.get(key_of(one), len(order)))
    return replace(whole, findings=tuple(replace(one, days=dict(sorted(one.days.items()))) for one in ordered))


def key_of(finding: Finding) -> tuple[str, str, str]:
    """Return what tells findings of a suite apart."""
    return finding.expectation, finding.column, finding.severity


def _within(finding: Finding, months: Collection[str]) -> Finding:
    return replace(finding, days=_of(finding.days, months), firsts=_of(finding.firsts, months))


def _of(values: Mapping[str, Any], months: Collection[str]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key[:MONTH] in months}


def _extents(months: Any, at: Any) -> dict[str, tuple[int, int]]:
    return {str(month): (int(at[months == month].min()), int(at[months == month].max())) for month in np.unique(months)}
