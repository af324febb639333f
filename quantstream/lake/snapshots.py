"""A lake as it was at one moment, for whoever reads of many symbols one after the other.

To open a table is to read its log, which names every file: of thousands of symbols that takes a good part of a second, and
then a few milliseconds for each symbol.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from pyarrow.dataset import Dataset

from quantstream.core.errors import Misconfigured
from quantstream.lake.quarantine import Partition
from quantstream.lake.store import UNREADABLE, Lake
from quantstream.lake.table_facts import FileFilter, TableFiles

RECENT = 5.0  # seconds
LIST_AFTER = 5  # readings of some symbols: to list every file once costs what some cost that look theirs up


@dataclass(frozen=True)
class Snapshot(Lake):
    """A snapshot of a lake: what is committed later is not in it."""

    opened: Mapping[str, Any] = field(default_factory=dict)
    _listed: dict[str, TableFiles] = field(default_factory=dict)
    _readings: Counter[str] = field(default_factory=Counter)
    _held: dict[tuple[str, datetime | None], frozenset[Partition]] = field(default_factory=dict)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what another process opens the same tables by, at the same versions: once for all that it is asked."""
        versions = tuple((name, table.version()) for name, table in self.opened.items())
        return _opened, (self.url, tuple(sorted((self.storage_options or {}).items())), self.may_create, versions)

    def table(self, name: str) -> Any:
        """Return a table as it was, or as it is if it was not opened then."""
        return self.opened[name] if name in self.opened else super().table(name)

    def held(self, name: str, as_of: datetime | None = None) -> frozenset[Partition]:
        """Return the partitions of a table that are in quarantine as it was when first asked; asked once for all symbols."""
        if (name, as_of) not in self._held:
            self._held[name, as_of] = super().held(name, as_of)
        return self._held[name, as_of]

    def _data(self, name: str, table: Any, files: Sequence[FileFilter]) -> Dataset:
        self._readings[name] += 1
        is_opened = name in self.opened and table is self.opened[name]
        if not is_opened or self._readings[name] <= LIST_AFTER:
            return super()._data(name, table, files)
        if name not in self._listed:
            self._listed[name] = TableFiles(table)
        return self._listed[name].passing(files)


def snapshot(lake: Lake, names: Sequence[str]) -> Snapshot:
    """Return the lake as it is now, its tables opened once and in this order.

    Raises: Unavailable.
    """
    return Snapshot(lake.url, lake.storage_options, lake.may_create, {name: lake.table(name) for name in names})


def at_version(lake: Lake, name: str, version: int) -> Snapshot:
    """Return the lake with one table as it was at a version.

    Raises: Misconfigured when the version is not there any more, Unavailable.
    """
    return Snapshot(lake.url, lake.storage_options, lake.may_create, {name: _table_at(lake, name, version)})


def _table_at(lake: Lake, name: str, version: int) -> Any:
    table = lake.table(name)
    if table.version() != version:
        try:
            table.load_as_version(version)
        except UNREADABLE as error:
            raise Misconfigured(f"the lake table {name} at {lake.url} has no version {version}: {error}") from error
    return table


@lru_cache(maxsize=2)
def _opened(
    url: str, options: tuple[tuple[str, str], ...], may_create: bool, versions: tuple[tuple[str, int], ...]
) -> Snapshot:
    lake = Lake(url, dict(options) or None, may_create)
    return Snapshot(
        url, lake.storage_options, may_create, {name: _table_at(lake, name, version) for name, version in versions}
    )


class RecentLake:
    """Some tables as they were a few seconds ago at most. For one thread."""

    def __init__(self, lake: Lake, names: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` in seconds."""
        self._lake, self._names, self._clock = lake, names, clock
        self._last: tuple[float, Snapshot] | None = None

    def now(self) -> Snapshot:
        """Return the tables, read anew if they are older than that.

        Raises: Unavailable.
        """
        at = self._clock()
        if self._last is None or at - self._last[0] > RECENT:
            self._last = None
            self._last = at, snapshot(self._lake, self._names)
        return self._last[1]
