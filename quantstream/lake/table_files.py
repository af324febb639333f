"""The files of an open table by symbol and time: names and rows alone, from its log, so that each reading looks at few.

All that a log says of a hundred thousand files fills gigabytes; this is a line a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import Any, NamedTuple
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.dataset import Dataset, FileSystemDataset, Fragment

FileFilter = tuple[str, str, Any]  # of a column: name, operator, value
FIRST, LAST = "", "~"  # before and after every period, as text


class StoredFile(NamedTuple):
    """A file of one symbol: its period as the table has it (2025-11-22 or 2025-11), its path, how many rows it has."""

    period: str
    path: str
    rows: int


class TableFiles:
    """The files of a table that is partitioned by symbol and by day or month."""

    def __init__(self, table: Any) -> None:
        """List them, of an open table."""
        self._none: FileSystemDataset = table.to_pyarrow_dataset(file_pruning_predicate=[("symbol", "=", "")])
        _, self._by = table.metadata().partition_columns
        wanted = ["partition.symbol", f"partition.{self._by}", "path", "num_records"]
        added = pa.table(table.get_add_actions(flatten=True)).select(wanted)
        self._by_symbol: dict[str, list[StoredFile]] = {}
        for symbol, period, path, rows in zip(*(column.to_pylist() for column in added.columns), strict=True):
            file = StoredFile(str(period), unquote(path), rows)  # a log quotes what it names
            self._by_symbol.setdefault(symbol, []).append(file)

    def passing(self, files: Sequence[FileFilter]) -> Dataset:
        """Return the files that pass all filters of symbol and date."""
        names: Iterable[str] | None = None
        first, last = FIRST, LAST
        for column, operator, value in files:
            if column == "symbol":
                names = value
            elif operator == ">=":
                first = max(first, str(value))
            else:
                last = min(last, str(value))
        chosen = [
            self._fragment(symbol, file)
            for symbol, files_of_symbol in self._of(names)
            for file in files_of_symbol
            if _within(file.period, first, last)
        ]
        return FileSystemDataset(chosen, self._none.schema, self._none.format, self._none.filesystem)

    def periods(
        self, names: Iterable[str] | None, first: date | None, last: date | None
    ) -> Iterator[tuple[str, dict[str, int]]]:
        """Go through the symbols in order: each with its periods over the days `[first, last]`, in order, and their rows."""
        since, until = str(first or FIRST), str(last or LAST)
        for symbol, files in sorted(self._of(names)):
            rows: dict[str, int] = {}
            for file in sorted(files):
                if _within(file.period, since, until):
                    rows[file.period] = rows.get(file.period, 0) + file.rows
            if rows:
                yield symbol, rows

    def paths(self) -> set[str]:
        """Return the paths of all files."""
        return {file.path for files in self._by_symbol.values() for file in files}

    def _of(self, names: Iterable[str] | None) -> Iterator[tuple[str, list[StoredFile]]]:
        for name in self._by_symbol if names is None else dict.fromkeys(names):
            if name in self._by_symbol:
                yield name, self._by_symbol[name]

    def _fragment(self, symbol: str, file: StoredFile) -> Fragment:
        period: Any = date.fromisoformat(file.period) if self._by == "date" else file.period
        where = (pc.field("symbol") == symbol) & (pc.field(self._by) == period)
        return self._none.format.make_fragment(file.path, filesystem=self._none.filesystem, partition_expression=where)


def _within(period: str, first: str, last: str) -> bool:
    """Tell whether a period, 2025-11-22 or 2025-11, has one of the days `[first, last]`."""
    return first[: len(period)] <= period <= last[: len(period)]
