"""A commit made ready beside a table: its data files and its entry for the log, which becomes the next version at one stroke.

The library writes both, into an empty table below `_staging` in the table's folder, where no reader looks. The files are moved in
among the table's and the entry is linked into the log under the next number, which fails when somebody else has taken it. So
nobody sees a half, and the cost goes by the rows and not by the table. Who is killed leaves files that nothing refers to.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, write_deltalake

from quantstream.lake.commits.heads import commit_path
from quantstream.lake.encodings import writer_properties

STAGING = "_staging"  # Delta's readers and its vacuum pass by what begins so
NO_UPKEEP = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)


class StagedCommit:
    """The rows of one commit, written but not yet in the table."""

    def __init__(self, folder: Path, staging: Path) -> None:
        """`folder` is the table's, `staging` that of the table which has the one commit."""
        self._folder, self._staging = folder, staging

    def move_files(self) -> None:
        """Move the data files in among the table's. Raises: OSError."""
        for path in sorted(self._staging.rglob("*.parquet")):
            target = self._folder / path.relative_to(self._staging)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.rename(path, target)

    def publish(self, version: int) -> bool:
        """Make it the table's `version`; return False when another commit is. Raises: OSError."""
        try:
            os.link(commit_path(self._staging, 1), commit_path(self._folder, version))
        except FileExistsError:
            return False
        return True


@contextmanager
def staged(
    folder: Path, rows: pa.Table, partitions: Sequence[str], properties: CommitProperties
) -> Iterator[StagedCommit]:
    """Write rows as a commit for a table; what is left of it beside the table goes away in the end.

    Raises: OSError or DeltaError when it cannot be written.
    """
    staging = folder / STAGING / uuid.uuid4().hex
    staging.mkdir(parents=True)
    try:
        table = DeltaTable.create(str(staging), schema=rows.schema, partition_by=list(partitions))
        write_deltalake(
            table,
            rows,
            mode="append",
            commit_properties=properties,
            post_commithook_properties=NO_UPKEEP,
            writer_properties=writer_properties(rows.schema),
        )
        yield StagedCommit(folder, staging)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
