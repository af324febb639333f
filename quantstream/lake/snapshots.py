"""A lake as it was at one moment, for whoever reads of many symbols one after the other.

To open a table is to read its log, which names every file: of thousands of symbols that takes a good part of a second, and
then a few milliseconds for each symbol.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from quantstream.lake.store import Lake

RECENT = 5.0  # seconds


@dataclass(frozen=True)
class Snapshot(Lake):
    """A lake as it was: what is committed later is not in it."""

    opened: Mapping[str, Any] = field(default_factory=dict)

    def table(self, name: str) -> Any:
        """Return a table as it was, or as it is if it was not opened then."""
        return self.opened[name] if name in self.opened else super().table(name)


def snapshot(lake: Lake, names: Sequence[str]) -> Snapshot:
    """Return the lake as it is now, its tables opened once and in this order.

    Raises: Unavailable.
    """
    return Snapshot(lake.url, lake.storage_options, {name: lake.table(name) for name in names})


class RecentLake:
    """Some tables as they were a few seconds ago at most. For one thread."""

    def __init__(self, lake: Lake, names: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` in seconds."""
        self._lake, self._names, self._clock = lake, names, clock
        self._last: tuple[float, Snapshot] | None = None

    def now(self) -> Snapshot:
        """Return them, read anew if they are older than that.

        Raises: Unavailable.
        """
        at = self._clock()
        if self._last is None or at - self._last[0] > RECENT:
            self._last = None
            self._last = at, snapshot(self._lake, self._names)
        return self._last[1]
