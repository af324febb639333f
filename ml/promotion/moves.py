"""The only way an alias moves: the version says why, the alias points to it, the live side is told, and the lake records it.

In this order, so that whoever dies on the way leaves nothing unsaid: `settle` finishes the record.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ml.promotion import decisions
from ml.promotion.decisions import Change, Decision
from ml.serving.descriptions import DECISION
from ml.serving.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry
from quantstream.core.errors import ModelRejected, Unavailable
from quantstream.messages.models import MODEL_NAMES

log = logging.getLogger(__name__)
Announce = Callable[[Decision], None]  # of what moved an alias, to the live stages and to operators; never raises


def _nobody(decision: Decision) -> None:
    """Announce to nobody: the live stages look at the registry every few seconds anyway."""


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

    def settle(self) -> list[Decision]:
        """Write what the registry says and the lake does not: decisions whose writer died, and aliases moved by other means."""
        lacking = self._write_tagged()
        found = lacking + [one for name in MODEL_NAMES for one in self._found(name)]
        for name in MODEL_NAMES:  # of a promotion whose writer died after the champion's alias had moved
            if (champion := self.registry.alias_version(name, CHAMPION)) is not None:
                self._leave_the_shadow(name, champion)
        return found

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
        return lacking

    def _finish(self, lacking: Sequence[Decision]) -> None:
        """Move the aliases of decisions whose writer died before they moved, where nothing else has been decided since."""
        known = sorted([*decisions.decisions_of(self.lake), *lacking], key=lambda one: one.key)
        newest = {one.model: one for one in known if one.change in SERVES}
        for one in lacking:
            champion = self.registry.alias_version(one.model, CHAMPION) or ""
            if newest.get(one.model) is one and champion == one.before:
                self._move(one, champion)

    def _found(self, name: str) -> list[Decision]:
        """What shows that no decision made a champion one; another process may be about to write one that did."""
        champion, known = self._serving(name)
        if champion in (None, known):
            return []
        late = [one for one in self._write_tagged() if one.model == name]
        champion, known = self._serving(name)
        if champion is None or champion == known:
            return late
        why = "the alias champion was moved by other means than QuantStream's; `quantstream models` records a reason"
        found = Decision(self.now(), name, champion, Change.FOUND, known, self.by, why)
        decisions.write(self.lake, [found])
        self._announce(found)
        return [*late, found]

    def _serving(self, name: str) -> tuple[str | None, str]:
        """Return the version that serves by the registry, and by the decisions."""
        serving = [one for one in decisions.decisions_of(self.lake, name) if one.change in SERVES]
        return self.registry.alias_version(name, CHAMPION), serving[-1].version if serving else ""

    def _announce(self, decision: Decision) -> None:
        if decision.change in MOVING:
            self.announce(decision)

    def _decide(
        self, name: str, version: str, change: Change, why: str, evidence: Mapping[str, Any] | None = None
    ) -> Decision:
        champion = self.registry.alias_version(name, CHAMPION) or ""
        decision = Decision(
            self.now(), name, str(version), change, champion, self.by, why, json.dumps(dict(evidence or {}))
        )
        self.registry.tag(name, decision.version, f"{DECISION}.{change.name.lower()}", decisions.encoded(decision))
        self._move(decision, champion)
        log.info("%s", decision)
        self._announce(decision)  # before the record, which may take seconds, or come later by `settle`
        try:
            decisions.write(self.lake, [decision])
        finally:
            self._describe(decision)
        return decision

    def _describe(self, decision: Decision) -> None:
        """Bring the registry's pages up to date; that they could not be is no reason to decide otherwise."""
        try:
            self.registry.describe(decision.model, decision.version)
        except (Unavailable, ModelRejected) as error:
            log.warning("the registry's description is behind: %s", error, extra={"model": decision.model})

    def _move(self, decision: Decision, champion: str) -> None:
        """Each step may be repeated; `previous` is set before the champion moves, so that there is a way back at any instant."""
        name, version = decision.model, decision.version
        if decision.change is Change.CHALLENGER:
            self.registry.set_alias(name, CHALLENGER, version)
        if decision.change in MOVES_CHAMPION and champion != version:
            if champion:
                self.registry.set_alias(name, PREVIOUS, champion)
            self.registry.set_alias(name, CHAMPION, version)
        if decision.change in (Change.PROMOTED, Change.EXPIRED):
            self._leave_the_shadow(name, version)

    def _leave_the_shadow(self, name: str, version: str) -> None:
        if self.registry.alias_version(name, CHALLENGER) == version:
            self.registry.remove_alias(name, CHALLENGER)


MOVING = (Change.CHALLENGER, Change.PROMOTED, Change.EXPIRED, Change.ROLLED_BACK, Change.FOUND)  # that move an alias
MOVES_CHAMPION = (Change.PROMOTED, Change.ROLLED_BACK)
SERVES = (Change.PROMOTED, Change.ROLLED_BACK, Change.FOUND)
