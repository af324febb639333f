"""From when to when each version served, as the record of decisions has it: pure, of decisions in order of time.

A decision says what was decided; whether it still holds, the later ones say. A version gives way to the next one that comes to
serve; where another one served by then, the record does not know until when it did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ml.promotion.decisions import SERVES, Change, Decision


@dataclass(frozen=True)
class Term:
    """One time in which a version served."""

    began: Decision
    ended: Decision | None = None  # by which another version came to serve; None while it serves

    @property
    def until(self) -> datetime | None:
        """Until when it served, as far as that is known."""
        return self.ended.decided_at if self.ended is not None and self._is_known else None

    @property
    def _is_known(self) -> bool:
        return self.ended is not None and self.ended.before == self.began.version

    def __str__(self) -> str:
        """Say how it ended, or that it did not."""
        if self.ended is None:
            return "it serves since then"
        if not self._is_known:
            other = f"version {self.ended.before}" if self.ended.before else "none"
            return f"until when it served is not on record: {other} did when {self.ended.version} came"
        how = {Change.ROLLED_BACK: "rolled back to", Change.FOUND: "found in its place"}.get(
            self.ended.change, "promoted"
        )
        return (
            f"it served until {self.ended.decided_at:%Y-%m-%d %H:%M} UTC, when version {self.ended.version} was {how}"
        )


def ended(decided: Sequence[Decision]) -> dict[tuple[str, str], Decision]:
    """Return of each model's version that served and gave way, for all that is known, the decision by which it last did."""
    last = {(one.began.model, one.began.version): one for one in terms(decided).values()}
    return {key: one.ended for key, one in last.items() if one.ended is not None and one.until is not None}


def terms(decided: Sequence[Decision]) -> dict[tuple[object, ...], Term]:
    """Return the term that each decision began, by the decision's key; `decided` may be of many models."""
    found: dict[tuple[object, ...], Term] = {}
    serving: dict[str, Decision] = {}
    for one in decided:
        if one.change not in SERVES:
            continue
        before = serving.get(one.model)
        if before is not None and before.version == one.version:
            continue  # it was confirmed, and its term goes on
        if before is not None:
            found[before.key] = Term(before, one)
        serving[one.model] = one
        found[one.key] = Term(one)
    return found
