"""The only way an alias moves: the version says why, the alias points to it, the live side is told, and the lake records it.

In this order, so that whoever dies on the way, or finds lake or broker away, leaves nothing unsaid for good: `settle` writes and
tells it later, perhaps once more than needed. A version whose training died
before it was judged is refused there, too.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ml.promotion import decisions, service_times, turns
from ml.promotion.decisions import SERVES, Change, Decision
from ml.serving.descriptions import DECISION, ENDED, ended, gave_way
from ml.serving.registry import CHALLENGER, CHAMPION, PREVIOUS, REFERENCE, Registry
from quantstream.core.errors import ModelRejected, Unavailable
from quantstream.messages.models import MODEL_NAMES

log = logging.getLogger(__name__)
Announce = Callable[[Decision, bool], bool]
"""Announces what moved an alias to the live stages and to operators, and tells whether it was taken; never raises.

The flag says whether it is the last decision on its model: of an earlier one only the operators are told."""
UNTOLD, TOLD = "untold", "told"  # tag of a version: a decision that the broker did not take, until it has


def _nobody(decision: Decision, is_last: bool) -> bool:
    """Announce to nobody: the live stages look at the registry every few seconds anyway."""
    return True


@dataclass
class Moves:
    """Moves of aliases at one registry, recorded in one lake. All methods raise Unavailable and ModelRejected."""

    registry: Registry
    lake: decisions.Tables
    by: str  # a pipeline's run, or who
    announce: Announce = _nobody
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def refuse(self, name: str, version: str, why: str, evidence: Mapping[str, Any] | None = None) -> Decision:
        """Record that the gate refused a version; no alias moves."""
        return self._decide(name, version, Change.REFUSED, why, evidence)

    def challenge(self, name: str, version: str, why: str, evidence: Mapping[str, Any] | None = None) -> Decision:
        """Let a version score in the champion's shadow; a challenger that was there before has expired."""
        before = self.registry.alias_version(name, CHALLENGER)
        if before is not None and before != version:
            self._decide(name, before, Change.EXPIRED, f"version {version} took its place in the shadow")
        return self._decide(name, version, Change.CHALLENGER, why, evidence)

    def promote(self, name: str, version: str, why: str, evidence: Mapping[str, Any] | None = None) -> Decision:
        """Make a version the champion; the one it replaces becomes `previous`, and it is a challenger no more."""
        return self._decide(name, version, Change.PROMOTED, why, evidence)

    def expire(self, name: str, version: str, why: str, evidence: Mapping[str, Any] | None = None) -> Decision:
        """End a challenger's time in the shadow."""
        return self._decide(name, version, Change.EXPIRED, why, evidence)

    def roll_back(self, name: str, why: str, evidence: Mapping[str, Any] | None = None) -> Decision:
        """Let the version that served before serve again.

        Raises: ModelRejected when there is none, too.
        """
        version = self.registry.alias_version(name, PREVIOUS)
        champion = self.registry.alias_version(name, CHAMPION)
        if version is None or version == champion:
            raise ModelRejected(f"{name} has no previous version to go back to; promote one by its number")
        return self._decide(name, version, Change.ROLLED_BACK, why, evidence)

    def refer(self, name: str, version: str, why: str, evidence: Mapping[str, Any] | None = None) -> Decision:
        """Make a version the reference, which the gate holds new ones against; it serves nobody by that."""
        return self._decide(name, version, Change.REFERENCE, why, evidence)

    def settle(self) -> list[Decision]:
        """Write what the registry says and the lake does not: decisions whose writer died, and aliases moved by other means.

        What a training that was killed has left is refused.
        """
        found = self._write_tagged()
        self._tell_late()
        found += [one for name in MODEL_NAMES for seen in FOUND for one in self._found(name, *seen)]
        for name in MODEL_NAMES:  # of a promotion whose writer died after the champion's alias had moved
            if (champion := self.registry.alias_version(name, CHAMPION)) is not None:
                self._leave_the_shadow(name, champion)
        self._say_who_gave_way()
        return found + [one for name in MODEL_NAMES for one in self.refuse_interrupted(name)]

    def refuse_interrupted(self, name: str) -> list[Decision]:
        """Refuse the versions whose training ended before they were judged: nobody will judge them any more."""
        now = self.now().timestamp()
        turns.drop_expired(self.registry, name, now)
        left = [one for one in turns.undecided(self.registry, name, now) if one.claim is None]
        return [self.refuse(name, one.version, one.why) for one in left]

    def _write_tagged(self) -> list[Decision]:
        """Write the decisions that versions carry and the table lacks; announce those that moved an alias."""
        tagged = [
            one
            for tags in self.registry.all_tags()
            for key, text in tags.items()
            if key.startswith(DECISION) and (one := decisions.decoded(text))
        ]
        lacking = decisions.unwritten(self.lake, tagged)
        self._finish(lacking)
        decisions.write(self.lake, lacking)
        for one in lacking:
            self._announce(one)
            self._describe(one)
        return lacking

    def _finish(self, lacking: Sequence[Decision]) -> None:
        """Move the aliases of decisions whose writer died before they moved, where nothing else has been decided since."""
        known = sorted([*decisions.decisions_of(self.lake), *lacking], key=lambda one: one.key)
        for alias, changes, *_ in FOUND:
            newest = {one.model: one for one in known if one.change in changes}
            for one in lacking:
                pointed = self.registry.alias_version(one.model, alias) or ""
                if newest.get(one.model) is one and pointed == one.before:
                    self._move(one, pointed)

    def _found(self, name: str, alias: str, changes: Sequence[Change], change: Change, why: str) -> list[Decision]:
        """What shows that no decision moved an alias; another process may be about to write one that did."""
        version, known = self._standing(name, alias, changes)
        if version in (None, known):
            return []
        late = [one for one in self._write_tagged() if one.model == name]
        version, known = self._standing(name, alias, changes)
        if version is None or version == known:
            return late
        found = Decision(self.now(), name, version, change, known, self.by, why)
        decisions.write(self.lake, [found])
        self._announce(found)
        self._describe(found)
        return [*late, found]

    def _standing(self, name: str, alias: str, changes: Sequence[Change]) -> tuple[str | None, str]:
        """Return the version that has an alias by the registry, and by the decisions."""
        moved = [one for one in decisions.decisions_of(self.lake, name) if one.change in changes]
        return self.registry.alias_version(name, alias), moved[-1].version if moved else ""

    def _announce(self, decision: Decision) -> None:
        """Announce what moved an alias; where the broker is away the version keeps it for `_tell_late`."""
        if decision.change not in MOVING or self.announce(decision, True):
            return
        key = f"{UNTOLD}.{decision.change.name.lower()}"
        try:
            self.registry.tag(decision.model, decision.version, key, decisions.encoded(decision))
        except (Unavailable, ModelRejected) as error:
            log.warning("a decision was not announced and will not be: %s", error, extra={"model": decision.model})

    def _tell_late(self) -> None:
        """Announce what the broker did not take at its time; it may be told twice, for nobody knows what became of it."""
        tagged = [
            (one, key)
            for tags in self.registry.all_tags()
            for key, text in tags.items()
            if key.startswith(UNTOLD) and (one := decisions.decoded(text))
        ]
        known = decisions.decisions_of(self.lake) if tagged else []
        newest = {one.model: one.decided_at for one in known if one.change in MOVING}
        for one, key in sorted(tagged, key=lambda each: each[0].key):
            if not self.announce(one, newest.get(one.model, one.decided_at) <= one.decided_at):
                return  # it is still away, and whoever is next would be waited for as long
            self.registry.tag(one.model, one.version, key, TOLD)

    def _decide(
        self, name: str, version: str, change: Change, why: str, evidence: Mapping[str, Any] | None = None
    ) -> Decision:
        before = self.registry.alias_version(name, REFERENCE if change is Change.REFERENCE else CHAMPION) or ""
        decision = Decision(
            self.now(), name, str(version), change, before, self.by, why, json.dumps(dict(evidence or {}))
        )
        self.registry.tag(name, decision.version, f"{DECISION}.{change.name.lower()}", decisions.encoded(decision))
        self._move(decision, before)
        log.info("%s", decision)
        self._announce(decision)  # before the record, which may take seconds, or come later by `settle`
        try:
            decisions.write(self.lake, [decision])
        finally:
            self._describe(decision)
        return decision

    def _say_who_gave_way(self) -> None:
        """Bring pages up to date that still say of a version that it serves: of older releases, or the registry was away then."""
        ends = service_times.ended(decisions.decisions_of(self.lake))
        for name in {model for model, _ in ends}:
            for one in self.registry.versions(name):
                end = ends.get((name, one.version))
                if end is not None and gave_way(one.tags.get(ENDED, "")) != (end.decided_at, end.version):
                    self._describe(end)

    def _describe(self, decision: Decision) -> None:
        """Bring the registry's pages up to date; that they could not be is no reason to decide otherwise."""
        name, before = decision.model, decision.before
        try:
            if decision.change in SERVES and before not in ("", decision.version):
                self.registry.tag(name, before, ENDED, ended(decision.decided_at, decision.version, decision.change))
                self.registry.describe(name, before)
            self.registry.describe(name, decision.version)
        except (Unavailable, ModelRejected) as error:
            log.warning("the registry's description is behind: %s", error, extra={"model": decision.model})

    def _move(self, decision: Decision, before: str) -> None:
        """Each step may be repeated; `previous` is set before the champion moves, so that there is a way back at any instant."""
        name, version = decision.model, decision.version
        if decision.change is Change.CHALLENGER:
            self.registry.set_alias(name, CHALLENGER, version)
        if decision.change is Change.REFERENCE:
            self.registry.set_alias(name, REFERENCE, version)
        if decision.change in MOVES_CHAMPION and before != version:
            if before:
                self.registry.set_alias(name, PREVIOUS, before)
            self.registry.set_alias(name, CHAMPION, version)
        if decision.change in (Change.PROMOTED, Change.EXPIRED):
            self._leave_the_shadow(name, version)

    def _leave_the_shadow(self, name: str, version: str) -> None:
        if self.registry.alias_version(name, CHALLENGER) == version:
            self.registry.remove_alias(name, CHALLENGER)


MOVING = (Change.CHALLENGER, Change.PROMOTED, Change.EXPIRED, Change.ROLLED_BACK, Change.FOUND)  # that move an alias
MOVES_CHAMPION = (Change.PROMOTED, Change.ROLLED_BACK)
BY_OTHER_MEANS = "the alias {} was moved by other means than QuantStream's"
FOUND = (  # aliases whose holder the decisions must know, by which of them, and what is written where they do not
    (CHAMPION, SERVES, Change.FOUND, f"{BY_OTHER_MEANS.format(CHAMPION)}; `quantstream models` records a reason"),
    (
        REFERENCE,
        (Change.REFERENCE,),
        Change.REFERENCE,
        f"{BY_OTHER_MEANS.format(REFERENCE)}, or by a release that did not record it",
    ),
)
