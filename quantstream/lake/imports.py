"""What imports from an archive keep beside a table: which files of a series are in it, and how many rows they brought.

It lies where the sink keeps its ids, under a name of its own kind, and changes in the same commit as the rows.
"""

from __future__ import annotations

from typing import Any

import msgspec

from quantstream.lake.store import Lake

KIND = "archive/"  # how the names of imports begin


class Entry(msgspec.Struct, frozen=True):
    """What became of one file: its checksum (empty: REST told), its rows by outcome, and when that was (µs).

    `last` are the id of its last row and that of its last single trade.
    """

    sha256: str
    rows: int
    stored: int
    present: int
    duplicates: int
    refused: int
    at: int
    last: tuple[int, int] = (-1, -1)


class Imported(msgspec.Struct):
    """The files of one series that are done, by name, and the rows of the table that came from its files, done or not."""

    files: dict[str, Entry] = {}
    rows: int = 0


decoder = msgspec.json.Decoder(Imported)


def is_import(application: str) -> bool:
    """Tell whether the name of an application that writes to a table is that of an import."""
    return application.startswith(KIND)


def imported_rows(lake: Lake, name: str, table: Any) -> dict[str, int | None]:
    """Return how many rows of each symbol imports brought into an open table; None where one goes on meanwhile.

    Raises: Unavailable.
    """
    found: dict[str, int | None] = {}
    for application, raw in lake.states(name, table).items():
        if is_import(application):
            symbol = application.rpartition("/")[2]
            before = found.get(symbol, 0)
            found[symbol] = None if raw is None or before is None else before + decoder.decode(raw).rows
    return found
