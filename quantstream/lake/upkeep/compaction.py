"""Small files of a lake's table merged into large ones, a few partitions at a time, so that no row is lost or doubled.

The library's own compaction does not notice another one: two at once (deltalake 1.6, seen) leave every merged row in the table
twice. Here each commit takes the next number of a counter in the table's transactions, which a second compaction from the
same version cannot take as well, and is made only when as many rows were written as the log says there were.

A partition that grows (the month's candles, all month long) is not written anew each time: files merge when the small ones
together are a good part of the next larger one. So a row is written again only into a file half as large again, a logarithm of
times in all, and the files left each are twice all smaller ones together, a handful. What has stood still for a day becomes one.
"""

from __future__ import annotations

import json
import logging
import posixpath
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import lru_cache, partial
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError
from deltalake.fs import DeltaStorageHandler
from deltalake.transaction import AddAction, RemoveAction
from pyarrow.fs import FileSystem, PyFileSystem

from quantstream import engine
from quantstream.core.errors import Broken, Fenced, Unavailable
from quantstream.lake.encodings import merged_file_options
from quantstream.lake.schemas import SCHEMAS, TIME_COLUMN, partitions_of
from quantstream.lake.store import Lake
from quantstream.lake.upkeep.tidying import tidy_up

log = logging.getLogger(__name__)
COUNTER = "compaction"  # application id whose version counts the compactions of a table
LARGE = 64 << 20  # bytes: a file of half of it is left alone, and so many small ones become one
MOST_ROWS = 1_000_000  # of one file likewise: so many are in memory, a hundred bytes each, twice while they are sorted
AT_ONCE = 256 << 20  # bytes of small files merged in one commit
MOST_FILES = 5_000  # files merged in one commit
SHARE = 2  # a file is merged with smaller ones that have at least one part in so many of its rows
STILL_MS = 86_400_000  # a partition without a new file for so long is done: all its small files become one
RACES = 1_000  # that a commit may lose against writers: one that never pauses wins fifty in a row on a busy machine


@dataclass(frozen=True)
class _Merge:
    """Files of one partition that become one."""

    folder: str
    partition: dict[str, str | None]
    files: list[dict[str, Any]]

    @property
    def size(self) -> int:
        return sum(file["size_bytes"] for file in self.files)

    @property
    def rows(self) -> int:
        return sum(file["num_records"] for file in self.files)


def compact(lake: Lake, name: str, keep: timedelta = timedelta(days=7), dask: str = "") -> dict[str, int]:
    """Merge a table's small files into larger ones and delete files no reader needs for `keep`; writers go on meanwhile.

    `dask` says where files are merged, as `quantstream.engine.spread` has it; they are committed here.
    A second compaction at the same time leaves the rest to the first. Raises: Broken when rows would be lost or doubled,
    before anything is changed; Unavailable.
    """
    table, added, gone = lake.table(name), 0, 0
    options = dict(lake.storage_options) if lake.storage_options else None
    try:
        added, gone = compact_files(table, order_of(name), options, dask)
        deleted = tidy_up(lake, name, table, keep)
    except Fenced as error:
        log.info("compaction left to another", extra={"table": name, "reason": str(error)})
        deleted = []
    except (CommitFailedError, OSError) as error:
        raise Unavailable(f"the lake table {name} at {lake.url} was not compacted: {error}") from error
    return {"files_added": added, "files_removed": gone, "files_deleted": len(deleted)}


def order_of(name: str) -> list[str]:
    """Return the columns by which rows of a table are sorted in merged files: those next to each other differ little."""
    wanted = (TIME_COLUMN[name], "symbol", "interval", "revision", "id")
    return [column for column in wanted if column in SCHEMAS[name].names and column not in partitions_of(name)]


