"""What a table's transaction log tells of its rows, without reading its data: how many, up to when, the highest id."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


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
