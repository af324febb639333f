"""The end of a table's log as a writer knows it: the newest version and how far the writers it asked after have come.

The library (deltalake 1.6) lists all files of a table anew for each commit, even of a table that is kept open: a second and
200 MB for 100,000 files. Who appends needs none of them. A head is opened by the library once and then advanced by the commits
that came since. What it cannot be sure of (other columns, another log in this one's place, commits cleaned away) opens it anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

LOG = "_delta_log"
LAST_CHECKPOINT = f"{LOG}/_last_checkpoint"
Mark = tuple[int, int, int]  # which file it is: inode, time of change (ns), bytes


class _Transaction(msgspec.Struct, rename="camel"):
    app_id: str
    version: int


class _Action(msgspec.Struct, rename="camel"):
    """What of a commit matters to who appends."""

    txn: _Transaction | None = None
    meta_data: dict[str, Any] | None = None
    protocol: dict[str, Any] | None = None


class _Checkpoint(msgspec.Struct):
    version: int


_action, _checkpoint = msgspec.json.Decoder(_Action), msgspec.json.Decoder(_Checkpoint)


@dataclass(frozen=True)
class Head:
    """A version of a table in a local folder, what it is partitioned by, and the progress of some applications at it."""

    folder: Path
    version: int
    partitions: tuple[str, ...]
    progress: Mapping[str, int | None]
    checkpoint: int = 0  # the newest there is
    mark: Mark | None = None

    @classmethod
    def of(cls, folder: Path, table: Any, applications: Iterable[str]) -> Head:
        """Return the head of an open table, which knows the progress of `applications`."""
        version = int(table.version())
        return cls(
            folder,
            version,
            tuple(table.metadata().partition_columns),
            {one: table.transaction_version(one) for one in applications},
            _newest_checkpoint(folder),
            _mark(commit_path(folder, version)),
        )

    def advanced(self, applications: Iterable[str]) -> Head | None:
        """Return the newest head there is, None when it must be opened anew. Raises: OSError."""
        if not self.progress.keys() >= set(applications) or self.mark is None:
            return None
        if _mark(commit_path(self.folder, self.version)) != self.mark:
            return None  # cleaned away, or another log is in this one's place
        head: Head | None = self
        while head is not None and (path := commit_path(head.folder, head.version + 1)).exists():
            head = head._after(path)
        checkpoint = _newest_checkpoint(self.folder)
        if head is None or checkpoint > head.version:
            return None  # the commits in between were cleaned away
        return replace(head, checkpoint=checkpoint)

    def committed(self, progress: Mapping[str, int]) -> Head:
        """Return the head after a commit of one's own as the next version."""
        path = commit_path(self.folder, self.version + 1)
        return replace(self, version=self.version + 1, progress={**self.progress, **progress}, mark=_mark(path))

    def _after(self, path: Path) -> Head | None:
        moved: dict[str, int] = {}
        for line in path.read_bytes().splitlines():
            action = _action.decode(line)
            if action.meta_data is not None or action.protocol is not None:
                return None
            if action.txn is not None:
                moved[action.txn.app_id] = action.txn.version
        return self.committed(moved)


def commit_path(folder: Path, version: int) -> Path:
    """Return where the log of a table keeps the commit that made a version."""
    return folder / LOG / f"{version:020}.json"


def checkpoint_in(raw: bytes) -> int:
    """Return the version that the pointer to a log's newest checkpoint names."""
    return _checkpoint.decode(raw).version


def _newest_checkpoint(folder: Path) -> int:
    try:
        return checkpoint_in((folder / LAST_CHECKPOINT).read_bytes())
    except FileNotFoundError:
        return 0


def _mark(path: Path) -> Mark | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
