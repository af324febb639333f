"""What troubles models and the registry does not know: champions that stages would not take, and a calendar that ends."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Protocol

from dashboard.background import Background
from ml.calendar import horizon, stored
from quantstream.core.errors import Unavailable
from quantstream.lake.store import Lake
from quantstream.messages.payloads import Event, EventKind

READ_EVERY = 60.0  # seconds
TOLD = (EventKind.MODEL_SWAPPED, EventKind.MODEL_REFUSED)


class Versioned(Protocol):
    """A model's card, as far as this needs it."""

    @property
    def name(self) -> str:
        """Registered name."""

    @property
    def version(self) -> str:
        """Its number in the registry."""

    @property
    def alias(self) -> str:
        """Which alias names it."""


def refused(cards: Iterable[Versioned], events: Sequence[Event]) -> list[str]:
    """Return a sentence for each champion that a stage refused and has not taken since; `events` come newest first."""
    found = []
    for card in cards:
        said = [one for one in events if one.kind in TOLD and one.text.startswith(f"{card.name} {card.version} ")]
        newest = {one.source: one for one in reversed(said)}
        for source, event in sorted(newest.items()):
            if card.alias == "champion" and event.kind == EventKind.MODEL_REFUSED:
                found.append(f"{event.text}. The version before serves on (says {source}).")
    return found


class CalendarEnd(Background):
    """Says when the releases that features read of are known no longer, or soon; from the lake's calendar, or else our own."""

    def __init__(self, lake: Lake) -> None:
        super().__init__("calendar", READ_EVERY)
        self.lake = lake
        self.sentences: list[str] = []

    def turn(self) -> None:
        """Read once. Raises: Unavailable."""
        try:
            calendar = stored.take_up(self.lake)
        except OSError as error:
            raise Unavailable(f"the lake at {self.lake.url} cannot be read now: {error}") from error
        self.sentences = [
            f"{text[:1].upper()}{text[1:]}." for text in horizon.ends(calendar, time.time_ns() // 1000).values()
        ]
        self.trouble = ""
