"""What was checked is remembered beside the candles, for each table and symbol: pods share it, and to lose it costs one check.

It is no truth of its own: each month stands under a digest of all that its check depended on, and counts only while that is the
same. Two runs at once may forget what the other noted; the months are then checked again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from urllib.parse import quote

import msgspec
from pyarrow.fs import FileType

from ml.validation.incremental.month_findings import Found
from quantstream.core.errors import Unavailable
from quantstream.lake.store import UNREADABLE, Lake, files_at

FOLDER = "_checks"  # beside the table's data, under a name that Delta's readers and its vacuum ignore
log = logging.getLogger(__name__)


class Checked(msgspec.Struct, frozen=True):
    """A month that was checked: a digest of what its check depended on, and what it found."""

    seen: str
    found: Found


_decoder = msgspec.json.Decoder(dict[str, Checked])


def remembered(lake: Lake, table: str, symbol: str) -> dict[str, Checked]:
    """Return what was checked of a symbol by month; nothing where nobody knows or what was written cannot be read.

    Raises: Unavailable.
    """
    try:
        files, path = files_at(f"{lake.url}/candles", lake.storage_options), _path(table, symbol)
        if files.get_file_info(path).type is FileType.NotFound:
            return {}
        with files.open_input_stream(path) as stream:
            return _decoder.decode(stream.read())
    except msgspec.MsgspecError as error:
        log.warning("what was checked before cannot be read; all is checked", extra={"of": symbol, "why": str(error)})
        return {}
    except UNREADABLE as error:
        raise Unavailable(f"what was checked in {lake.url} cannot be read: {error}") from error


def remember(lake: Lake, table: str, symbol: str, checked: Mapping[str, Checked]) -> None:
    """Note what is checked by now. Raises: Unavailable."""
    content = msgspec.json.encode(dict(sorted(checked.items())))
    try:
        files = files_at(f"{lake.url}/candles", lake.storage_options)
        with files.open_output_stream(_path(table, symbol), buffer_size=max(1 << 16, len(content) + 1)) as stream:
            stream.write(content)
    except UNREADABLE as error:
        raise Unavailable(f"what was checked in {lake.url} cannot be noted: {error}") from error


def _path(table: str, symbol: str) -> str:
    return f"{FOLDER}/{table}/{quote(symbol, safe='')}.json"