def compact_files(
    table: DeltaTable, order: Sequence[str], options: dict[str, str] | None = None, dask: str = ""
) -> tuple[int, int]:
    """Merge the small files of each partition, rows sorted by the columns `order`; return how many files came and went.

    Writers may append meanwhile. Raises: Fenced when another compaction of the table is at work; Broken when the rows written
    are not as many as those read, before anything is changed.
    """
    added = removed = 0
    work = partial(_merge, table.table_uri, tuple(sorted((options or {}).items())), tuple(order))
    for done in _portions(engine.each(work, _due(table), dask)):
        merges = [merge for merge, _ in done]
        _commit(table, [add for _, add in done], merges)
        added, removed = added + len(merges), removed + sum(len(merge.files) for merge in merges)
    return added, removed


def _due(table: DeltaTable) -> Iterator[_Merge]:
    folders: dict[str, list[dict[str, Any]]] = {}
    for file in log_entries(table):
        if is_small(file):
            folders.setdefault(posixpath.dirname(file["path"]), []).append(file)
    now = _now_ms()
    for folder, small in sorted(folders.items()):
        for some in _portioned(paying(small, now)):
            if len(some) > 1:
                yield _Merge(folder, _partition(table, some[0]), some)


def paying(small: Sequence[dict[str, Any]], now: int) -> list[dict[str, Any]]:
    """Return the files of a partition that are worth to be merged, the oldest first; `now` in ms.

    Of files in order of size those up to the last that has at most `SHARE` times the rows of all before it; all of a partition
    that has stood still.
    """
    ordered = sorted(small, key=lambda file: (file["num_records"], file["path"]))
    count, rows = 0, 0
    is_still = all(file["modification_time"] < now - STILL_MS for file in small)
    for number, file in enumerate(ordered, 1):
        if is_still or file["num_records"] <= SHARE * rows:
            count = number
        rows += file["num_records"]
    return sorted(ordered[:count], key=lambda file: (file["modification_time"], file["path"]))


