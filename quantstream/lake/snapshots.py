"""A lake as it was at one moment, for whoever reads of many symbols one after the other.

To open a table is to read its log, which names every file: of thousands of symbols that takes a good part of a second, and
then a few milliseconds for each symbol.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.dataset import Dataset, FileSystemDataset, Fragment

from quantstream.lake.quarantine import Partition
from quantstream.lake.store import FileFilter, Lake

RECENT = 5.0  # seconds
LIST_AFTER = 5  # readings of some symbols: to list every file once costs what some cost that look theirs up


@dataclass(frozen=True)
class Snapshot(Lake):
    """A snapshot of a lake: what is committed later is not in it."""

    opened: Mapping[str, Any] = field(default_factory=dict)
    _listed: dict[str, _Files] = field(default_factory=dict)
    _readings: Counter[str] = field(default_factory=Counter)
    _held: dict[tuple[str, datetime | None], frozenset[Partition]] = field(default_factory=dict)

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
        if name not in self.opened or table is not self.opened[name] or self._readings[name] <= LIST_AFTER:
            return super()._data(name, table, files)
        if name not in self._listed:
            self._listed[name] = _Files(table)
        return self._listed[name].passing(files)


class _Files:
    """The files of a table by symbol: names alone, for all that its log says of a hundred thousand files fills gigabytes."""

    def __init__(self, table: Any) -> None:
        self._none: FileSystemDataset = table.to_pyarrow_dataset(file_pruning_predicate=[("symbol", "=", "")])
        added = pa.table(table.get_add_actions(flatten=True)).select(["partition.symbol", "partition.date", "path"])
        self._by_symbol: dict[str, list[tuple[date, str]]] = {}
        for symbol, day, path in zip(*(column.to_pylist() for column in added.columns), strict=True):
            self._by_symbol.setdefault(symbol, []).append((day, unquote(path)))  # a log quotes what it names

    def passing(self, files: Sequence[FileFilter]) -> Dataset:
        """Return the files that pass all filters."""
        names: Iterable[str] = self._by_symbol
        first, last = date.min, date.max
        for column, operator, value in files:
            if column == "symbol":
                names = dict.fromkeys(value)
            elif operator == ">=":
                first = value
            else:
                last = value
        chosen = [
            self._fragment(name, day, path)
            for name in names
            for day, path in self._by_symbol.get(name, ())
            if first <= day <= last
        ]
        return FileSystemDataset(chosen, self._none.schema, self._none.format, self._none.filesystem)

    def _fragment(self, symbol: str, day: date, path: str) -> Fragment:
        where = (pc.field("symbol") == symbol) & (pc.field("date") == day)
        return self._none.format.make_fragment(path, filesystem=self._none.filesystem, partition_expression=where)


def snapshot(lake: Lake, names: Sequence[str]) -> Snapshot:
    """Return the lake as it is now, its tables opened once and in this order.

    Raises: Unavailable.
    """
    return Snapshot(lake.url, lake.storage_options, lake.may_create, {name: lake.table(name) for name in names})


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
