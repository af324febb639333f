"""What MLflow's pages say of our models to a newcomer: which serves, since when, trained on what, judged how, and why.

Pure text (Markdown) from what the registry knows: aliases, tags and figures. A description is written anew from these whenever
something was decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from ml.metric_words import words
from quantstream.messages.models import MODEL_KINDS, registered_name

WHAT = {
    "forecast": "Quantiles (5, 25, 50, 75 and 95 %) of the log return 5 minutes, 15 minutes and 1 hour ahead.",
    "signal": "Probabilities that the price rises or falls by a barrier within the hour, or does neither, and the action Buy, "
    "Hold or Sell that would pay after costs; beside them which way the usual hour goes.",
    "risk": "Probability that the coming hour moves abnormally: more than nine in ten hours of the month before.",
    "anomaly": "How strange a trade is (a fat finger?) and how novel a candle is, by isolation forests.",
}
SHOWN = {
    "forecast": ("pinball_bp", "pinball_skill", "coverage_90_1h"),
    "signal": ("log_loss", "log_loss_logistic", "ece", "rank_ic_1h", "hold_share"),
    "risk": ("brier", "brier_har", "brier_skill", "auc", "ece"),
    "anomaly": ("fat_finger_recall", "false_alarms_per_100k", "novel_share"),
}
ALIASES = {
    "champion": "**serves now**",
    "challenger": "scores in the champion's shadow, recorded and not shown as advice",
    "previous": "served before, and serves again after a rollback",
    "reference": "the best champion so far: what the gate holds new versions against beside the champion",
}
LENGTH = 4_500  # characters; MLflow keeps 5,000
KINDS = {registered_name(kind): kind for kind in MODEL_KINDS}
UNKNOWN = "not recorded"
T = TypeVar("T", bound=msgspec.Struct)


DECISION = "decision"  # how the tags begin that carry decisions: `ml.promotion.moves` sets one for each kind of change
ENDED = "served_until"  # tag of a version that gave way to another one
SERVING = ("promoted", "rolled back", "found")  # decisions by which a version comes to serve
ASIDE = "reference"  # the decision that changes nothing of what a version does


class Decided(msgspec.Struct, frozen=True):
    """The last decision on a version, as its tag has it (`ml.promotion.decisions.Decision`)."""

    decided_at: datetime
    change: str
    by: str
    why: str
    before: str = ""


class Ended(msgspec.Struct, frozen=True):
    """When a version gave way to another one, as its tag has it."""

    at: datetime
    version: str  # which took its place
    change: str  # by which decision


def ended(at: datetime, version: str, change: str) -> str:
    """Return the tag of a version that gave way to another one."""
    return msgspec.json.encode(Ended(at, version, str(change))).decode()


def gave_way(text: str) -> tuple[datetime, str] | None:
    """Return when, and to which version, a version gave way by such a tag; None where it is none."""
    found = _read(text, Ended)
    return None if found is None else (found.at, found.version)


def _read(text: str, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


@dataclass(frozen=True)
class Facts:
    """What the registry knows of one version."""

    name: str
    version: str
    registered_at: int  # ms
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    run: str = ""  # address of its run's page, from the page's own root

    @property
    def decided(self) -> Decided | None:
        """The last decision, None where none was recorded; that it became the reference changes nothing of what it does."""
        tagged = [_read(text, Decided) for key, text in self.tags.items() if key.startswith(DECISION)]
        found = [one for one in tagged if one is not None and one.change != ASIDE]
        return max(found, key=lambda one: one.decided_at, default=None)

    @property
    def ended(self) -> Ended | None:
        """When it gave way to another version, None where it serves, or never did."""
        found, decided = _read(self.tags.get(ENDED, ""), Ended), self.decided
        if found is None or (decided is not None and decided.change in SERVING and decided.decided_at > found.at):
            return None
        return found

    @property
    def since(self) -> datetime:
        """Since when it stands where it stands: the last decision, or its registration where none was recorded."""
        return (
            self.decided.decided_at
            if self.decided is not None
            else datetime.fromtimestamp(self.registered_at / 1000, UTC)
        )


def of_version(facts: Facts) -> str:
    """Return the description of a version."""
    kind = KINDS.get(facts.name, "")
    made_by, hashes = (
        facts.tags.get("code", UNKNOWN),
        [facts.tags.get(key, UNKNOWN) for key in ("feature_hash", "model_digest")],
    )
    lines = [
        " ".join(
            [_decision(facts.decided), *_until(facts.ended)]
        ),  # first, and plain: the table of versions shows how a description begins
        f"**What it is.** {WHAT.get(kind, facts.name)}",
        f"**Trained on.** {_trained(facts)}",
        f"**Judged.** {_judged(facts, kind)}",
        f"**Made by** {made_by}; definitions of its features {hashes[0]}; checksum of its files {hashes[1][:19]}.",
    ]
    if facts.run:
        lines.append(
            f"[The report with all figures and plots]({facts.run}) (`report.html`), `evaluation.json` beside it."
        )
    return _short(lines)


def of_model(name: str, aliased: Mapping[str, Facts]) -> str:
    """Return the description of a registered model, from the versions that its aliases point to."""
    kind = KINDS.get(name, "")
    lines = [f"**What it is.** {WHAT.get(kind, name)}"]
    serving = aliased.get("champion")
    if serving is None:
        lines.append("**No version serves.** The first one that passes the gate will.")
    else:
        lines += [
            f"**Serving now: version {serving.version}, since {serving.since:%Y-%m-%d %H:%M} UTC.**",
            f"**Why it serves.** {_why(serving.decided)}",
            f"**Trained on.** {_trained(serving)}",
            f"**Judged.** {_judged(serving, kind)}",
        ]
    rest = [
        f"- `{alias}`: version {facts.version}, {ALIASES[alias]}"
        for alias, facts in aliased.items()
        if alias in ALIASES
    ]
    lines.append("**Aliases**\n" + "\n".join(rest) if rest else "No alias points to a version.")
    lines.append(
        "Every version's own description says what was decided of it; all decisions ever: `quantstream models`."
    )
    return _short(lines)


def _decision(decided: Decided | None) -> str:
    if decided is None:
        return "No decision yet: it was registered, and the gate has not spoken."
    instead = f", instead of version {decided.before}" if decided.before and decided.change == "promoted" else ""
    return f"{decided.change.capitalize()} on {decided.decided_at:%Y-%m-%d %H:%M} UTC by {decided.by}{instead}. {decided.why}"


def _until(ended: Ended | None) -> list[str]:
    if ended is None:
        return []
    how = {"rolled back": "served again in its place", "found": "was found in its place"}
    return [
        f"It served until {ended.at:%Y-%m-%d %H:%M} UTC: version {ended.version} {how.get(ended.change, 'took its place')}."
    ]


def _why(decided: Decided | None) -> str:
    return decided.why if decided is not None else "not recorded: its alias was moved by other means."


def _trained(facts: Facts) -> str:
    told = {
        name: facts.tags.get(name, UNKNOWN)
        for name in ("trained", "features_version", "features_rows", "features_hash")
    }
    where = (
        f"version {told['features_version']} of the table `features` ({told['features_rows']} rows, "
        f"checksum {told['features_hash'][:16]})"
    )
    return (
        f"{told['trained']}; {where}, made of version {facts.tags.get('lake_version', UNKNOWN)} of the table `candles`."
    )


def _judged(facts: Facts, kind: str) -> str:
    shown = [name for name in SHOWN.get(kind, ()) if name in facts.metrics]
    figures = "; ".join(f"{words(name).words}: {words(name).value(facts.metrics[name])}" for name in shown)
    told = f"{facts.tags.get('judged', UNKNOWN)}. {figures}".rstrip(" ") + ("." if figures else "")
    return f"{told} {facts.tags.get('notes', '')}".strip()


def _short(lines: list[str]) -> str:
    text = "\n\n".join(lines)
    return text if len(text) <= LENGTH else text[: LENGTH - 1] + "…"
