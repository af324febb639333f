"""The lake's only door: Delta tables of Parquet, written atomically, readable by anything that reads Delta or Parquet.

A writer's progress (a Kafka offset, say) goes into the same Delta transaction as its rows, so that after any crash the
table itself says where to go on: exactly once, without a second store. Whoever appends says what progress it goes on from; a
writer that was paused while another went on is refused, whatever it holds.
"""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, SchemaMismatchError
from deltalake.fs import DeltaStorageHandler
from pyarrow.dataset import Dataset
from pyarrow.fs import FileSelector, FileSystem, FileType, PyFileSystem

from quantstream.core.errors import Fenced, Unavailable
from quantstream.lake.compaction import compact_files
from quantstream.lake.schemas import PARTITIONS, SCHEMAS, TIME, TIME_COLUMN

UNREADABLE = (OSError, DeltaError, pa.ArrowException)  # what reading a table's files raises
STATE_BUFFER = (
    1 << 16
)  # bytes: what does not fit into the buffer, Arrow hands on in a form that the library does not take
FileFilter = tuple[str, str, Any]  # of a partition column: name, operator, value
log = logging.getLogger(__name__)


class Step(NamedTuple):
    """A step of an application's progress: the value that the table must have, and the one that it has afterwards."""

    expected: int | None
    reached: int


class FileCount(NamedTuple):
    """How many files a compaction made and how many it took away."""

    added: int = 0
    removed: int = 0


