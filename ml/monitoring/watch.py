"""One look at the models that serve: outcomes joined, figures, drift, and what follows, on the record.

What cannot be known of one model (a version without a promise, features that are gone) is said and holds no other up.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any

from ml.calendar.stored import take_up
from ml.monitoring import joining
from ml.monitoring.blocks import kept_blocks as blocks
from ml.monitoring.blocks.kept_blocks import Evidence
from ml.monitoring.comparison import previous_on_the_same
from ml.monitoring.drift import Shift
from ml.monitoring.feature_drift import READ_BY, feature_shifts
from ml.monitoring.figures_table import keep
from ml.monitoring.hindsight import some
from ml.monitoring.live_metrics import Day, Live, Version, alarm_rate, newest_day
from ml.monitoring.output_drift import output_shifts
from ml.monitoring.promise import JUDGED, KINDS, Promise, promise_of
from ml.monitoring.verdict import DRIFT, FEWEST, LOSS, Act, Figures, Known, Verdict, is_worse, verdict
from ml.promotion import decisions
from ml.promotion.announcements import moves_of
from ml.promotion.decisions import Change, Decision
from ml.promotion.moves import SERVES, Moves
from ml.serving.registry import PREVIOUS, Registry
from quantstream.core.errors import DataRejected, ModelRejected, Unavailable
from quantstream.core.time import micros
from quantstream.kafka import Writer
from quantstream.lake.store import Lake
from quantstream.messages.models import MODEL_NAMES
from quantstream.messages.payloads import Event, EventKind, encode
from quantstream.messages.topics import EVENTS
from quantstream.settings import Gate, Kafka, Settings

log = logging.getLogger(__name__)
SOURCE = "monitor"
TOLD = {LOSS: EventKind.MODEL_WORSE, DRIFT: EventKind.MODEL_DRIFT}
Tell = Callable[[Sequence[Event]], None]


@dataclass
class Watched:
    """What a look found: of each model a sentence and a verdict, and why a training is wanted, if one is."""

    joined: joining.Done
    sentences: dict[str, str] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)

    @property
    def wanted(self) -> str:
        """Why a training is wanted, empty where none is."""
        asked = [f"{name}: {one.why}" for name, one in self.verdicts.items() if one.act is Act.TRAIN]
        return "; ".join(asked)


def watch(settings: Settings, by: str = "a look by hand") -> Watched:
    """Look once, at the lake, registry and broker of some settings.

    Raises: Unavailable when one of them does not answer; what was done until then stays done.
    """
    lake, registry = Lake(settings.lake_url), Registry(settings.mlflow_url)
    moves, bearable = moves_of(settings, by, registry), settings.gate.false_alarms_per_100k
    return Watch(lake, registry, moves, lambda events: tell(settings.kafka, events), most_alarms=bearable).look()


def tell(kafka: Kafka, events: Sequence[Event]) -> None:
    """Tell the operators. Raises: Unavailable."""
    writer = Writer(kafka)
    for event in events:
        writer.send(EVENTS, SOURCE, encode(event))
    writer.flush()


@dataclass
class Watch:
    """A look at one lake and one registry."""

    lake: Lake
    registry: Registry
    moves: Moves
    tell: Tell
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    most_alarms: float = Gate().false_alarms_per_100k  # of 100,000 trades
    _drifts: dict[str, list[Shift]] = field(default_factory=dict)  # by version of features
    _untold: list[Event] = field(default_factory=list)

    def look(self) -> Watched:
        """Join, judge and act.

        Raises: Unavailable; where only the broker is away, when all else is done.
        """
        take_up(self.lake)
        watched = Watched(joining.join(self.lake, self.now()))
        log.info("%s", watched.joined)
        champions = self.registry.champions()
        history = {name: decisions.decisions_of(self.lake, name) for name in champions}
        since = {
            Version(name, one, "champion"): at
            for name, one in champions.items()
            if (at := serves_since(history[name], one))
        }
        day = newest_day(self.lake, since)
        if day is not None:
            ours = [name for name in MODEL_NAMES if name in champions]
            known = [self._judge(watched, day, name, champions[name], history[name]) for name in ours]
            keep(self.lake, self.now(), day, known, watched.sentences)
        if self._untold:
            self.tell(self._untold)
        return watched

    def _judge(self, watched: Watched, day: Day, name: str, version: str, history: Sequence[Decision]) -> Known:
        notes: list[str] = []
        live = day.versions.get(Version(name, version, "champion"), Live())
        promise = self._try(notes, lambda: promise_of(self.lake, self.registry, name, version)) if live.rows else None
        figures = figures_of(live, promise)
        evidence, drifted = self._evidence(notes, day, name, version), list[Shift]()
        if evidence is not None and evidence.is_alarm:
            drifted = self._feature_drift(notes, day, name, version)
            if promise is not None and live.candles >= FEWEST:
                drifted += output_shifts(self.lake, name, version, promise, day.until)
        known = Known(
            name,
            version,
            figures,
            self._previous(notes, day, name, version) if is_worse(figures) else None,
            drifted,
            evidence,
            alarm_rate(self.lake, day.until - timedelta(days=1)) if name not in KINDS_WITH_LOSS else float("nan"),
            since_asked(day, history),
            history,
            self.most_alarms,
        )
        found = verdict(known)
        watched.verdicts[name] = found
        watched.sentences[name] = sentence(known, found, notes)
        log.info("%s", watched.sentences[name])
        self._act(known, found, evidence_of(known, live, found))
        return known

    def _act(self, known: Known, found: Verdict, evidence: Mapping[str, Any]) -> None:
        """Say what was found, then do what follows of it, whether or not the broker took the events."""
        if found.act is Act.NOTHING:
            return
        at, text = self.now(), f"{known.model} {known.version}: {found.why}"
        kinds = [TOLD[reason] for reason in found.found if reason in TOLD]
        self._tell([Event(SOURCE, kind, text, micros(at)) for kind in kinds])
        if found.act is Act.ROLL_BACK:
            self.moves.roll_back(known.model, found.why, evidence)
        else:
            asked = Decision(
                at, known.model, known.version, Change.WANTED, "", self.moves.by, found.why, json.dumps(evidence)
            )
            decisions.write(self.lake, [asked])

    def _tell(self, events: Sequence[Event]) -> None:
        """Tell the operators; a broker that is away holds no way back up."""
        try:
            if events:
                self.tell(events)
        except Unavailable as error:
            log.warning("the operators are not told yet", extra={"reason": str(error)})
            self._untold += events

    def _previous(self, notes: list[str], day: Day, name: str, version: str) -> Any:
        previous = self.registry.alias_version(name, PREVIOUS)
        if previous is None or previous == version:
            return None
        return self._try(
            notes, lambda: previous_on_the_same(self.lake, self.registry, name, version, previous, day.until)
        )

    def _evidence(self, notes: list[str], day: Day, name: str, version: str) -> Evidence | None:
        number = self.registry.tags(name, version).get("features_version", "")
        judged = (self.registry.evidence(name, version, JUDGED) or {}).get("judged_to_us")
        if not number.isdecimal() or not judged:
            notes.append("it does not say which features it was fitted on, so drift cannot be told")
            return None
        which = blocks.Version(name, version, KINDS[name], int(number), int(judged))
        scored = some(self.lake.rows("outcomes"))
        found: Evidence | None = self._try(
            notes, lambda: blocks.drift_evidence(self.lake, which, scored, day.until, self.now())
        )
        return found

    def _feature_drift(self, notes: list[str], day: Day, name: str, version: str) -> list[Shift]:
        number = self.registry.tags(name, version)["features_version"]
        judged = self.registry.evidence(name, version, JUDGED) or {}
        if number not in self._drifts:
            scored = some(self.lake.rows("outcomes"))
            found = self._try(
                notes, lambda: feature_shifts(self.lake, int(number), scored, int(judged["judged_to_us"]), day.until)
            )
            self._drifts[number] = found or []
        return [one for one in self._drifts[number] if one.name in READ_BY[KINDS[name]]]

    def _try(self, notes: list[str], work: Callable[[], Any]) -> Any:
        try:
            return work()
        except (DataRejected, ModelRejected) as error:
            notes.append(str(error))
            return None


KINDS_WITH_LOSS = {name for name, kind in KINDS.items() if kind != "anomaly"}


def serves_since(history: Sequence[Decision], version: str) -> datetime | None:
    """Return when a champion came to serve, as the decisions have it (our clock); None where they do not."""
    serving = [one for one in history if one.change in SERVES]
    return serving[-1].decided_at if serving and serving[-1].version == version else None


def since_asked(day: Day, history: Sequence[Decision]) -> dict[str, int]:
    """Return how many candles were scored since a training was last asked for, by the reason."""
    asked = [one for one in history if one.change is Change.WANTED]
    return {
        reason: day.candles_since(one.decided_at)
        for one in asked
        for reason in json.loads(one.evidence).get("found", ())
    }


def figures_of(live: Live, promise: Promise | None) -> Figures | None:
    """Return a champion's figures beside what it promised."""
    if not live.rows:
        return None
    promised, bound = (promise.loss, promise.bound) if promise is not None else (float("nan"), float("nan"))
    return Figures(live.candles, live.loss, live.bounds[0], promised, bound)


