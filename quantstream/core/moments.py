"""Moments and lengths of time as a person writes them on a command line: ISO 8601, how long ago, 250ms or 5m."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

from quantstream.core.errors import Misconfigured
from quantstream.core.time import DAY, EARLIEST, HOUR, LATEST, MILLISECOND, MINUTE, SECOND, micros, utc

_AGO = re.compile(r"^(\d{1,9})([smhd])$")
_LENGTH = re.compile(r"^(\d{1,9})(ms|[smhd])$")
_UNITS = {"ms": MILLISECOND, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}


def parse_moment(text: str, now: Callable[[], int]) -> int:
    """Return µs UTC of `2024-08-08T23:55`, `2024-08-08` or `15m`, `2h`, `1d` (ago, by `now`); no zone means UTC.

    Raises: Misconfigured.
    """
    ago = _AGO.match(text.strip())
    try:
        if ago:
            at = now() - int(ago[1]) * _UNITS[ago[2]]
        else:
            moment = datetime.fromisoformat(text.strip())
            at = micros(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        at = -1
    if not EARLIEST <= at < LATEST:
        raise Misconfigured(f"{text!r} is not a moment; write 2024-08-08T23:55 (UTC), or 15m, 2h, 1d for so long ago")
    return at


def parse_length(text: str) -> int:
    """Return the µs of a length of time: `250ms`, `1s`, `5m`, `2h`, `1d`.

    Raises: Misconfigured.
    """
    found = _LENGTH.match(text.strip())
    if found is None:
        raise Misconfigured(f"{text!r} is no length of time; write one like 250ms, 1s or 5m")
    return int(found[1]) * _UNITS[found[2]]


def moment_text(at: int) -> str:
    """Return µs as ISO 8601 in UTC, without a fraction when there is none."""
    return utc(at).isoformat().replace("+00:00", "Z")
