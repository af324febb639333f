"""What is to be done of a model that serves, from what is known of it: nothing, a way back, a new training. Pure.

The rule. A champion whose loss over the newest day is beyond what a day may come to by chance, after what it promised at its
registration, is *worse than promised*. The version that served before takes its place if it would have been significantly
better on the same candles, loads here, and was not itself taken out of service; otherwise the market is another one, and a new
training is asked for. Drift asks for one, too, where the evidence of it is as much as comes about by chance with a bounded
probability, however often one looks (`ml.monitoring.blocks`), and so does an alarm rate beyond the gate's bound. For the same
reason nothing is asked for again within a day of candles, and a version is judged by what it scored since it came to serve: so
neither a way back nor a training follows itself for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import isfinite

from ml.monitoring.blocks.kept_blocks import Evidence
from ml.monitoring.drift import Shift
from ml.promotion.decisions import Change, Decision

FEWEST = 260  # candles since it came to serve, or since a training was asked for: a day, but for gaps
LOSS, DRIFT, ALARMS = "loss", "drift", "alarms"  # what is found, the reasons of a training
SHOWN = 3  # features that a sentence names


class Act(StrEnum):
    """What is to be done."""

    NOTHING = "nothing"
    ROLL_BACK = "roll back"
    TRAIN = "train"


@dataclass(frozen=True)
class Figures:
    """A champion's loss over the newest day, its lower bound, and what it promised: the loss, and what a day may come to."""

    candles: int
    loss: float
    low: float
    promised: float
    bound: float


@dataclass(frozen=True)
class Better:
    """By how much the previous version's loss would have been lower on the same candles, with its lower bound."""

    version: str
    gain: float
    low: float


@dataclass(frozen=True)
class Known:
    """All that is known of one model that serves; None and empty where it is not."""

    model: str
    version: str
    figures: Figures | None = None
    previous: Better | None = None
    drifted: Sequence[Shift] = ()  # which features and outputs are others today, where `evidence` is an alarm
    evidence: Evidence | None = None  # of drift
    alarms: float = float("nan")  # of 100,000 trades
    since_asked: Mapping[str, int] = field(
        default_factory=dict
    )  # by reason: candles scored since a training was asked for
    decisions: Sequence[Decision] = ()  # on this model, the oldest first
    most_alarms: float = float("inf")  # that are bearable


@dataclass(frozen=True)
class Verdict:
    """What is to be done, why, in sentences, and what was found, done or not: `LOSS`, `DRIFT`, `ALARMS`."""

    act: Act
    why: str = ""
    found: tuple[str, ...] = ()


def is_worse(figures: Figures | None) -> bool:
    """Tell whether a champion is significantly worse than it promised."""
    if figures is None or figures.candles < FEWEST or not isfinite(figures.bound):
        return False
    return figures.loss > figures.bound and figures.low > figures.promised


def was_taken_out(decisions: Sequence[Decision], version: str) -> bool:
    """Tell whether a version was rolled back from since it was last promoted: it is known to be no better."""
    last = [one for one in decisions if one.change in (Change.PROMOTED, Change.FOUND) and one.version == version]
    since = last[-1].decided_at if last else None
    out = [one for one in decisions if one.change is Change.ROLLED_BACK and one.before == version]
    return any(since is None or one.decided_at > since for one in out)


def is_way_back(previous: Better, decisions: Sequence[Decision]) -> bool:
    """Tell whether the version before would surely have been better, and was not itself taken out of service."""
    return previous.low > 0 and not was_taken_out(decisions, previous.version)


def verdict(known: Known) -> Verdict:
    """Return what is to be done."""
    said = {
        LOSS: _loss(known.figures),
        DRIFT: _drift(known.evidence, known.drifted),
        ALARMS: _alarms(known.alarms, known.most_alarms),
    }
    found = tuple(reason for reason, text in said.items() if text)
    why = "; ".join(said[reason] for reason in found)
    if not found:
        return Verdict(Act.NOTHING)
    previous = known.previous
    if LOSS in found and previous is not None and is_way_back(previous, known.decisions):
        back = f"version {previous.version} would have lost {previous.gain:.3g} less on the same candles"
        return Verdict(Act.ROLL_BACK, f"{why}; {back}", found)
    asked = [known.since_asked.get(reason, FEWEST) for reason in found]
    if max(asked) < FEWEST:
        waits = f"a training was asked for {max(asked)} candles ago, the next at the earliest {FEWEST} after it"
        return Verdict(Act.NOTHING, f"{why}; {waits}", found)
    return Verdict(Act.TRAIN, why, found)


def _loss(figures: Figures | None) -> str:
    if figures is None or not is_worse(figures):
        return ""
    return (
        f"live loss {figures.loss:.4g} over {figures.candles} candles, {figures.promised:.4g} was promised and "
        f"{figures.bound:.4g} may come of a day by chance"
    )


def _drift(evidence: Evidence | None, drifted: Sequence[Shift]) -> str:
    if evidence is None or not evidence.is_alarm:
        return ""
    more = f" and {len(drifted) - SHOWN} more" if len(drifted) > SHOWN else ""
    which = f"{', '.join(map(str, drifted[:SHOWN]))}{more}" if drifted else f"{evidence.farthest} before all"
    return f"drift of {which}: {evidence}"


def _alarms(rate: float, bearable: float) -> str:
    return f"{rate:.0f} alarms in 100,000 trades, {bearable:.0f} are bearable" if rate > bearable else ""
