"""Backups of folders, kept in another one: what is new is copied, what is old goes after some days, what is put back is proven.

A backup is its manifest: a list of pieces, written when all of them are there. Their contents lie in a common pool, each under
a name of its own and never changed, so that many backups of a large lake take little more room than one. A run that ended half
way has left contents that the next one uses or removes, and no manifest.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType

from quantstream.core.errors import Broken, Misconfigured, Unavailable
from quantstream.lake.store import UNREADABLE

STAMP = "%Y%m%dT%H%M%SZ"
CHUNK = 4 << 20  # bytes
AT_ONCE = 8  # copies; each waits for the store most of its time
UNFINISHED = timedelta(days=1)  # contents younger than it may belong to a backup that is being made


@dataclass(frozen=True)
class Piece:
    """A file: where it belongs, and what tells it from an earlier one of that path.

    Pieces of `turn` 0 are put back first, in any order, then the others one after the other.
    """

    path: str
    size: int
    mark: str
    turn: int = 0
    content: bytes | None = None  # where none is given it is read from its path
    digest: str = ""  # SHA-256, once it was copied

    @property
    def kept_as(self) -> str:
        """Its name in the pool."""
        name = sha256(f"{self.path}\n{self.size}\n{self.mark}".encode()).hexdigest()
        return f"files/{name[:2]}/{name}"


@dataclass(frozen=True)
class Collection:
    """What is backed up together; `facts` are what a restore is held to and people read."""

    pieces: Sequence[Piece]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Made:
    """What a backup came to. `copied` is a number of files, `copied_bytes` their size; `removed` counts what was too old."""

    stamp: str
    pieces: int
    copied: int
    copied_bytes: int
    removed: int


def back_up(source: FileSystem, found: Collection, kept: FileSystem, now: datetime, keep: timedelta) -> Made:
    """Copy what is not kept yet, write the manifest, then remove what only backups older than `keep` need.

    Raises: Unavailable when a store does not answer or a file changed meanwhile; Broken when a manifest cannot be read.
    """
    with _answering("the backup was not made"):
        stamps = stamps_of(kept)
        before = {one.kept_as: one.digest for one in _manifest(kept, stamps[-1])[0]} if stamps else {}
        there = _pool(kept)
        pieces, missing = list[Piece](), list[Piece]()
        for one in found.pieces:
            is_kept = one.kept_as in before and one.kept_as in there and there[one.kept_as].size == one.size
            (pieces if is_kept else missing).append(replace(one, digest=before.get(one.kept_as, "")))
        with ThreadPoolExecutor(AT_ONCE) as threads:
            copied = list(threads.map(lambda one: _copy(source, one, kept), missing))
        pieces += copied
        _prove_kept(kept, pieces)
        stamp = f"{now:{STAMP}}"
        _write_manifest(kept, stamp, pieces, found.facts)
        removed = _prune(kept, now, keep)
    return Made(stamp, len(pieces), len(copied), sum(one.size for one in copied), removed)


def restore(kept: FileSystem, stamp: str, target: FileSystem) -> dict[str, Any]:
    """Put a backup back into an empty place, each file proven against its digest, and return the backup's facts.

    Raises: Misconfigured when there is no such backup or the place is not empty; Broken when a file is not what was backed
    up; Unavailable.
    """
    with _answering("the restore is not finished; empty the place and begin again"):
        if stamp not in (there := stamps_of(kept)):
            raise Misconfigured(f"there is no backup {stamp}; there are: {', '.join(there) or 'none'}")
        if next(_files(target, ""), None) is not None:
            raise Misconfigured("something lies where the backup would be put back; name a new folder")
        pieces, facts = _manifest(kept, stamp)
        with ThreadPoolExecutor(AT_ONCE) as threads:
            list(threads.map(lambda one: _put_back(kept, one, target), (one for one in pieces if not one.turn)))
        for one in sorted((one for one in pieces if one.turn), key=lambda one: one.turn):
            _put_back(kept, one, target)
    return facts


def stamps_of(kept: FileSystem) -> list[str]:
    """Return the backups that are there, oldest first.

    Raises: Unavailable.
    """
    with _answering("the backups cannot be listed"):
        infos = kept.get_file_info(FileSelector("manifests", allow_not_found=True))
    return sorted(info.base_name.removesuffix(".json") for info in infos if info.base_name.endswith(".json"))


@contextmanager
def _answering(otherwise: str) -> Iterator[None]:
    try:
        yield
    except UNREADABLE as error:
        raise Unavailable(f"{otherwise}: {error}") from error


def _copy(source: FileSystem, piece: Piece, kept: FileSystem) -> Piece:
    given = source.open_input_stream(piece.path) if piece.content is None else None
    size, digest = _write(kept, piece.kept_as, _chunks(given) if given is not None else iter([piece.content or b""]))
    if size != piece.size:
        raise Unavailable(
            f"{piece.path} changed while it was copied: {size} bytes instead of {piece.size}; run it again"
        )
    return replace(piece, digest=digest, content=None)


def _put_back(kept: FileSystem, piece: Piece, target: FileSystem) -> None:
    found = _write(target, piece.path, _chunks(kept.open_input_stream(piece.kept_as)))
    if found != (piece.size, piece.digest):
        raise Broken(
            f"{piece.path} is not what was backed up ({found[0]} bytes of {piece.size}); empty the place, take another backup"
        )


def _chunks(stream: Any) -> Iterator[bytes]:
    with stream:
        while chunk := bytes(stream.read(CHUNK)):
            yield chunk


def _write(files: FileSystem, path: str, chunks: Iterable[bytes]) -> tuple[int, str]:
    """Write a file and return its size and digest."""
    size, digest = 0, sha256()
    # what does not fit into the buffer Arrow hands on in a form that the library does not take
    with files.open_output_stream(path, buffer_size=CHUNK + 1) as out:
        for whole in chunks:
            for at in range(0, len(whole), CHUNK):
                out.write(whole[at : at + CHUNK])
            size += len(whole)
            digest.update(whole)
    return size, digest.hexdigest()


def _files(files: FileSystem, folder: str) -> Iterator[FileInfo]:
    infos = files.get_file_info(FileSelector(folder, recursive=True, allow_not_found=True))
    return (info for info in infos if info.type is FileType.File)


def _pool(kept: FileSystem) -> dict[str, FileInfo]:
    return {info.path: info for info in _files(kept, "files")}


def _prove_kept(kept: FileSystem, pieces: Iterable[Piece]) -> None:
    there = _pool(kept)
    for one in pieces:
        if one.kept_as not in there or there[one.kept_as].size != one.size:
            raise Unavailable(f"{one.path} is not where it was copied to; does another backup run? Run this again")


def _write_manifest(kept: FileSystem, stamp: str, pieces: Sequence[Piece], facts: Mapping[str, Any]) -> None:
    rows = [{key: value for key, value in asdict(one).items() if key != "content"} for one in pieces]
    _write(kept, _manifest_path(stamp), iter([json.dumps({"facts": facts, "pieces": rows}).encode()]))


def _manifest_path(stamp: str) -> str:
    return posixpath.join("manifests", f"{stamp}.json")


def _manifest(kept: FileSystem, stamp: str) -> tuple[list[Piece], dict[str, Any]]:
    try:
        with kept.open_input_stream(_manifest_path(stamp)) as stream:
            read = json.loads(stream.read())
        return [Piece(**row) for row in read["pieces"]], dict(read["facts"])
    except (ValueError, TypeError, KeyError) as error:
        raise Broken(
            f"the manifest of the backup {stamp} cannot be read ({error}); remove {_manifest_path(stamp)}"
        ) from error


def _prune(kept: FileSystem, now: datetime, keep: timedelta) -> int:
    """Remove backups older than `keep`, and contents that no other needs; return how many backups. The newest always stays."""
    stamps = stamps_of(kept)
    old = [stamp for stamp in stamps[:-1] if _made_at(stamp) < now - keep]
    needed = {one.kept_as for stamp in stamps if stamp not in old for one in _manifest(kept, stamp)[0]}
    for stamp in old:
        kept.delete_file(_manifest_path(stamp))
    for path, info in _pool(kept).items():
        if path not in needed and info.mtime < now - UNFINISHED:
            kept.delete_file(path)
    return len(old)


def _made_at(stamp: str) -> datetime:
    try:
        return datetime.strptime(stamp, STAMP).replace(tzinfo=UTC)
    except ValueError as error:
        raise Broken(f"{_manifest_path(stamp)} is no backup's manifest; remove it") from error
