"""Tells the live stages and the operators that an alias moved: a record in `ops.models.v1` and an event in `ops.events.v1`.

For speed and for people: stages look at the registry every few seconds anyway, and the lake has the record. So a broker that is
away costs a few seconds, and no promotion; people are told when it is back (`Moves.settle`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ml.promotion.decisions import Change, Decision
from ml.promotion.moves import Moves
from ml.serving.registry import Registry
from quantstream.core.time import micros
from quantstream.kafka import Writer
from quantstream.kafka.news import PLACE
from quantstream.lake.store import Lake
from quantstream.messages.payloads import Event, EventKind, ModelMove, encode
from quantstream.messages.topics import EVENTS, MODELS
from quantstream.settings import Kafka, Settings

log = logging.getLogger(__name__)
SOURCE = "models"
PATIENCE = 5.0  # seconds for the broker to take an announcement
KINDS = {
    Change.CHALLENGER: EventKind.MODEL_IN_SHADOW,
    Change.PROMOTED: EventKind.MODEL_PROMOTED,
    Change.EXPIRED: EventKind.MODEL_EXPIRED,
    Change.ROLLED_BACK: EventKind.MODEL_ROLLED_BACK,
    Change.FOUND: EventKind.MODEL_FOUND,
}


class Announcements:
    """Announces decisions, and tells whether the broker took them; to be called with those that moved an alias. Never raises."""

    def __init__(
        self, kafka: Kafka, writer: Callable[[Kafka], Any] = Writer, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """No connection is made before there is something to announce."""
        self.kafka, self._make, self._clock = kafka, writer, clock
        self._writer: Any = None

    def __call__(self, decision: Decision, is_last: bool = True) -> bool:
        """Announce one decision; one that is not the last on its model is news to people alone."""
        try:
            self._writer = self._writer or self._make(self.kafka)
            for topic, key, value in records(decision):
                if is_last or topic is not MODELS:
                    self._writer.send(topic, key, value, partition=PLACE)
            self._flush()
        except Exception as error:  # noqa: BLE001  the alias has moved: whoever could not be told finds it
            log.warning("a decision was not announced; the stages find it all the same", extra={"reason": str(error)})
            self._start_over()
            return False
        return True

    def _start_over(self) -> None:
        """Leave a writer that lost its broker; what it still holds is announced by `Moves.settle`, not by it as well."""
        writer, self._writer = self._writer, None
        with suppress(Exception):
            if writer is not None:
                writer.drop()

    def _flush(self) -> None:
        """Wait for the broker, not at all when none is there.

        Raises: Unavailable.
        """
        over_at = self._clock() + PATIENCE
        while self._writer.queued and not self._writer.is_lost and self._clock() < over_at:
            self._writer.poll(0.05)
        self._writer.flush(0)


def records(decision: Decision) -> list[tuple[Any, str, bytes]]:
    """Return what is sent of a decision: topic, key, value."""
    at = micros(decision.decided_at)
    move = ModelMove(
        *(decision.model, decision.version, decision.change.value, decision.before, decision.by, decision.why, at)
    )
    event = Event(SOURCE, KINDS[decision.change], sentence(decision), at)
    return [(MODELS, decision.model, encode(move)), (EVENTS, SOURCE, encode(event))]


def sentence(decision: Decision) -> str:
    """Say what was decided, for operators."""
    instead = f" instead of {decision.before}" if decision.before not in ("", decision.version) else ""
    said = {
        Change.CHALLENGER: "is scored in the shadow of the champion",
        Change.PROMOTED: f"is promoted{instead}",
        Change.EXPIRED: "leaves the shadow without a promotion",
        Change.ROLLED_BACK: f"serves again{instead}",
        Change.FOUND: f"was found to serve{instead}",
    }
    return f"{decision.model} {decision.version} {said[decision.change]}, by {decision.by}: {decision.why}"


def moves_of(settings: Settings, by: str, registry: Registry | None = None) -> Moves:
    """Return the moves of aliases at the registry and lake of some settings, announced at their broker."""
    return Moves(
        registry or Registry(settings.mlflow_url), Lake(settings.lake_url), by, announce=Announcements(settings.kafka)
    )
