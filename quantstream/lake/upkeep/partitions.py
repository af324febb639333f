"""A table of an older version put into the partitions of this one: its rows written anew, then exchanged in one commit.

Versions of before stay readable. Nobody appends meanwhile: a table of other partitions refuses writers of this version, the
column that was added before refuses those of older ones, and a commit that began earlier fails on that change. The exchanged
table is append-only to Delta, so a second migration that comes late cannot take away what was written since.
"""

from __future__ import annotations

import json
import posixpath
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction, create_table_with_add_actions
from pyarrow.fs import FileSystem

from quantstream.core.errors import Broken, Unavailable
from quantstream.lake import table_facts
from quantstream.lake.reads import READ_AHEAD, Asked, month_bounds, ordered, parts
from quantstream.lake.schemas import partitions_of
from quantstream.lake.store import UNREADABLE, Lake, files_at
from quantstream.lake.table_facts import TableFiles

COUNTER = "migration"  # application id whose version counts the migrations of a table
APPEND_ONLY = {"delta.appendOnly": "true"}


@dataclass
class _Bounds:
    """The least and the greatest value of each column of a file, and how many rows have none."""

    rows: int = 0
    lows: dict[str, Any] = field(default_factory=dict)
    highs: dict[str, Any] = field(default_factory=dict)
    nulls: dict[str, int] = field(default_factory=dict)

    def add(self, rows: pa.Table) -> None:
        """Take in some rows. Decimals and floats have no bounds: as JSON's numbers they would be rounded, and rows overlooked."""
        self.rows += rows.num_rows
        for one in rows.schema:
            if pa.types.is_nested(one.type) or pa.types.is_decimal(one.type) or pa.types.is_floating(one.type):
                continue
            self.nulls[one.name] = self.nulls.get(one.name, 0) + rows[one.name].null_count
            bounds = pc.min_max(rows[one.name]).as_py()
            if bounds["min"] is not None:
                self.lows[one.name] = min(bounds["min"], self.lows.get(one.name, bounds["min"]))
                self.highs[one.name] = max(bounds["max"], self.highs.get(one.name, bounds["max"]))

    def statistics(self) -> str:
        """Return them as the log spells them."""
        lows, highs = ({name: _text(value) for name, value in each.items()} for each in (self.lows, self.highs))
        return json.dumps({"numRecords": self.rows, "minValues": lows, "maxValues": highs, "nullCount": self.nulls})


def repartition(lake: Lake, name: str, beat: Callable[[], None]) -> int | None:
    """Put a table that has this version's columns into its partitions; return its rows, None when it was there already.

    Memory goes by the rows of a symbol's month, of which a part is read at a time. Whoever is killed leaves the table as it was.
    `beat` is called after each file: a process that is watched says so that it is at work.
    Raises: Broken when rows would be lost or doubled, before anything is changed; Unavailable.
    """
    table = lake.table(name)
    if table.metadata().partition_columns == partitions_of(name):
        return None
    files = files_at(table.table_uri, lake.storage_options)
    added: list[AddAction] = []
    try:
        rows = _rewrite(name, table, files, added, beat)
    except UNREADABLE as error:
        _remove(files, added)
        raise Unavailable(f"the lake table {name} at {lake.url} was not migrated: {error}") from error
    except BaseException:
        _remove(files, added)
        raise
    return rows if _exchange(lake, name, table, added) else None


def _rewrite(name: str, table: DeltaTable, files: FileSystem, added: list[AddAction], beat: Callable[[], None]) -> int:
    """Write all rows anew, note the files in `added`, and return how many rows they have.

    Raises: Broken when they are not as many of each symbol as the log says.
    """
    stored = TableFiles(table)
    written: dict[str, int] = {}
    for symbol, periods in stored.periods(None, None, None):
        for month in sorted({period[: len("2025-11")] for period in periods}):
            count, action = _write(files, symbol, month, _rows_of(name, stored, symbol, month))
            added.append(action)
            written[symbol] = written.get(symbol, 0) + count
            beat()
    _prove(name, table_facts.rows(table), written)
    return sum(written.values())


def _prove(name: str, before: Mapping[str, int], written: Mapping[str, int]) -> None:
    different = sorted(one for one in {*before, *written} if before.get(one, 0) != written.get(one, 0))
    if different:
        one = different[0]
        raise Broken(
            f"the lake table {name} was not migrated: of {one} {written.get(one, 0)} rows were written where the log says "
            f"{before.get(one, 0)}, and so of {len(different)} symbols; nothing was changed"
        )


def _rows_of(name: str, stored: TableFiles, symbol: str, month: str) -> Iterator[pa.Table]:
    start, end = month_bounds(month)
    for part in parts(Asked([symbol], start, end), stored):
        rows = stored.passing(part.files(["symbol", "date"])).to_table(filter=part.rows(name), **READ_AHEAD)
        yield ordered(name, rows).drop_columns(["symbol", "month"])


def _write(files: FileSystem, symbol: str, month: str, rows: Iterator[pa.Table]) -> tuple[int, AddAction]:
    """Write a file and return how many rows it has, by its own account, and what the log is to say of it."""
    folder = f"symbol={quote(symbol)}/month={month}"
    path = posixpath.join(folder, f"part-{uuid.uuid4()}-migrated.zstd.parquet")
    files.create_dir(folder)
    bounds, writer = _Bounds(), None
    with files.open_output_stream(path) as out:
        for some in rows:
            writer = writer or pq.ParquetWriter(out, some.schema, compression="zstd")
            writer.write_table(some)
            bounds.add(some)
        if writer is not None:
            writer.close()
    with files.open_input_file(path) as file:
        count, size = pq.ParquetFile(file).metadata.num_rows, file.size()
    values: dict[str, str | None] = {"symbol": symbol, "month": month}
    return count, AddAction(path, size, values, time.time_ns() // 1_000_000, True, bounds.statistics())


def _exchange(lake: Lake, name: str, table: DeltaTable, added: list[AddAction]) -> bool:
    """Make the written files the table, in one commit; return False when another migration has done it.

    Files stay when the commit fails: whether it did, only the log can tell. Raises: Unavailable.
    """
    number = (table.transaction_version(COUNTER) or 0) + 1
    meta = table.metadata()
    try:
        create_table_with_add_actions(
            table.table_uri,
            schema=table.schema(),
            add_actions=added,
            mode="overwrite",
            partition_by=partitions_of(name),
            name=meta.name,
            description=meta.description,
            configuration={**meta.configuration, **APPEND_ONLY},
            storage_options=dict(lake.storage_options) if lake.storage_options else None,
            commit_properties=CommitProperties(
                app_transactions=[Transaction(COUNTER, number)], custom_metadata={"migration": "by month"}
            ),
        )
    except (OSError, DeltaError) as error:
        if lake.table(name).metadata().partition_columns != partitions_of(name):
            raise Unavailable(f"the lake table {name} at {lake.url} was not migrated, run it again: {error}") from error
        return {action.path for action in added} <= TableFiles(lake.table(name)).paths()
    return True


def _remove(files: FileSystem, added: list[AddAction]) -> None:
    for action in added:
        files.delete_file(action.path)


def _text(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value
