"""The lake's only door: Delta tables of Parquet, written atomically, readable by anything that reads Delta or Parquet.

A writer's progress (a Kafka offset, say) goes into the same Delta transaction as its rows, so that after any crash the
table itself says where to go on: exactly once, without a second store. Whoever appends says what progress it goes on from; a
writer that was paused while another went on is refused, whatever it holds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Field, Schema, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, SchemaMismatchError
from deltalake.fs import DeltaStorageHandler
from pyarrow.fs import FileSystem, PyFileSystem

from quantstream.core.errors import DataRejected, Fenced, Unavailable
from quantstream.lake import stored_states, table_facts
from quantstream.lake.commits.heads import Head
from quantstream.lake.commits.open_tables import OpenTables
from quantstream.lake.commits.staging import staged
from quantstream.lake.encodings import writer_properties
from quantstream.lake.quarantine import Partition, quarantine_of
from quantstream.lake.reads import Reads
from quantstream.lake.schemas import DERIVED, SCHEMAS, TIME, TIME_COLUMN, expect_columns, partitions_of

UNREADABLE = (OSError, DeltaError, pa.ArrowException)  # what reading a table's files raises
CHECKPOINT_AFTER = 500  # commits: where the compaction runs, it has summed up the log long before
log = logging.getLogger(__name__)


class Step(NamedTuple):
    """A step of an application's progress: the value that the table must have, and the one that it has afterwards."""

    expected: int | None
    reached: int


Steps = Mapping[str, Step]  # by application
States = Mapping[str, bytes]  # by application


