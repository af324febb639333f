"""What a table's transaction log tells without reading its data: rows of each symbol, up to when, and which files have them.

All that a log says of a hundred thousand files fills gigabytes; of the files this keeps a line each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
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


def highest(table: Any, column: str) -> dict[str, int]:
    """Return each symbol's highest value of an integer column."""
    return _of_each_symbol(table, f"max.{column}", "max")


def rows(table: Any) -> dict[str, int]:
    """Return how many rows of each symbol a table holds; all together under no name where it is not partitioned by symbol."""
    return _of_each_symbol(table, "num_records", "sum")


def extent(table: Any, at: str) -> dict[str, tuple[int, datetime]]:
    """Return each symbol's number of rows, revisions not counted again, and newest time in the column `at`.

    Of the data only rows at the times that were revised are read.
    """
    files = pa.table(table.get_add_actions(flatten=True))
    if not files.num_rows:
        return {}
    newest = f"max.{at}"
    found = files.group_by("partition.symbol").aggregate([("num_records", "sum"), (newest, "max")]).to_pylist()
    is_revised = "max.revision" in files.column_names and (pc.max(files["max.revision"]).as_py() or 0) > 0
    duplicates = _duplicates(table, at) if is_revised else {}
    return {
        symbol: (row["num_records_sum"] - duplicates.get(symbol, 0), row[f"{newest}_max"])
        for row in found
        for symbol in [row["partition.symbol"]]
    }


def _of_each_symbol(table: Any, column: str, how: str) -> dict[str, int]:
    files = pa.table(table.get_add_actions(flatten=True))
    if not files.num_rows:
        return {}
    if "partition.symbol" not in files.column_names:
        files = files.append_column("partition.symbol", pa.array([""] * files.num_rows))
    found = files.group_by("partition.symbol").aggregate([(column, how)]).to_pylist()
    return {row["partition.symbol"]: row[f"{column}_{how}"] for row in found}


def _duplicates(table: Any, at: str) -> dict[str, int]:
    """Return how many rows of each symbol duplicate another row; a revision is no duplicate."""
    key = ["symbol", "interval", at]
    data = table.to_pyarrow_dataset()
    times = data.to_table(columns=[at], filter=pc.field("revision") > 0)[at].unique()
    found = data.to_table(columns=key, filter=pc.field(at).isin(times))
    counts = found.group_by(key).aggregate([([], "count_all")]).group_by("symbol")
    sums = counts.aggregate([("count_all", "sum"), ("count_all", "count")]).to_pylist()
    return {row["symbol"]: row["count_all_sum"] - row["count_all_count"] for row in sums}


def contents(table: Any) -> dict[str, dict[str, tuple[int, int]]]:
    """Return of each symbol and each of its partitions (`2024-03-05`, say) how many rows it has and their highest revision.

    Merging files changes none of it; appending does.
    """
    files = pa.table(table.get_add_actions(flatten=True))
    if not files.num_rows:
        return {}
    (when,) = (name for name in files.column_names if name.startswith("partition.") and name != "partition.symbol")
    if "max.revision" not in files.column_names:
        files = files.append_column("max.revision", pa.nulls(files.num_rows, pa.int64()))
    sums = files.group_by(["partition.symbol", when]).aggregate([("num_records", "sum"), ("max.revision", "max")])
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for row in sums.to_pylist():
        parts = found.setdefault(row["partition.symbol"], {})
        parts[str(row[when])] = row["num_records_sum"], row["max.revision_max"] or 0
    return found
