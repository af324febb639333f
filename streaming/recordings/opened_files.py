"""The files in which recordings lie, opened: plain, or the members of an archive; whatever is no file says so in a sentence.

Nothing here knows what the files hold, so who reads other things than trades needs no more than this.
"""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from quantstream.core.errors import BadRecord, Misconfigured
from streaming.recordings import zip_files

DATA_NAMES = (".csv", ".json", ".jsonl", ".ndjson", ".txt", ".log")  # of an archive's members
# All that gzip and zipfile raise for bytes that are no archive: an encrypted member is a RuntimeError, an unknown method
# NotImplementedError, an offset before the file's start OSError or ValueError.
DAMAGED = (
    *(EOFError, OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, struct.error),
    *(NotImplementedError, RuntimeError, ValueError, OverflowError),
)


@contextmanager
def readable(path: Path) -> Iterator[BinaryIO]:
    """Open a file while inside. Raises: Misconfigured when it is not there or not ours to read; BadRecord when it is damaged."""
    if not path.is_file():
        raise Misconfigured(f"there is no file {path}; check the name")
    try:
        with path.open("rb") as raw:
            yield raw
    except PermissionError:
        raise Misconfigured(f"{path} may not be read; give this user the right to") from None
    except DAMAGED as error:
        raise BadRecord(f"{path} is damaged or cut off ({error}); fetch it again") from None


def opened_members(path: Path) -> Iterator[BinaryIO]:
    """Open every file of data in an archive, one after the other.

    Raises: Misconfigured when there is none; BadRecord when the archive is damaged, also while it is read.
    """
    with readable(path) as raw:
        for _, _, stream in opened(raw, path):
            yield stream


def opened(raw: BinaryIO, path: Path) -> Iterator[tuple[str, str, BinaryIO]]:
    """Open an archive's members, without files that an operating system adds and those of other kinds: place, name, bytes."""
    with zipfile.ZipFile(raw) as packed:
        names = dict.fromkeys(name for name in packed.namelist() if _holds_data(name))
        if not names:
            raise Misconfigured(f"{path} holds no file of trades: none of its members ends in {', '.join(DATA_NAMES)}")
        for name in names:
            place = f"{path}, {name}" if len(names) > 1 else str(path)
            yield place, name, cast(BinaryIO, zip_files.opened(packed, name, raw))


def _holds_data(name: str) -> bool:
    parts = name.split("/")
    is_hidden = any(part == "__MACOSX" or part.startswith("._") for part in parts)
    return not is_hidden and parts[-1].lower().endswith(DATA_NAMES)