@dataclass(frozen=True)
class Lake(Reads):
    """The tables under one folder or `s3://` address. Who only reads them (`may_create` is false) needs no right to write."""

    url: str
    storage_options: Mapping[str, str] | None = None
    may_create: bool = True
    _heads: dict[str, Head] = field(default_factory=dict, compare=False, repr=False, kw_only=True)
    _open: OpenTables = field(default_factory=OpenTables, compare=False, repr=False, init=False)

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
                    uri, schema=SCHEMAS[name], partition_by=partitions_of(name), mode="ignore", storage_options=options
                )
            return DeltaTable(uri, storage_options=options)
        except (OSError, DeltaError) as error:
            raise Unavailable(f"the lake table {name} at {self.url} cannot be opened: {error}") from error

    def has(self, name: str) -> bool:
        """Tell whether a table is there. Raises: Unavailable."""
        try:
            return bool(DeltaTable.is_deltatable(f"{self.url}/{name}", _dict(self.storage_options)))
        except (OSError, DeltaError) as error:
            raise Unavailable(f"the lake table {name} at {self.url} cannot be opened: {error}") from error

    def add_columns(self, name: str, columns: Sequence[pa.Field], notes: Mapping[str, Mapping[str, str]]) -> bool:
        """Add columns, empty in all rows, each with what `notes` says of it; return False when another change came first.

        Raises: Unavailable.
        """
        fields = Schema.from_arrow(pa.schema(columns)).fields
        noted = [Field(one.name, one.type, nullable=True, metadata=dict(notes.get(one.name, {}))) for one in fields]
        try:
            self.table(name).alter.add_columns(noted)
        except CommitFailedError:
            return False
        except (DeltaError, OSError) as error:
            raise Unavailable(f"the lake table {name} at {self.url} did not take a commit: {error}") from error
        return True

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
        written; Misconfigured for a table of another version; Unavailable when the store refuses for good.
        """
        steps = progress or {}
        properties = CommitProperties(
            app_transactions=[Transaction(application, step.reached) for application, step in steps.items()],
            custom_metadata=dict(metadata or {}),
            max_commit_retries=50,
        )
        commit = self._commit_remote if "://" in self.url else self._commit_local
        try:
            commit(name, _with_date(name, rows), steps, states or {}, properties)
        except SchemaMismatchError:
            raise  # a defect of ours: no later try would succeed
        except (DeltaError, OSError) as error:
            raise Unavailable(f"the lake table {name} at {self.url} did not take a commit: {error}") from error
        self._tidy_up(name, {application: steps[application] for application in states or {}})

    def _commit_local(self, name: str, rows: pa.Table, steps: Steps, states: States, properties: Any) -> None:
        """Commit to a folder at a cost that goes by the rows: the table's end is known and looked after, not its files."""
        head = self._expected_head(name, steps)
        self._keep(name, steps, states)
        with staged(head.folder, rows, head.partitions, properties) as commit:
            commit.move_files()
            while not commit.publish(head.version + 1):  # progress stands as expected at the very version before
                before, head = head, self._expected_head(name, steps)
                if head.partitions != before.partitions:
                    raise Unavailable(
                        f"the lake table {name} at {self.url} was migrated meanwhile; nothing was written"
                    )
        self._heads[name] = head = head.committed({application: step.reached for application, step in steps.items()})
        if head.version - head.checkpoint >= CHECKPOINT_AFTER:
            self._check_point(name)

    def _commit_remote(self, name: str, rows: pa.Table, steps: Steps, states: States, properties: Any) -> None:
        table = self._open.take(name, self.table)
        expect_columns(name, table)
        self._expect(name, table.transaction_version, steps)
        self._keep(name, steps, states)
        try:
            # Delta's protocol: a commit that lands after this version and moves the same progress makes ours fail.
            encodings = writer_properties(rows.schema)
            write_deltalake(table, rows, mode="append", commit_properties=properties, writer_properties=encodings)
        except (DeltaError, OSError):
            self._expect(name, self.table(name).transaction_version, steps)
            raise
        self._open.put_back(name, table)

    def _expected_head(self, name: str, steps: Steps) -> Head:
        """Return the end of a table's log as it is now, at which all progress stands as said.

        Raises: Fenced, Misconfigured, Unavailable, OSError.
        """
        known = self._heads.get(name)
        head = known.advanced(steps) if known is not None else None
        if head is None:
            table = self.table(name)
            expect_columns(name, table)
            asked = {*steps, *(known.progress if known is not None else ())}
            head = Head.of(Path(self.url) / name, table, asked)
        self._heads[name] = head
        self._expect(name, head.progress.get, steps)
        return head

    def _keep(self, name: str, steps: Steps, states: States) -> None:
        for application, state in states.items():
            stored_states.keep(self._files(name), application, steps[application].reached, state)

    def _check_point(self, name: str) -> None:
        """Sum up the log, which nobody else has done for long, so that it opens fast and its old commits go."""
        try:
            table = self.table(name)
            table.create_checkpoint()
            table.cleanup_metadata()
        except (OSError, DeltaError, Unavailable) as error:  # what was committed stays committed
            log.warning("the log is not summed up for now", extra={"table": name, "reason": str(error)})

    def progress(self, name: str, application: str, table: DeltaTable | None = None) -> int | None:
        """Return the version that `application` last recorded in a table's transactions; of `table` if that is open."""
        version = (table or self.table(name)).transaction_version(application)
        return None if version is None else int(version)

    def state(self, name: str, application: str, reached: int) -> bytes | None:
        """Return what an application kept beside the progress it reached, None when there is nothing.

        Raises: Unavailable.
        """
        with self._reading(name):
            return stored_states.kept(self._files(name), application, reached)

    def newest_state(self, name: str, application: str) -> int | None:
        """Return the newest progress that an application kept a state for, committed or not: asked without opening the table.

        Raises: Unavailable.
        """
        with self._reading(name):
            return stored_states.newest(self._files(name), application)

    def states(self, name: str, table: DeltaTable | None = None) -> dict[str, bytes | None]:
        """Return what each application kept beside the progress that a table says it reached; of `table` if that is open.

        None for one that went on meanwhile: its state is gone. Raises: Unavailable.
        """
        table, found = table or self.table(name), dict[str, bytes | None]()
        with self._reading(name):
            applications = stored_states.applications(self._files(name))
        for application in applications:
            reached = self.progress(name, application, table)
            if reached is not None:
                found[application] = self.state(name, application, reached)
        return found

    def table_at(self, name: str, version: int | None) -> DeltaTable:
        """Open a table at a version, None for the newest.

        Raises: Unavailable; DataRejected when there is no such version.
        """
        if version is None:
            return self.table(name)
        table = Lake.table(self, name)
        newest = int(table.version())
        if not 0 <= version <= newest:
            raise DataRejected(f"the lake table {name} at {self.url} has no version {version}: its newest is {newest}")
        try:
            return DeltaTable(table.table_uri, version=version, storage_options=_dict(self.storage_options))
        except (OSError, DeltaError) as error:
            raise Unavailable(f"the lake table {name} at {self.url} cannot be opened at {version}: {error}") from error

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        try:
            yield
        except UNREADABLE as error:
            raise Unavailable(f"the lake table {name} at {self.url} cannot be read: {error}") from error

    def _expect(self, name: str, progress_of: Callable[[str], int | None], steps: Steps) -> None:
        for application, step in steps.items():
            found = progress_of(application)
            if found != step.expected:
                raise Fenced(f"the lake table {name} has {application} at {found} instead of {step.expected}")

    def _tidy_up(self, name: str, steps: Mapping[str, Step]) -> None:
        """Delete the states that nobody asks for after these steps."""
        try:
            for application, step in steps.items():
                stored_states.drop_before(self._files(name), application, step.expected, step.reached)
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
        return table_facts.highest(self.table(name), column)

    def rows(self, name: str, table: DeltaTable | None = None) -> dict[str, int]:
        """Return how many rows of each symbol a table holds, from the transaction log alone; of `table` if that is open."""
        return table_facts.rows(table or self.table(name))

    def extent(self, name: str) -> dict[str, tuple[int, datetime]]:
        """Return each symbol's number of rows, revisions not counted again, and newest time.

        It comes from the transaction log; of the data only rows at the times that were revised are read.
        """
        return table_facts.extent(self.table(name), TIME_COLUMN[name])

    def version(self, name: str) -> int:
        """Return the table's version number, for training runs to name."""
        return int(self.table(name).version())

    def held(self, name: str, as_of: datetime | None = None) -> frozenset[Partition]:
        """Return the partitions of a table that are in quarantine, or were then.

        Raises: Unavailable.
        """
        return quarantine_of(self, as_of).partitions(name)


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
    DeltaTable.create(folder.name, schema=SCHEMAS[name], partition_by=partitions_of(name))
    return folder


def _with_date(name: str, rows: pa.Table) -> pa.Table:
    at = rows[TIME_COLUMN[name]].cast(TIME)
    rows = rows.drop_columns([column for column in DERIVED if column in rows.column_names])
    at = at.cast(pa.timestamp("us"))
    rows = rows.append_column("date", at.cast(pa.date32()))
    if "month" in SCHEMAS[name].names:
        rows = rows.append_column("month", pc.strftime(at, "%Y-%m"))
    return rows.select(SCHEMAS[name].names).cast(SCHEMAS[name])


def _dict(options: Mapping[str, str] | None) -> dict[str, str] | None:
    return dict(options) if options else None
