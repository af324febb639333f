"""Where writers' states lie: beside a table's data, each under the progress that it belongs to."""

from __future__ import annotations

import posixpath
from urllib.parse import quote, unquote

from pyarrow.fs import FileSelector, FileSystem, FileType

BUFFER = 1 << 16  # bytes: what does not fit into the buffer, Arrow hands on in a form that the library does not take


def state_path(application: str, reached: int) -> str:
    """Return the path of a state: beside the table's data, under a name that Delta's readers and its vacuum ignore."""
    return f"_state/{quote(application, safe='')}/{reached}.json"


def keep(files: FileSystem, application: str, reached: int, state: bytes) -> None:
    """Write the state that belongs to a progress."""
    put(files, state_path(application, reached), state)


def put(files: FileSystem, path: str, content: bytes) -> None:
    """Write a file, whole."""
    with files.open_output_stream(path, buffer_size=max(BUFFER, len(content) + 1)) as stream:
        stream.write(content)


def kept(files: FileSystem, application: str, reached: int) -> bytes | None:
    """Return the state that belongs to a progress, None when there is none."""
    path = state_path(application, reached)
    if files.get_file_info(path).type is FileType.NotFound:
        return None
    with files.open_input_stream(path) as stream:
        return bytes(stream.read())


def applications(files: FileSystem) -> list[str]:
    """Return the applications that keep a state here."""
    folders = files.get_file_info(FileSelector("_state", allow_not_found=True))
    return [unquote(folder.base_name) for folder in folders]


def newest(files: FileSystem, application: str) -> int | None:
    """Return the newest progress that a state was written for, whether or not a commit reached it; None for none."""
    folder = posixpath.dirname(state_path(application, 0))
    found = files.get_file_info(FileSelector(folder, allow_not_found=True))
    return max((int(info.base_name.split(".")[0]) for info in found), default=None)


def drop_before(files: FileSystem, application: str, expected: int | None, reached: int) -> None:
    """Delete states older than the one that a reader of the progress before, `expected`, may still ask for."""
    folder = posixpath.dirname(state_path(application, 0))
    for info in files.get_file_info(FileSelector(folder, allow_not_found=True)):
        at = int(info.base_name.split(".")[0])
        if expected is not None and at < expected and at != reached:
            files.delete_file(posixpath.join(folder, info.base_name))
