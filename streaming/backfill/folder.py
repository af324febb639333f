"""Where files wait that were fetched and not imported yet: beside the lake, where there is room for what they become."""

from __future__ import annotations

import errno
import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quantstream.core.errors import Unavailable

PREFIX, LOCK = ".backfill-", "lock"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def folder_beside(lake: str, state: Path) -> Path:
    """Return where to put files for a lake: the folder that it lies in, or the state folder where it is an address."""
    return state if "://" in lake else Path(lake).absolute().parent


@contextmanager
def waiting_files(folder: Path) -> Iterator[Path]:
    """Give a folder of one's own in `folder` while inside; what runs that were killed have left there is deleted.

    Raises: Unavailable when there is no room, also for what is done inside, or `folder` cannot be written.
    """
    own = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _tidy_up(folder)
        own = Path(tempfile.mkdtemp(prefix=PREFIX, dir=folder))
        with (own / LOCK).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield own
    except OSError as error:
        raise Unavailable(no_room(folder, error)) from None
    finally:
        if own is not None:
            shutil.rmtree(own, ignore_errors=True)


def no_room(folder: Path, error: OSError) -> str:
    """Return the sentence about a folder that takes no more files."""
    if error.errno in NO_ROOM:
        return f"there is no room in {folder} for the archive's files; make some and start again: nothing is repeated"
    return f"{error.filename or folder} cannot be written: {error.strerror or error}"


def _tidy_up(folder: Path) -> None:
    for lock in folder.glob(f"{PREFIX}*/{LOCK}"):
        with lock.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue  # its run goes on
            shutil.rmtree(lock.parent, ignore_errors=True)
