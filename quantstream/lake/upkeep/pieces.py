"""What a backup of a lake is made of: every table at one version of its log, with its data and its writers' states.

Writers go on meanwhile. The version is chosen first: its data files never change, and what the log says after it is left out. Of
the log only what opens this version is taken: its newest checkpoint and the commits after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType

from quantstream.core.errors import Broken, Unavailable
from quantstream.lake.store import UNREADABLE, Lake, files_at
from quantstream.lake.stored_states import state_path
from quantstream.lake.upkeep.backups import Collection, Piece

LOG = "_delta_log"
TRIES = 20
_ENTRY = re.compile(r"([0-9]{20})\.(json|checkpoint(?:\.[0-9.]+)?\.parquet)")


def lake_pieces(lake: Lake) -> Collection:
    """Return what there is of a lake now. Its facts name each table's version and rows, and folders that are no tables.

    Raises: Unavailable when it cannot be read or its writers go on too fast; Broken when its log lacks a commit.
    """
    pieces: list[Piece] = []
    tables: dict[str, Any] = {}
    try:
        root = files_at(lake.url, lake.storage_options)
        names = [one.base_name for one in root.get_file_info(FileSelector("")) if one.type is FileType.Directory]
        for name in sorted(names):
            if log := _infos(root, f"{name}/{LOG}"):
                tables[name] = _add_table(lake, root, name, log, pieces)
    except UNREADABLE as error:
        raise Unavailable(f"the lake at {lake.url} cannot be read: {error}") from error
    return Collection(pieces, {"tables": tables, "left_out": sorted(set(names) - set(tables))})


def folder_pieces(files: FileSystem) -> Collection:
    """Return every file of a folder. Raises: Unavailable."""
    try:
        found = [Piece(one.path, one.size, str(one.mtime_ns)) for one in _infos(files, "")]
    except UNREADABLE as error:
        raise Unavailable(f"what is to be backed up cannot be listed: {error}") from error
    return Collection(found, {"files": len(found)})


def lake_differences(lake: Lake, facts: Mapping[str, Any]) -> list[str]:
    """Say how a lake that was put back differs from the one that was backed up: one sentence a table. Raises: Unavailable."""
    found = []
    for name, said in facts["tables"].items():
        table = lake.table(name)
        now = {"version": int(table.version()), "rows": sum(lake.rows(name, table).values())}
        if now != said:
            found.append(f"{name} is at {now} where the backup was at {said}")
    return found


def _infos(files: FileSystem, folder: str) -> list[FileInfo]:
    infos = files.get_file_info(FileSelector(folder, recursive=True, allow_not_found=True))
    return [one for one in infos if one.type is FileType.File]


def _add_table(lake: Lake, root: FileSystem, name: str, log: list[FileInfo], pieces: list[Piece]) -> dict[str, int]:
    table, states = _at_one_moment(lake, name)
    version = int(table.version())
    for application, state in states.items():
        if state is not None:
            path = f"{name}/{state_path(application, table.transaction_version(application))}"
            pieces.append(Piece(path, len(state), str(version), content=state))
    rows = 0
    for file in pa.table(table.get_add_actions(flatten=True)).to_pylist():
        path = f"{name}/{unquote(file['path'])}"  # a log quotes what it names
        pieces.append(Piece(path, file["size_bytes"], str(file["modification_time"])))
        rows += file["num_records"]
    log = log if _covers(log, version) else _infos(root, f"{name}/{LOG}")
    pieces += _log_pieces(name, log, version)
    return {"version": version, "rows": rows}


def _at_one_moment(lake: Lake, name: str) -> tuple[Any, dict[str, bytes | None]]:
    """Return a table with the states that belong to the progress in it: a commit replaces them soon after."""
    table = lake.table(name)
    for _ in range(TRIES):
        states = lake.states(name, table)
        again = lake.table(name)
        if None not in states.values() or again.version() == table.version():
            return table, states
        table = again
    raise Unavailable(f"the lake's table {name} is committed to faster than its states can be read; run it again")


def _covers(log: list[FileInfo], version: int) -> bool:
    return any(one.base_name == f"{version:020}.json" for one in log)


def _log_pieces(name: str, log: list[FileInfo], version: int) -> Iterator[Piece]:
    """Go through the log's files that open a version, to be put back from their end: a table opens once it is whole."""
    entries = [(int(match[1]), match[2], one) for one in log if (match := _ENTRY.fullmatch(one.base_name))]
    checkpoints = [at for at, kind, _ in entries if kind != "json" and at <= version]
    first = max(checkpoints, default=0)
    commits = {at: one for at, kind, one in entries if kind == "json" and first <= at <= version}
    lacking = [at for at in range(first + bool(checkpoints), version + 1) if at not in commits]
    if lacking:
        raise Broken(
            f"the log of the lake's table {name} lacks version {lacking[0]} of {version}; nothing was backed up"
        )
    files = [commits[at] for at in sorted(commits, reverse=True)]
    files += [one for at, kind, one in entries if kind != "json" and at == first and checkpoints]
    return (Piece(one.path, one.size, str(one.mtime_ns), turn) for turn, one in enumerate(files, 1))
