"""Tables that are made of others: each partition one file, written by whoever computes it, put in and replaced by one commit.

Such a table (features, say) holds nothing that could not be made anew, so what a commit says of a partition is all that a later
one needs: what it was made of stands in columns that are the same in all its rows, and so in the transaction log. A commit takes
the next number of a counter in the table's transactions; a second maker who planned on the same version is fenced.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction

from quantstream.core.errors import Fenced, Misconfigured, Unavailable
from quantstream.lake.schemas import TEXTS
from quantstream.lake.store import UNREADABLE, Lake, files_at

Key = tuple[str, ...]  # a partition: the values of the columns it is partitioned by
COUNTER = "made"  # application id whose version counts the commits
FOR_EVER = {"delta.enableExpiredLogCleanup": "false"}  # a version that a model names is readable for years


@dataclass(frozen=True)
class Part:
    """A partition's file: where it lies under the table, how large it is, and what is the same in all its rows."""

    key: Key
    path: str
    bytes: int
    rows: int
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Made:
    """A table at one version: its columns and its parts."""

    version: int
    kinds: Mapping[str, str]  # column → type
    parts: Mapping[Key, Part]
    commits: int  # of makers: what the next commit expects


def write_part(lake: Lake, name: str, by: Sequence[str], key: Key, rows: pa.Table, facts: Mapping[str, Any]) -> Part:
    """Write the rows of one partition, without its own columns `by`, and return what a commit is to say of them.

    `facts` become columns. A file that no commit names is nothing to readers. Raises: Unavailable.
    """
    folder = "/".join(f"{column}={quote(value, safe='')}" for column, value in zip(by, key, strict=True))
    path = f"{folder}/part-{uuid.uuid4()}.zstd.parquet"
    same = {column: pa.array([value] * rows.num_rows, _type(value)) for column, value in facts.items()}
    rows = pa.table({**same, **dict(zip(rows.column_names, rows.columns, strict=True))})
    floats = [field.name for field in rows.schema if pa.types.is_floating(field.type)]
    try:
        files = files_at(f"{lake.url}/{name}", lake.storage_options, may_create=True)
        with files.open_output_stream(path) as out:
            # the bytes of floats by their place: alike ones side by side are a fifth less
            pq.write_table(
                rows,
                out,
                compression="zstd",
                use_dictionary=list(facts),
                use_byte_stream_split=floats,
                write_statistics=False,
            )
        size = files.get_file_info(path).size
    except UNREADABLE as error:
        raise Unavailable(f"the lake table {name} at {lake.url} did not take a file: {error}") from error
    return Part(key, path, size, rows.num_rows, dict(facts))


def made(lake: Lake, name: str, version: int | None = None) -> Made | None:
    """Return a table's parts at a version, the newest without one; None where there is no table.

    Raises: Misconfigured for a version that is not there, Unavailable.
    """
    table = _open(lake, name, version)
    if table is None:
        return None
    by = table.metadata().partition_columns
    parts = {}
    for file in pa.table(table.get_add_actions(flatten=True)).to_pylist():
        key = tuple(str(file[f"partition.{column}"]) for column in by)
        facts = {column[4:]: value for column, value in file.items() if column.startswith("min.")}
        parts[key] = Part(key, unquote(file["path"]), file["size_bytes"], file["num_records"], facts)
    return Made(int(table.version()), _kinds(pa.schema(table.schema())), parts, table.transaction_version(COUNTER) or 0)


def begin(lake: Lake, name: str, by: Sequence[str], schema: pa.Schema) -> Made:
    """Return the newest version of a table of these columns, made or, where it had others, emptied for them.

    Versions of before keep their rows and their columns. Raises: Unavailable.
    """
    found = made(lake, name)
    if found is not None and found.kinds == _kinds(schema):
        return found
    options = dict(lake.storage_options) if lake.storage_options else None
    url = f"{lake.url}/{name}"
    try:
        if found is None:
            files_at(url, lake.storage_options, may_create=True)
            DeltaTable.create(
                url,
                schema=schema,
                partition_by=list(by),
                mode="ignore",
                configuration=dict(FOR_EVER),
                storage_options=options,
            )
        else:
            write_deltalake(
                url,
                schema.empty_table(),
                mode="overwrite",
                schema_mode="overwrite",
                partition_by=list(by),
                storage_options=options,
            )
    except (DeltaError, OSError) as error:
        raise Unavailable(f"the lake table {name} at {lake.url} cannot be made: {error}") from error
    begun = made(lake, name)
    assert begun is not None
    return begun


