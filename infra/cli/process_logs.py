"""The processes' logs, one or all, with the lines that come while one watches."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from io import SEEK_END
from pathlib import Path
from typing import TextIO

from quantstream.core.errors import Misconfigured

POLL = 0.3  # seconds


def show(folder: Path, name: str | None, follow: bool, lines: int, out: TextIO = sys.stdout) -> None:
    """Print the last lines of one log or of all (each then under its name), and follow until Ctrl-C when asked.

    Raises: Misconfigured when there is no such log.
    """
    paths = find(folder, name)
    for path in paths:
        if len(paths) > 1:
            out.write(f"==> {path.stem} <==\n")
        out.writelines(tail(path, lines))
    if follow:
        for path, line in _new_lines(paths):
            out.write(f"{path.stem}: {line}" if len(paths) > 1 else line)
            out.flush()


def find(folder: Path, name: str | None) -> list[Path]:
    """Return the log of a process, or all logs.

    Raises: Misconfigured when there is none.
    """
    known = sorted(folder.glob("*.log"))
    if not known:
        raise Misconfigured(f"there are no logs in {folder}; run quantstream up first")
    if name is None:
        return known
    wanted = [path for path in known if path.stem == name]
    if not wanted:
        raise Misconfigured(f"there is no log of {name!r}; known are {', '.join(path.stem for path in known)}")
    return wanted


def tail(path: Path, lines: int) -> Sequence[str]:
    """Return the last lines of a file."""
    with path.open(errors="replace") as file:
        return deque(file, maxlen=lines)


def _new_lines(paths: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    files = {path: path.open(errors="replace") for path in paths}
    for file in files.values():
        file.seek(0, SEEK_END)
    while True:
        quiet = True
        for path, file in files.items():
            for line in file:
                quiet = False
                yield path, line
            if path.exists() and path.stat().st_ino != os.fstat(file.fileno()).st_ino:
                files[path] = path.open(errors="replace")  # rotated: go on with the new file
                file.close()
        if quiet:
            time.sleep(POLL)
