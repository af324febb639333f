"""A lake of an older version brought up to date: columns that came since are added, partitions become this version's.

A column changes a table's log alone, in one commit: no file is touched, no row is read; rows of before have nothing in it. Other
partitions mean that the rows are written anew. Whoever is killed in between leaves each table whole; the next run does the rest.
"""

from __future__ import annotations

from collections.abc import Callable

from quantstream.core.errors import Unavailable
from quantstream.core.time import MINUTE
from quantstream.lake.known_at import KNOWN_SINCE
from quantstream.lake.schemas import KNOWN_AT, SCHEMAS, lacking, partitions_of
from quantstream.lake.store import Lake
from quantstream.lake.upkeep.partitions import repartition

TRIES = 5  # others may add a column, or writers go on, at the same time
LONGEST_COMMIT = MINUTE  # a writer of before may land one that long after the clock was read


def migrate(lake: Lake, now: int, beat: Callable[[], None] = lambda: None) -> list[str]:
    """Bring a lake's tables up to date, at `now` (wall clock, µs), and say how; tables that are not there stay so.

    `beat` is called as it goes on, for rows that are written anew may take minutes. Raises: Misconfigured for a lake
    of a newer version or of other types; Unavailable when it cannot be reached; Broken when rows would be lost.
    """
    said = []
    there = [name for name in SCHEMAS if lake.has(name)]
    for name in there:
        said += [f"{name}: {column} was added" for column in _added(lake, name, now)]
    for name in there:
        if (rows := repartition(lake, name, beat)) is not None:
            said.append(f"{name}: {rows:,} rows are now partitioned by {' and '.join(partitions_of(name))}")
    return said


def _added(lake: Lake, name: str, now: int) -> list[str]:
    since = {KNOWN_AT: {KNOWN_SINCE: str(now + LONGEST_COMMIT)}}
    for _ in range(TRIES):
        new = lacking(name, lake.table(name))
        if not new or lake.add_columns(name, new, since):
            return [column.name for column in new]
    raise Unavailable(f"the lake table {name} at {lake.url} is changed by others all the time; run it again")
