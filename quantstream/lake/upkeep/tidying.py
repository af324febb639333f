"""What nobody needs any more is deleted: replaced files, what killed writers left, old entries of the log.

A file goes when it is older than a time within which every reader of an older version and every writer with a commit in hand has
come to its end. What begins with an underscore, writers' states among it, is no file of the table and is left alone.
"""

from __future__ import annotations

import logging
import shutil
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from deltalake.exceptions import CommitFailedError
from pyarrow.fs import FileType

from quantstream.lake.commits.heads import LAST_CHECKPOINT, checkpoint_in
from quantstream.lake.commits.staging import STAGING
from quantstream.lake.store import Lake, files_at

log = logging.getLogger(__name__)
CHECKPOINT_EVERY = 100  # commits: to open a table is to read the log since its last checkpoint
RETENTION = "delta.logRetentionDuration"


def tidy_up(lake: Lake, name: str, table: Any, keep: timedelta) -> list[str]:
    """Delete files and entries of the log that are older than `keep` and in no version since; return the files deleted.

    Raises: OSError or DeltaError when the store refuses.
    """
    hours = int(keep.total_seconds() // 3600)
    if "://" not in lake.url:
        _drop_stagings(Path(lake.url) / name / STAGING, time.time() - keep.total_seconds())
    deleted: list[str] = table.vacuum(retention_hours=hours, dry_run=False, full=True)
    table.update_incremental()
    if table.version() - checkpoint_of(lake, name) >= CHECKPOINT_EVERY:
        _keep_log_for(table, hours)
        table.create_checkpoint()
        table.cleanup_metadata()
    return deleted


def checkpoint_of(lake: Lake, name: str) -> int:
    """Return the newest version that the log of a table is summed up at, 0 when it never was. Raises: Unavailable, OSError."""
    files = files_at(f"{lake.url}/{name}", lake.storage_options)
    if files.get_file_info(LAST_CHECKPOINT).type is FileType.NotFound:
        return 0
    with files.open_input_stream(LAST_CHECKPOINT) as pointer:
        return checkpoint_in(pointer.read())


def _drop_stagings(folder: Path, before: float) -> None:
    for left in folder.iterdir() if folder.is_dir() else ():
        if left.stat().st_mtime < before:
            shutil.rmtree(left, ignore_errors=True)


def _keep_log_for(table: Any, hours: int) -> None:
    """Have entries of the log deleted as early as the files that they need; of 5 s each there are 120,000 in a week.

    A commit that writers outran is made by the next run: until then the log is only longer.
    """
    wanted = f"interval {hours} hours"
    if table.metadata().configuration.get(RETENTION) == wanted:
        return
    try:
        table.alter.set_table_properties({RETENTION: wanted})
    except CommitFailedError as error:
        log.info("entries of the log are kept longer for now", extra={"table": table.table_uri, "reason": str(error)})
