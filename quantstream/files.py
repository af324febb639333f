"""Files that are written whole or not at all: who reads one finds the old or the new, after a crash in between as well."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PRIVATE = 0o600  # only its owner may read it


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the path of a draft beside a file; it takes the file's place when the block ends, and is removed when that fails.

    Each process has a draft of its own, so of two that write at once the later one counts, whole.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    draft.unlink(missing_ok=True)  # of a process of the same number that was killed
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write a file in one step, readable by whom `mode` and the umask allow from its first byte on.

    Raises: OSError.
    """
    with replacing(path) as draft:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