def sentence(known: Known, found: Verdict, notes: Sequence[str]) -> str:
    """Say of one model what is known and done."""
    said, figures = f"{known.model} {known.version}", known.figures
    if figures is not None:
        said += f": loss {figures.loss:.4g} over {figures.candles} candles, promised {figures.promised:.4g}"
        said += f" and at most {figures.bound:.4g} on a day"
    if known.evidence is not None:
        said += f"; evidence of drift {known.evidence}"
    done = {Act.NOTHING: "nothing is to be done", Act.ROLL_BACK: "rolled back", Act.TRAIN: "a training is wanted"}
    return "; ".join([said, *notes, *([found.why] if found.why else []), done[found.act]])


def evidence_of(known: Known, live: Live, found: Verdict) -> dict[str, Any]:
    """Return the figures that a decision stands on, as JSON values: what is not known is None."""
    figures, better = known.figures, known.previous
    return {
        "found": list(found.found),
        "live": {**told(figures.__dict__ if figures else {}), "by_symbol": live.by_symbol(), "measures": live.means()},
        "previous": told(better.__dict__) if better else None,
        "drift": {one.name: [round(one.times, 3), one.p] for one in known.drifted},
        "drift_evidence": told(known.evidence.__dict__) if known.evidence else None,
        **told({"alarms_per_100k": known.alarms}),
    }


def told(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return figures with None for each that is no number: JSON has no other word for it."""
    return {name: None if isinstance(one, float) and not isfinite(one) else one for name, one in figures.items()}
