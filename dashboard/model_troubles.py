"""Champions that the stages would not take into service: what the registry's page cannot know, read from the stages' events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from quantstream.messages.payloads import Event, EventKind

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
