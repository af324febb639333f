"""What models and those who read their scores agree on: kinds, registered names, horizons and quantiles of the forecast."""

from __future__ import annotations

HORIZONS = ("5m", "15m", "1h")  # of the forecast: how far ahead
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)  # of its quantiles
MODEL_KINDS = ("forecast", "signal", "risk", "anomaly")  # the slowest to train first


def registered_name(kind: str) -> str:
    """Return the registered name of a kind of model."""
    return f"quantstream-{kind}"


MODEL_NAMES = tuple(map(registered_name, MODEL_KINDS))


def past_its_age(name: str, version: str) -> str:
    """Return what operators are told of a version that is older than it should be."""
    return f"{name} {version} is past its age limit: it serves on, and what it says is marked as stale until a newer one serves"
