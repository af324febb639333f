"""Settings read from `QUANTSTREAM_…` at entry points: unknown names and unusable values are refused in one sentence."""

from __future__ import annotations

import os
import re
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_settings import SettingsError

from quantstream.core.errors import Misconfigured
from quantstream.settings import PREFIX, Settings

NOT_SETTINGS = {
    "QUANTSTREAM_TEST_DATA",
    "QUANTSTREAM_CACHE",
    "QUANTSTREAM_PYTHON",
    "QUANTSTREAM_REQUIRE_DATA",
    "QUANTSTREAM_PODS",
}  # read by make and tests
# What Kubernetes sets in a pod for every Service of its namespace (service links) unless `enableServiceLinks: false`: a Service
# quantstream-kafka-bootstrap makes QUANTSTREAM_KAFKA_BOOTSTRAP_SERVICE_HOST. Name and value together, so that a mistyped
# setting is not taken for one.
_URL = r"(tcp|udp|sctp)://\S+:[0-9]+"
_MADE_BY_KUBERNETES = tuple(
    (re.compile(name), re.compile(value))
    for name, value in (
        (r"\w+_SERVICE_HOST", r"[0-9A-Fa-f:.]+"),
        (r"\w+_SERVICE_PORT(_\w+)?", r"[0-9]+"),
        (r"\w+_PORT(_[0-9]+_(TCP|UDP|SCTP))?", _URL),
        (r"\w+_PORT_[0-9]+_(TCP|UDP|SCTP)_ADDR", r"[0-9A-Fa-f:.]+"),
        (r"\w+_PORT_[0-9]+_(TCP|UDP|SCTP)_PORT", r"[0-9]+"),
        (r"\w+_PORT_[0-9]+_(TCP|UDP|SCTP)_PROTO", r"tcp|udp|sctp"),
    )
)


def load_settings(**overrides: Any) -> Settings:
    """Read the settings from the environment; `overrides` (from a command line) win.

    Raises: Misconfigured for an unknown name or an unusable value, in one sentence.
    """
    known = set(Settings.model_fields)
    for name, value in os.environ.items():
        if name.startswith(PREFIX) and name not in NOT_SETTINGS and not _is_made_by_kubernetes(name, value):
            field = name.removeprefix(PREFIX).lower().split("__")[0]
            if field not in known:
                raise Misconfigured(f"{name} is not a setting; known are {', '.join(sorted(known))}")
    try:
        return Settings(**{key: value for key, value in overrides.items() if value is not None})
    except SettingsError as error:  # a group is given as a whole, and not as JSON
        raise Misconfigured(
            f"{error}; set its parts instead, with __ between levels, e.g. {PREFIX}KAFKA__BOOTSTRAP"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        place = PREFIX + "__".join(str(part) for part in first["loc"]).upper()
        text = _sentence(first)
        raise Misconfigured(f"{place}: {text}" if first["loc"] else text) from None


def _is_made_by_kubernetes(name: str, value: str) -> bool:
    """Say whether a variable is a service link."""
    return any(names.fullmatch(name) and values.fullmatch(value) for names, values in _MADE_BY_KUBERNETES)


def _sentence(error: Any) -> str:
    """What is wrong with one setting: pydantic's own words, or its bounds where it is a number."""
    message, given = error["msg"].removeprefix("Value error, "), error.get("input")
    bounds = _bounds(error["loc"])
    if bounds and not isinstance(given, dict | BaseModel):
        return f"{str(given)[:100]!r} does not fit; use a number from {bounds[0]} to {bounds[1]}"
    return str(message)


def _bounds(place: tuple[Any, ...]) -> tuple[Any, Any] | None:
    """The least and the most of a setting that is a number."""
    model: Any = Settings
    for part in place[:-1]:
        model = model.model_fields[part].annotation
    found = model.model_fields.get(place[-1]) if place else None
    limits = {
        name: getattr(each, name)
        for each in (found.metadata if found else ())
        for name in ("ge", "le")
        if hasattr(each, name)
    }
    return (limits["ge"], limits["le"]) if len(limits) == 2 else None
