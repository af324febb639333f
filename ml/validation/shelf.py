"""Where reports and data docs lie: in the state folder, or with a lake on object storage, which the page and all pods share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pyarrow.fs import FileSelector, FileSystem, FileType

from quantstream.core.errors import Unavailable
from quantstream.lake.store import UNREADABLE, Lake, files_at
from quantstream.lake.stored_states import put

BESIDE = "_checks"  # the folder of a lake's address that is no table
IS_AWAY = "://"


@dataclass(frozen=True)
class Shelf:
    """Files by name under a folder or address; each is written whole or not at all."""

    root: str
    folder: str = ""  # below the root
    options: Mapping[str, str] | None = None  # how the address is reached

    @classmethod
    def of(cls, lake: Lake, state: Path) -> Shelf:
        """Return the shelf of a lake and a state folder."""
        return cls(lake.url, f"{BESIDE}/", lake.storage_options) if IS_AWAY in lake.url else cls(str(state))

    def where(self, name: str) -> str:
        """Return the path or address of a file, for people."""
        return f"{self.root}/{self.folder}{name}"

    def write(self, name: str, content: bytes) -> None:
        """Write a file, in the place of one of before. Raises: Unavailable."""
        try:
            put(self._files(may_create=True), self.folder + name, content)
        except UNREADABLE as error:
            raise Unavailable(f"{self.where(name)} cannot be written: {error}") from error

    def read(self, name: str) -> bytes | None:
        """Return a file's content, None where there is none. Raises: Unavailable."""
        if not self._is_there():
            return None
        try:
            files = self._files()
            if files.get_file_info(self.folder + name).type is not FileType.File:
                return None
            with files.open_input_stream(self.folder + name) as stream:
                return bytes(stream.read())
        except UNREADABLE as error:
            raise Unavailable(f"{self.where(name)} cannot be read: {error}") from error

    def names(self, folder: str) -> list[str]:
        """Return the names of all files below a folder, in order. Raises: Unavailable."""
        if not self._is_there():
            return []
        try:
            below = FileSelector(self.folder + folder, recursive=True, allow_not_found=True)
            found = self._files().get_file_info(below)
        except UNREADABLE as error:
            raise Unavailable(f"{self.where(folder)} cannot be listed: {error}") from error
        return sorted(one.path[len(self.folder) :] for one in found if one.type is FileType.File)

    def remove(self, name: str) -> None:
        """Remove a file. Raises: Unavailable."""
        try:
            self._files().delete_file(self.folder + name)
        except UNREADABLE as error:
            raise Unavailable(f"{self.where(name)} cannot be removed: {error}") from error

    def _is_there(self) -> bool:
        return IS_AWAY in self.root or Path(self.root).is_dir()

    def _files(self, may_create: bool = False) -> FileSystem:
        return files_at(self.root, self.options, may_create)