@dataclass(frozen=True)
class Lake:
    """The tables under one folder or `s3://` address. Who only reads them (`may_create` is false) needs no right to write."""

    url: str
    storage_options: Mapping[str, str] | None = None
    may_create: bool = True

    def table(self, name: str) -> DeltaTable:
        """Open a table at its newest version, making it empty when it is not there; who may not sees an empty one.

        Raises: Unavailable when the store cannot be reached.
        """
        uri = f"{self.url}/{name}"
        options = _dict(self.storage_options)
        try:
            if "://" not in uri and self.may_create:
                Path(uri).mkdir(parents=True, exist_ok=True)
            if not DeltaTable.is_deltatable(uri, options):
                if not self.may_create:
                    return DeltaTable(_empty(name).name)
                DeltaTable.create(
                    uri, schema=SCHEMAS[name], partition_by=PARTITIONS, mode="ignore", storage_options=options
                )
            return DeltaTable(uri, storage_options=options)
        except (OSError, DeltaError) as error:
            raise Unavailable(f"the lake table {name} at {self.url} cannot be opened: {error}") from error

    def append(
        self,
        name: str,
        rows: pa.Table,
        progress: Mapping[str, Step] | None = None,
        states: Mapping[str, bytes] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Append rows in one transaction that also moves each application id's `progress`, if it stands where it is said to.

        `states` are what applications must know to go on from the progress they reach, `metadata` is for people who read the log.
        `date` is derived from the table's time column.

        Raises: Fenced when the progress of one is not as said: another writer went on from there, and nothing is
        written; Unavailable when the store refuses for good.
        """
        steps = progress or {}
        properties = CommitProperties(
            app_transactions=[Transaction(application, step.reached) for application, step in steps.items()],
            custom_metadata=dict(metadata or {}),
            max_commit_retries=50,
        )
        rows = _with_date(name, rows)
        table = self.table(name)
        self._expect(name, table, steps)
        try:
            for application, state in (states or {}).items():
                self._keep(name, application, steps[application].reached, state)
            # Delta's protocol: a commit that lands after this version and moves the same progress makes ours fail.
            write_deltalake(table, rows, mode="append", commit_properties=properties)
        except SchemaMismatchError:
            raise  # a defect of ours: no later try would succeed
        except (DeltaError, OSError) as error:
            self._expect(name, self.table(name), steps)
            raise Unavailable(f"the lake table {name} at {self.url} did not take a commit: {error}") from error
        for application in states or {}:
            self._drop_before(name, application, steps[application])

    def progress(self, name: str, application: str, table: DeltaTable | None = None) -> int | None:
        """Return the version that `application` last recorded in a table's transactions; of `table` if that is open."""
        version = (table or self.table(name)).transaction_version(application)
        return None if version is None else int(version)

    def state(self, name: str, application: str, reached: int) -> bytes | None:
        """Return what an application kept beside the progress it reached, None when there is nothing.

        Raises: Unavailable.
        """
        path = state_path(application, reached)
        try:
            files = self._files(name)
            if files.get_file_info(path).type is FileType.NotFound:
                return None
            with files.open_input_stream(path) as stream:
                return bytes(stream.read())
        except (OSError, DeltaError) as error:
            raise Unavailable(f"the lake table {name} at {self.url} cannot be read: {error}") from error

    def states(self, name: str, table: DeltaTable | None = None) -> dict[str, bytes | None]:
        """Return what each application kept beside the progress that a table says it reached; of `table` if that is open.

        None for one that went on meanwhile: its state is gone. Raises: Unavailable.
        """
        table, found = table or self.table(name), dict[str, bytes | None]()
        try:
            folders = self._files(name).get_file_info(FileSelector("_state", allow_not_found=True))
        except (OSError, DeltaError) as error:
            raise Unavailable(f"the lake table {name} at {self.url} cannot be read: {error}") from error
        for folder in folders:
            application = unquote(folder.base_name)
            reached = self.progress(name, application, table)
            if reached is not None:
                found[application] = self.state(name, application, reached)
        return found

    def _data(self, name: str, table: DeltaTable, files: Sequence[FileFilter]) -> Dataset:
        """Return the files of a table that pass all filters."""
        return table.to_pyarrow_dataset(file_pruning_predicate=list(files) or None)

    def _table_at(self, name: str, version: int) -> DeltaTable:
        table = Lake.table(self, name)
        table.load_as_version(version)
        return table

    def _expect(self, name: str, table: DeltaTable, steps: Mapping[str, Step]) -> None:
        for application, step in steps.items():
            found = table.transaction_version(application)
            if found != step.expected:
                raise Fenced(f"the lake table {name} has {application} at {found} instead of {step.expected}")

    def _keep(self, name: str, application: str, reached: int, state: bytes) -> None:
        room = max(STATE_BUFFER, len(state) + 1)
        with self._files(name).open_output_stream(state_path(application, reached), buffer_size=room) as stream:
            stream.write(state)

    def _drop_before(self, name: str, application: str, step: Step) -> None:
        """Delete states older than the one that a reader of the progress before may still ask for."""
        folder = posixpath.dirname(state_path(application, 0))
        try:
            files = self._files(name)
            for info in files.get_file_info(FileSelector(folder, allow_not_found=True)):
                at = int(info.base_name.split(".")[0])
                if step.expected is not None and at < step.expected and at != step.reached:
                    files.delete_file(posixpath.join(folder, info.base_name))
        except (OSError, DeltaError) as error:  # what was committed stays committed; the next commit tidies up
            log.warning("old states stay for now", extra={"table": name, "reason": str(error)})

    def _files(self, name: str) -> FileSystem:
        return files_at(f"{self.url}/{name}", self.storage_options)

    def metadata(self, name: str, key: str) -> str | None:
        """Return the newest commit's custom metadata under `key`, however long ago: lakes of before kept states in there."""
        for commit in self.table(name).history():
            if key in commit:
                return str(commit[key])
        return None

    def highest(self, name: str, column: str) -> dict[str, int]:
        """Return each symbol's highest value of an integer column, from the transaction log alone."""
        files = pa.table(self.table(name).get_add_actions(flatten=True))
        if not files.num_rows:
            return {}
        found = files.group_by("partition.symbol").aggregate([(f"max.{column}", "max")]).to_pylist()
        return {row["partition.symbol"]: row[f"max.{column}_max"] for row in found}

    def rows(self, name: str, table: DeltaTable | None = None) -> dict[str, int]:
        """Return how many rows of each symbol a table holds, from the transaction log alone; of `table` if that is open."""
        files = pa.table((table or self.table(name)).get_add_actions(flatten=True))
        if not files.num_rows:
            return {}
        found = files.group_by("partition.symbol").aggregate([("num_records", "sum")]).to_pylist()
        return {row["partition.symbol"]: row["num_records_sum"] for row in found}

    def version(self, name: str) -> int:
        """Return the table's version number, for training runs to name."""
        return int(self.table(name).version())

    def extent(self, name: str) -> dict[str, tuple[int, datetime]]:
        """Return each symbol's number of rows, revisions not counted again, and newest time.

        It comes from the transaction log; of the data only rows at the times that were revised are read.
        """
        table = self.table(name)
        files = pa.table(table.get_add_actions(flatten=True))
        if not files.num_rows:
            return {}
        newest = f"max.{TIME_COLUMN[name]}"
        found = files.group_by("partition.symbol").aggregate([("num_records", "sum"), (newest, "max")]).to_pylist()
        is_revised = "max.revision" in files.column_names and (pc.max(files["max.revision"]).as_py() or 0) > 0
        duplicates = _duplicates(table, TIME_COLUMN[name]) if is_revised else {}
        return {
            symbol: (row["num_records_sum"] - duplicates.get(symbol, 0), row[f"{newest}_max"])
            for row in found
            for symbol in [row["partition.symbol"]]
        }

    def read(
        self,
        name: str,
        symbols: Iterable[str] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        columns: Sequence[str] | None = None,
        version: int | None = None,
    ) -> pa.Table:
        """Return the rows of some symbols with the time column in `[start, end)`, ordered by symbol and time.

        Raises: Unavailable when they cannot be read.
        """
        table = self.table(name) if version is None else self._table_at(name, version)
        at = TIME_COLUMN[name]
        keep: Any = pc.scalar(True)
        files: list[FileFilter] = []  # of thousands of symbols, only those asked for are looked at
        if symbols is not None:
            files.append(("symbol", "in", names := list(symbols)))
            keep = keep & pc.field("symbol").isin(pa.array(names, pa.string()))
        if start is not None:
            files.append(("date", ">=", start.date()))
            keep = keep & (pc.field(at) >= pa.scalar(start, TIME))
        if end is not None:
            files.append(("date", "<=", end.date()))
            keep = keep & (pc.field(at) < pa.scalar(end, TIME))
        try:
            data = self._data(name, table, files)
            rows = data.to_table(filter=keep, columns=list(columns) if columns else None)
        except UNREADABLE as error:
            raise Unavailable(f"the lake table {name} at {self.url} cannot be read: {error}") from error
        order = [key for key in ("symbol", at) if key in rows.column_names]
        return rows.sort_by([(key, "ascending") for key in order]) if order else rows

    def candles(
        self,
        symbols: Iterable[str] | None = None,
        interval: str = "5m",
        start: datetime | None = None,
        end: datetime | None = None,
        version: int | None = None,
    ) -> pa.Table:
        """Return the newest revision of each candle, ordered by symbol and opening time; of equals, a complete one."""
        rows = self.read("candles", symbols, start, end, version=version)
        rows = rows.filter(pc.field("interval") == interval)
        order = ("symbol", "opened_at", "revision", "is_complete")
        rows = rows.sort_by([(name, "ascending") for name in order])
        return _last_of_each(rows, ("symbol", "opened_at"))

    def candle_frame(
        self,
        symbols: Iterable[str] | None = None,
        interval: str = "5m",
        start: datetime | None = None,
        end: datetime | None = None,
        version: int | None = None,
    ) -> pd.DataFrame:
        """Return `candles` as a frame of floats for features and charts: exactness ends here.

        The way over text rounds correctly (Arrow's direct cast may be one unit off), as `int / 10**8` does live.
        """
        rows = self.candles(symbols, interval, start, end, version)
        floats = [f.name for f in rows.schema if pa.types.is_decimal(f.type)]
        for name in floats:
            rows = rows.set_column(rows.column_names.index(name), name, rows[name].cast(pa.string()).cast(pa.float64()))
        frame: pd.DataFrame = rows.to_pandas()
        return frame

    def compact(self, name: str, keep: timedelta = timedelta(days=7)) -> dict[str, int]:
        """Merge small files into larger ones and delete files no reader needs for `keep`; writers go on meanwhile.

        A second compaction at the same time leaves the rest to the first. Raises: Broken when rows would be lost or doubled,
        before anything is changed; Unavailable.
        """
        table, merged = self.table(name), FileCount()
        try:
            merged = FileCount(*compact_files(table, TIME_COLUMN[name], _dict(self.storage_options)))
            removed = table.vacuum(retention_hours=int(keep.total_seconds() // 3600), dry_run=False)
        except Fenced as error:
            log.info("compaction left to another", extra={"table": name, "reason": str(error)})
            removed = []
        except (CommitFailedError, OSError) as error:
            raise Unavailable(f"the lake table {name} at {self.url} was not compacted: {error}") from error
        return {"files_added": merged.added, "files_removed": merged.removed, "files_deleted": len(removed)}


def files_at(url: str, storage_options: Mapping[str, str] | None = None, may_create: bool = False) -> FileSystem:
    """Return the files under a folder or address; a folder that is not there is made if it may be.

    Raises: Unavailable.
    """
    try:
        if may_create and "://" not in url:
            Path(url).mkdir(parents=True, exist_ok=True)
        return PyFileSystem(DeltaStorageHandler(url, _dict(storage_options)))
    except (OSError, DeltaError) as error:
        raise Unavailable(f"{url} cannot be opened: {error}") from error


@cache
def _empty(name: str) -> TemporaryDirectory[str]:
    """Return a folder of this process's own with a table of no rows: what a reader sees of one that nobody has made yet."""
    folder = TemporaryDirectory(prefix="quantstream-no-rows-")
    DeltaTable.create(folder.name, schema=SCHEMAS[name], partition_by=PARTITIONS)
    return folder


def utc(at: int) -> datetime:
    """Return µs since the epoch as a datetime."""
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=at)


def micros(at: datetime) -> int:
    """Return a datetime as µs since the epoch."""
    return (at - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)


def _with_date(name: str, rows: pa.Table) -> pa.Table:
    at = rows[TIME_COLUMN[name]].cast(TIME)
    rows = rows.drop_columns(["date"]) if "date" in rows.column_names else rows
    rows = rows.append_column("date", at.cast(pa.timestamp("us")).cast(pa.date32()))
    return rows.select(SCHEMAS[name].names).cast(SCHEMAS[name])


def _last_of_each(rows: pa.Table, key: Sequence[str]) -> pa.Table:
    if rows.num_rows < 2:
        return rows
    changes = [pc.not_equal(rows[name].combine_chunks()[:-1], rows[name].combine_chunks()[1:]) for name in key]
    is_last = changes[0]
    for change in changes[1:]:
        is_last = pc.or_(is_last, change)
    return rows.filter(pa.concat_arrays([is_last, pa.array([True])]))


def _duplicates(table: DeltaTable, at: str) -> dict[str, int]:
    """Return how many rows of each symbol duplicate another row; a revision is no duplicate."""
    key = ["symbol", "interval", at]
    data = table.to_pyarrow_dataset()
    times = data.to_table(columns=[at], filter=pc.field("revision") > 0)[at].unique()
    rows = data.to_table(columns=key, filter=pc.field(at).isin(times))
    counts = rows.group_by(key).aggregate([([], "count_all")]).group_by("symbol")
    found = counts.aggregate([("count_all", "sum"), ("count_all", "count")]).to_pylist()
    return {row["symbol"]: row["count_all_sum"] - row["count_all_count"] for row in found}


def state_path(application: str, reached: int) -> str:
    """Return the path of a state: beside the table's data, under a name that Delta's readers and its vacuum ignore."""
    return f"_state/{quote(application, safe='')}/{reached}.json"


def _dict(options: Mapping[str, str] | None) -> dict[str, str] | None:
    return dict(options) if options else None
