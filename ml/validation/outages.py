"""Outages of the exchange that are known and declared, each with its source: windows within them are not missing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from quantstream.core.errors import Misconfigured
from quantstream.core.time import micros

DECLARED = Path(__file__).resolve().parents[2] / "expectations" / "outages.json"


class Outage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No trade could be made in `[start, end)`: of all symbols of the venue, or of those named."""

    start: datetime
    end: datetime
    source: str
    symbols: list[str] = []

    def of(self, symbol: str) -> bool:
        """Tell whether it is one of a symbol's."""
        return not self.symbols or symbol in self.symbols


def declared(path: Path = DECLARED) -> list[Outage]:
    """Return the outages that are declared.

    Raises: Misconfigured naming the file and what is wrong with it.
    """
    try:
        found = msgspec.convert(json.loads(path.read_text())["outages"], list[Outage])
    except (OSError, ValueError, KeyError, TypeError, msgspec.ValidationError) as error:
        raise Misconfigured(f"the declared outages in {path} cannot be read: {error}") from error
    for one in found:
        if (
            one.start.utcoffset() is None
            or one.end.utcoffset() is None
            or one.start >= one.end
            or not one.source.strip()
        ):
            raise Misconfigured(
                f"the outage of {one.start} in {path} needs a start before its end, both with their offset from UTC, and a source"
            )
    return found


def is_declared(
    outages: Sequence[Outage], symbol: str, opened_at: npt.NDArray[np.int64], length: int
) -> npt.NDArray[np.bool_]:
    """Tell of windows (opening times in µs, their length) whether any part of them lies in a declared outage of a symbol."""
    found = np.zeros(len(opened_at), np.bool_)
    for one in outages:
        if one.of(symbol):
            start, end = micros(one.start.astimezone(UTC)), micros(one.end.astimezone(UTC))
            found |= (opened_at < end) & (opened_at + length > start)
    return found