def commit(
    lake: Lake, name: str, base: Made, adds: Sequence[Part], removes: Sequence[Part], notes: Mapping[str, str]
) -> Made:
    """Put parts in and take parts out in one transaction that goes on from `base`; return what is there then.

    Raises: Fenced when another maker went on from there, Unavailable.
    """
    table = _open(lake, name, None)
    assert table is not None
    by, number = table.metadata().partition_columns, base.commits + 1
    if (table.transaction_version(COUNTER) or 0) != base.commits:
        raise Fenced(f"the lake table {name} is being made by another; this one leaves the rest to it")
    actions = [
        *(_add(part, by) for part in adds),
        *(
            RemoveAction(
                path=part.path,
                deletion_timestamp=_now_ms(),
                data_change=True,
                partition_values=dict(zip(by, part.key, strict=True)),
                size=part.bytes,
            )
            for part in removes
        ),
    ]
    properties = CommitProperties(
        app_transactions=[Transaction(COUNTER, number)], custom_metadata=dict(notes), max_commit_retries=5
    )
    try:
        table.create_write_transaction(
            actions, mode="append", schema=table.schema(), partition_by=by, commit_properties=properties
        )
    except CommitFailedError as error:
        raise Fenced(f"the lake table {name} is being made by another; this one leaves the rest to it") from error
    except (DeltaError, OSError) as error:
        raise Unavailable(f"the lake table {name} at {lake.url} did not take a commit: {error}") from error
    after = made(lake, name)
    assert after is not None
    return after


def read_part(lake: Lake, name: str, part: Part, columns: Sequence[str] | None = None) -> pa.Table:
    """Return a part's rows. Raises: Unavailable, with what to do where its file was removed."""
    try:
        with files_at(f"{lake.url}/{name}", lake.storage_options).open_input_file(part.path) as source:
            return pq.ParquetFile(source).read(columns=list(columns) if columns else None)
    except FileNotFoundError as error:
        raise Misconfigured(
            f"the lake table {name} no longer has {part.path}: the version that names it was vacuumed; build it anew, or "
            "restore a backup of that time"
        ) from error
    except UNREADABLE as error:
        raise Unavailable(f"the lake table {name} at {lake.url} cannot be read: {error}") from error


def vacuum(lake: Lake, name: str, keep: Iterable[int], hours: int, dry_run: bool = False) -> list[str]:
    """Delete files that none of the versions `keep` and the newest needs and that are older than `hours`; return them.

    Raises: Unavailable.
    """
    table = _open(lake, name, None)
    if table is None:
        return []
    newest = int(table.version())
    kept = sorted(version for version in set(keep) if 0 <= version <= newest)
    try:
        return list(
            table.vacuum(
                retention_hours=hours, dry_run=dry_run, enforce_retention_duration=False, keep_versions=kept or None
            )
        )
    except (DeltaError, OSError) as error:
        raise Unavailable(f"the lake table {name} at {lake.url} was not tidied up: {error}") from error


def _open(lake: Lake, name: str, version: int | None) -> DeltaTable | None:
    if not lake.has(name):
        return None
    try:
        table = DeltaTable(f"{lake.url}/{name}", storage_options=dict(lake.storage_options or {}) or None)
    except (OSError, DeltaError) as error:
        raise Unavailable(f"the lake table {name} at {lake.url} cannot be opened: {error}") from error
    if version is not None and version != table.version():
        try:
            table.load_as_version(version)
        except (OSError, DeltaError) as error:
            raise Misconfigured(
                f"the lake table {name} has no version {version} that could be read; its newest is {table.version()}"
            ) from error
    return table


def _add(part: Part, by: Sequence[str]) -> AddAction:
    same = {name: value for name, value in part.facts.items() if value is not None}
    stats = {"numRecords": part.rows, "minValues": same, "maxValues": same, "nullCount": dict.fromkeys(same, 0)}
    partition = dict(zip(by, part.key, strict=True))
    return AddAction(part.path, part.bytes, partition, _now_ms(), True, json.dumps(stats))


def _kinds(schema: pa.Schema) -> dict[str, str]:
    """Return each column's type, as numpy calls floats; how texts are spelled is the library's own."""
    names = {pa.float64(): "float64", pa.float32(): "float32", **dict.fromkeys(TEXTS, "text")}
    return {field.name: names.get(field.type, str(field.type)) for field in schema}


def _type(value: Any) -> pa.DataType:
    return pa.string() if isinstance(value, str) else pa.int64()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
