"""The four kinds of models, by the names that scores, the registry and operators know them by."""

from __future__ import annotations

MODEL_KINDS = ("forecast", "signal", "risk", "anomaly")  # the slowest to train first


def registered_name(kind: str) -> str:
    """Return the registered name of a kind of model."""
    return f"quantstream-{kind}"


MODEL_NAMES = tuple(map(registered_name, MODEL_KINDS))
