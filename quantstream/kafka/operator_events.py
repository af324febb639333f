"""What operators are told of, by any thread of a stage: an event in `ops.events.v1` and a line in the log.

Telling is never a reason to end: when the broker does not take an event, the log has said it all the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from quantstream.core.errors import QuantStreamError
from quantstream.kafka import Writer
from quantstream.messages.payloads import GRAVE, Event, EventKind, encode
from quantstream.messages.topics import EVENTS

log = logging.getLogger(__name__)
Tell = Callable[[EventKind, str, str], None]  # kind, one readable sentence, symbol or ""


class Operators:
    """Tells events of one source through a writer of its own, outside the stage's transactions."""

    def __init__(self, writer: Writer, source: str, now: Callable[[], int]) -> None:
        """`now` is the wall clock, µs."""
        self.writer, self.source, self.now = writer, source, now

    def tell(self, kind: EventKind, text: str, symbol: str = "") -> None:
        """Send one event and log it."""
        log.log(logging.WARNING if kind in GRAVE else logging.INFO, text, extra={"event": kind.value})
        try:
            self.writer.send(EVENTS, symbol or self.source, encode(Event(self.source, kind, text, self.now(), symbol)))
            self.writer.poll()
            self.writer.check()
        except QuantStreamError as error:
            log.warning("an event was not taken", extra={"event": kind.value, "reason": str(error)})
