"""Whether models must be trained now: none serves that this version can use, because it is new or computes other features."""

from __future__ import annotations

from ml.serving.registry import Registry
from quantstream import features
from quantstream.messages.models import MODEL_NAMES


def vacancy(registry: Registry) -> str:
    """Say why models are wanted, or nothing; a single kind that has none was refused or lacks data, and waits for the day.

    Raises: Unavailable when the registry does not answer.
    """
    serving = [card for card in map(registry.card, MODEL_NAMES) if card is not None]
    if not serving:
        return "no model serves yet"
    if any(card.feature_hash == features.FEATURE_HASH for card in serving):
        return ""
    named = ", ".join(f"{card.name} {card.version}" for card in serving)
    return f"the models that serve ({named}) were fitted on other features than this version computes"
