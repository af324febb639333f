"""Challengers in the shadow, judged: each that earned it is promoted, each that did not in time leaves.

Done twice it does the same once: an alias that has moved is not moved again, and a decision whose record is not written yet is
written first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from ml.promotion.decisions import Change, Decision, decisions_of
from ml.promotion.moves import Moves
from ml.promotion.realised import paired
from ml.promotion.shadow import Rule, Ruling, Verdict, rule_on
from ml.serving.registry import CHALLENGER, CHAMPION
from quantstream.core.time import DAY, SCORED_LENGTH
from quantstream.lake.store import Lake
from quantstream.messages.models import MODEL_NAMES

log = logging.getLogger(__name__)
A_DAY = DAY // SCORED_LENGTH  # candles


@dataclass(frozen=True)
class Trial:
    """A challenger, the champion it is held against, and what is to become of it."""

    model: str
    version: str
    champion: str  # empty where none serves
    ruling: Ruling

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{self.model} {self.version}: {self.ruling.verdict.value}, {self.ruling.why}"


def judged(
    moves: Moves, lake: Lake, rule: Rule, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> list[Trial]:
    """Complete the record, and return every challenger with what is to become of it; none is promoted or let go yet.

    Raises: Unavailable.
    """
    for decision in moves.settle():
        log.info("written late: %s", decision)
    trials = [trial for name in MODEL_NAMES if (trial := _trial(moves, lake, name, rule, now())) is not None]
    for trial in trials:
        log.info("%s", trial)
    return trials


def act(moves: Moves, trial: Trial) -> Decision | None:
    """Move the alias as was ruled; None where the challenger waits or is none any more, or another champion serves than then.

    Raises: Unavailable, ModelRejected.
    """
    found = (
        moves.registry.alias_version(trial.model, CHALLENGER),
        moves.registry.alias_version(trial.model, CHAMPION) or "",
    )
    if found != (trial.version, trial.champion):
        return None
    does = {Verdict.PROMOTED: moves.promote, Verdict.EXPIRED: moves.expire}.get(trial.ruling.verdict)
    return does(trial.model, trial.version, trial.ruling.why, trial.ruling.evidence) if does else None


def agreed(trial: Trial, why: str) -> Trial:
    """Return a trial whose promotion a person has agreed to, with what they said of it."""
    told = f"{trial.ruling.why}; a person agreed" + (f": {why}" if why else "")
    return replace(trial, ruling=replace(trial.ruling, why=told))


def decline(moves: Moves, trial: Trial, why: str) -> Decision | None:
    """Let a challenger leave that a person would not promote.

    Raises: Unavailable, ModelRejected.
    """
    ruling = Ruling(Verdict.EXPIRED, f"{why}; {trial.ruling.why}", trial.ruling.evidence)
    return act(moves, Trial(trial.model, trial.version, trial.champion, ruling))


def as_fields(trial: Trial) -> dict[str, Any]:
    """Return a trial as plain values: what one task of a pipeline hands to the next."""
    ruling = trial.ruling
    return {
        "model": trial.model,
        "version": trial.version,
        "champion": trial.champion,
        "verdict": ruling.verdict.value,
        "why": ruling.why,
        "evidence": dict(ruling.evidence),
    }


def of_fields(fields: Mapping[str, Any]) -> Trial:
    """Return the trial of such values."""
    ruling = Ruling(Verdict(fields["verdict"]), fields["why"], fields["evidence"])
    return Trial(fields["model"], fields["version"], fields["champion"], ruling)


def _trial(moves: Moves, lake: Lake, name: str, rule: Rule, now: datetime) -> Trial | None:
    version = moves.registry.alias_version(name, CHALLENGER)
    if version is None:
        return None
    champion = moves.registry.alias_version(name, CHAMPION) or ""
    if not champion:
        return Trial(name, version, "", Ruling(Verdict.PROMOTED, "nothing serves: it does from now on"))
    if not rule.windows:
        return Trial(name, version, champion, Ruling(Verdict.PROMOTED, "no time in the shadow is asked for"))
    back = max(rule.longest, timedelta(days=2 * -(-rule.windows // A_DAY)))
    pairs = paired(lake, name, version, champion, back)
    return Trial(name, version, champion, rule_on(pairs, rule, now - _since(moves, lake, name, version)))


def _since(moves: Moves, lake: Lake, name: str, version: str) -> datetime:
    """Return when a version came into the shadow; where nobody recorded it, that is done, and its time begins."""
    found = [one for one in decisions_of(lake, name) if one.change is Change.CHALLENGER and one.version == version]
    if not found:
        why = "the alias challenger was moved by other means than QuantStream's"
        found = [moves.challenge(name, version, why)]
    return found[-1].decided_at