def is_small(file: Mapping[str, Any]) -> bool:
    """Tell whether a file of the log is one that is merged with others once that pays."""
    return bool(file["size_bytes"] < LARGE // 2 and file["num_records"] < MOST_ROWS // 2)


def log_entries(table: DeltaTable) -> Iterator[dict[str, Any]]:
    """Yield the files of an open table as its log has them, their paths as the library wants them for new actions."""
    for file in pa.table(table.get_add_actions(flatten=True)).to_pylist():
        yield file | {"path": unquote(file["path"])}


def _portioned(files: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    portion: list[dict[str, Any]] = []
    for file in files:
        some = [*portion, file]
        if portion and (_sum(some, "size_bytes") > LARGE or _sum(some, "num_records") > MOST_ROWS):
            yield portion
            some = [file]
        portion = some
    yield portion


def _sum(files: Iterable[dict[str, Any]], what: str) -> int:
    return sum(file[what] for file in files)


def _portions(merged: Iterable[tuple[_Merge, AddAction]]) -> Iterator[list[tuple[_Merge, AddAction]]]:
    """Yield what is committed together, as soon as it is written."""
    portion: list[tuple[_Merge, AddAction]] = []
    for one in merged:
        some = [*portion, one]
        if portion and (sum(m.size for m, _ in some) > AT_ONCE or sum(len(m.files) for m, _ in some) > MOST_FILES):
            yield portion
            some = [one]
        portion = some
    if portion:
        yield portion


def _partition(table: DeltaTable, file: dict[str, Any]) -> dict[str, str | None]:
    values = {name: file[f"partition.{name}"] for name in table.metadata().partition_columns}
    return {name: None if value is None else str(value) for name, value in values.items()}


def _merge(uri: str, options: tuple[tuple[str, str], ...], order: Sequence[str], merge: _Merge) -> AddAction:
    """Write one file of the rows of many and return what the log is to say of it.

    Raises: Broken.
    """
    parts, files = [], _files(uri, options)
    for file in merge.files:
        with files.open_input_file(file["path"]) as source:
            parts.append(pq.ParquetFile(source).read())
    rows = pa.concat_tables(parts, promote_options="default")
    rows = rows.sort_by([(column, "ascending") for column in order])
    if rows.num_rows != merge.rows:
        raise Broken(f"{merge.folder}: {rows.num_rows} rows read where the log says {merge.rows}; nothing was changed")
    path = posixpath.join(merge.folder, f"part-{uuid.uuid4()}-compacted.zstd.parquet")
    with files.open_output_stream(path) as out:
        pq.write_table(rows, out, **merged_file_options(rows.schema))
    with files.open_input_file(path) as written:
        count, size = pq.ParquetFile(written).metadata.num_rows, written.size()
    if count != merge.rows:
        raise Broken(f"{merge.folder}: {count} rows written where there were {merge.rows}; nothing was changed")
    return AddAction(path, size, merge.partition, _now_ms(), False, json.dumps(_statistics(merge, rows.schema)))


@lru_cache(maxsize=4)
def _files(uri: str, options: tuple[tuple[str, str], ...]) -> FileSystem:
    return PyFileSystem(DeltaStorageHandler(uri, dict(options) or None))


def _statistics(merge: _Merge, schema: pa.Schema) -> dict[str, Any]:
    """Return the merged files' bounds. Decimals have none: as JSON's numbers they would be rounded, and rows overlooked."""
    lows, highs, nulls = {}, {}, {}
    for column in schema:
        if pa.types.is_nested(column.type) or pa.types.is_decimal(column.type):
            continue
        bounds: list[list[Any]] = [
            [file.get(f"{kind}.{column.name}") for file in merge.files] for kind in ("min", "max", "null_count")
        ]
        low, high, null = bounds
        if None not in low and None not in high:
            lows[column.name], highs[column.name] = _text(min(low)), _text(max(high))
        if None not in null:
            nulls[column.name] = sum(null)
    return {"numRecords": merge.rows, "minValues": lows, "maxValues": highs, "nullCount": nulls}


def _text(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value


@dataclass(frozen=True)
class Commit:
    """Files that come and go in one commit, and what progress it moves."""

    adds: list[AddAction]
    removes: list[RemoveAction]
    progress: dict[str, int] = field(default_factory=dict)


def removal(file: Mapping[str, Any], partition: dict[str, str | None], is_change: bool) -> RemoveAction:
    """Return what takes a file out of a table; `is_change` says that its rows go with it."""
    return RemoveAction(
        path=file["path"],
        deletion_timestamp=_now_ms(),
        data_change=is_change,
        partition_values=partition,
        size=file["size_bytes"],
    )


def _commit(table: DeltaTable, adds: list[AddAction], merges: list[_Merge]) -> None:
    removes = [removal(file, merge.partition, False) for merge in merges for file in merge.files]
    commit_files(table, Commit(adds, removes))


def commit_files(table: DeltaTable, commit: Commit) -> None:
    """Commit to an open table which files come and go, if nobody else has done so since it was opened; appends do not count.

    Raises: Fenced when somebody has; Unavailable.
    """
    number = (table.transaction_version(COUNTER) or 0) + 1
    progress = {COUNTER: number, **commit.progress}
    properties = CommitProperties(
        app_transactions=[Transaction(name, reached) for name, reached in progress.items()], max_commit_retries=RACES
    )
    try:
        table.create_write_transaction(
            [*commit.adds, *commit.removes],
            mode="append",
            schema=table.schema(),
            partition_by=table.metadata().partition_columns,
            commit_properties=properties,
        )
    except CommitFailedError as error:
        table.update_incremental()
        if (table.transaction_version(COUNTER) or 0) >= number:
            raise Fenced(
                f"another compaction of {table.table_uri} is at work; this one leaves the rest to it"
            ) from error
        raise Unavailable(f"the table {table.table_uri} did not take a commit: {error}") from error
    table.update_incremental()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
