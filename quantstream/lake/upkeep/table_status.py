"""What each table of the lake amounts to: rows, files, bytes, days, files that wait for the compaction, the size of its log."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import pyarrow as pa
from pyarrow.fs import FileSelector, FileType

from quantstream.core.errors import Unavailable
from quantstream.lake.commits.heads import LOG
from quantstream.lake.schemas import SCHEMAS, TIME_COLUMN
from quantstream.lake.store import UNREADABLE, Lake, files_at
from quantstream.lake.upkeep.compaction import is_small
from quantstream.lake.upkeep.deleted_trades import TRADES, deleted_trades
from quantstream.lake.upkeep.tidying import checkpoint_of

TITLES = ("table", "rows", "files", "small", "MB", "version", "log MB", "since checkpoint", "oldest", "newest")


class TableStatus(msgspec.Struct, frozen=True):
    """One table as its log describes it. Days are ISO dates, None where there are no rows or no bounds of time."""

    table: str
    rows: int
    files: int
    small_files: int  # of them, those that a compaction merges once that pays
    bytes: int
    version: int
    log_bytes: int
    since_checkpoint: int  # commits that are read one by one when it is opened
    oldest: str | None
    newest: str | None
    deleted_rows: int = 0  # by retention
    deleted_until: str | None = None  # the last day of which a symbol's trades were deleted


def lake_status(lake: Lake) -> list[TableStatus]:
    """Return the tables that are there. Raises: Unavailable."""
    return [_status(lake, name) for name in SCHEMAS if lake.has(name)]


def status_lines(tables: Iterable[TableStatus]) -> list[str]:
    """Return them for a person: a line each, then what retention has deleted."""
    tables = list(tables)
    rows = [TITLES, *(_cells(one) for one in tables)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in rows]
    return lines + [
        f"{one.table}: {one.deleted_rows:,} rows deleted by retention, up to {one.deleted_until}"
        for one in tables
        if one.deleted_until
    ]


def _status(lake: Lake, name: str) -> TableStatus:
    table, at = lake.table(name), TIME_COLUMN[name]
    files = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    gone = deleted_trades(lake, table) if name == TRADES else {}
    try:
        log = files_at(f"{lake.url}/{name}", lake.storage_options).get_file_info(FileSelector(LOG))
        checkpoint = checkpoint_of(lake, name)
    except UNREADABLE as error:
        raise Unavailable(f"the lake table {name} at {lake.url} cannot be read: {error}") from error
    return TableStatus(
        table=name,
        rows=sum(file["num_records"] for file in files),
        files=len(files),
        small_files=sum(map(is_small, files)),
        bytes=sum(file["size_bytes"] for file in files),
        version=int(table.version()),
        log_bytes=sum(one.size for one in log if one.type is FileType.File),
        since_checkpoint=int(table.version()) - checkpoint,
        oldest=_day(min, (file.get(f"min.{at}") for file in files)),
        newest=_day(max, (file.get(f"max.{at}") for file in files)),
        deleted_rows=sum(one.rows for one in gone.values()),
        deleted_until=max((one.last_day for one in gone.values()), default=None),
    )


def _day(which: Any, times: Iterable[Any]) -> str | None:
    found = [time for time in times if time is not None]
    return f"{which(found):%Y-%m-%d}" if found else None


def _cells(one: TableStatus) -> tuple[str, ...]:
    counts = (one.rows, one.files, one.small_files)
    sizes = (f"{one.bytes / 1e6:,.1f}", f"{one.version:,}", f"{one.log_bytes / 1e6:,.1f}", f"{one.since_checkpoint:,}")
    return (one.table, *(f"{count:,}" for count in counts), *sizes, one.oldest or "-", one.newest or "-")
