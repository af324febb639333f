"""Which version of each model has which alias: since when, why and by whose word, as the record of decisions has it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import msgspec

from ml.promotion import turns
from ml.promotion.decisions import SERVES, Change, Decision
from ml.promotion.service_times import Term, terms
from ml.promotion.turns import Undecided
from quantstream.messages.models import MODEL_NAMES

ALIASES = ("champion", "challenger", "previous", "reference")
MOVED_BY = {"challenger": (Change.CHALLENGER,), "reference": (Change.REFERENCE,)}  # else by what makes a version serve
UNRECORDED = "no decision on record says why; `models_promote` notes what it finds"


class Aliases(turns.Listed, Protocol):
    """The registry, as far as this needs it."""

    def alias_version(self, name: str, alias: str) -> str | None:
        """Return the version behind an alias. Raises: Unavailable."""


@dataclass(frozen=True)
class Holder:
    """The version that an alias names."""

    version: str
    since: datetime | None  # by our clock; None where no decision on record says
    why: str
    by: str


@dataclass(frozen=True)
class Standing:
    """One registered model: who has which alias, and the last decisions on it, the newest first."""

    model: str
    holders: Mapping[str, Holder] = field(default_factory=dict)
    decisions: Sequence[Decision] = ()
    terms: Mapping[tuple[object, ...], Term] = field(default_factory=dict)  # by the key of the decision that began it
    undecided: Sequence[Undecided] = ()  # versions that were never judged, or are being judged


def standings(registry: Aliases, decided: Sequence[Decision], last: int, now: float) -> list[Standing]:
    """Return all models as they stand `now` (seconds since the epoch); `decided` is the record, the oldest first.

    Raises: Unavailable when the registry does not answer.
    """
    return [_standing(registry, name, [one for one in decided if one.model == name], last, now) for name in MODEL_NAMES]


def as_json(found: Sequence[Standing]) -> str:
    """Return models as one JSON object by name."""
    return json.dumps({one.model: _fields(one) for one in found}, indent=1)


def as_text(found: Sequence[Standing]) -> str:
    """Return models as lines for people."""
    return "\n".join(line for one in found for line in _lines(one))


def decision_fields(decision: Decision, term: Term | None = None) -> dict[str, Any]:
    """Return a decision as JSON has it, its evidence as an object; `term` is the one that it began."""
    fields = {**msgspec.to_builtins(decision), "evidence": json.loads(decision.evidence)}
    if term is None:
        return fields
    until = term.until.isoformat() if term.until is not None else None
    return {**fields, "serves": term.ended is None, "served_until": until}


def decision_line(decision: Decision, term: Term | None) -> str:
    """Return a decision in one line, with the end of the term that it began."""
    return str(decision) if term is None else f"{decision}; {term}"


def _standing(registry: Aliases, name: str, decided: Sequence[Decision], last: int, now: float) -> Standing:
    versions = {alias: registry.alias_version(name, alias) for alias in ALIASES}
    holders = {alias: _holder(alias, version, decided) for alias, version in versions.items() if version is not None}
    left = turns.undecided(registry, name, now)
    return Standing(name, holders, list(reversed(decided))[:last], terms(decided), left)


def _holder(alias: str, version: str, decided: Sequence[Decision]) -> Holder:
    for one in reversed(decided):
        whose = one.before if alias == "previous" else one.version
        if one.change in MOVED_BY.get(alias, SERVES) and whose == version:
            return Holder(version, one.decided_at, one.why, one.by)
    return Holder(version, None, UNRECORDED, "")


def _fields(one: Standing) -> dict[str, Any]:
    holders = {alias: msgspec.to_builtins(one.holders[alias]) if alias in one.holders else None for alias in ALIASES}
    left = [{"version": each.version, "why": each.why} for each in one.undecided]
    decided = [decision_fields(each, one.terms.get(each.key)) for each in one.decisions]
    return {**holders, "undecided": left, "decisions": decided}


def _lines(one: Standing) -> list[str]:
    lines = [one.model]
    for alias in ALIASES:
        holder = one.holders.get(alias)
        if holder is None:
            lines += ["  champion    none: nothing serves"] if alias == "champion" else []
            continue
        since = f"since {holder.since:%Y-%m-%d %H:%M} UTC" if holder.since else "since when is not on record"
        by = f", by {holder.by}" if holder.by else ""
        lines.append(f"  {alias:<11} {holder.version}  {since}{by}: {holder.why}")
    lines += [f"  undecided   {each.version}  {each.why}" for each in one.undecided]
    return lines + [f"    {decision_line(each, one.terms.get(each.key))}" for each in one.decisions]
