"""A lake of an older version brought up to date: columns that came since are added to its tables.

That changes a table's log alone, in one commit: no file is touched, no row is read. Whoever is killed in between leaves the
tables before as they are; the next run does the rest. Rows of before have nothing in the new column.
"""

from __future__ import annotations

from quantstream.core.errors import Unavailable
from quantstream.core.time import MINUTE
from quantstream.lake.known_at import KNOWN_SINCE
from quantstream.lake.schemas import KNOWN_AT, SCHEMAS, lacking
from quantstream.lake.store import Lake

TRIES = 5  # others may add a column, or writers go on, at the same time
LONGEST_COMMIT = MINUTE  # a writer of before may land one that long after the clock was read


def migrate(lake: Lake, now: int) -> list[str]:
    """Add the columns that tables of a lake lack, at `now` (wall clock, µs), and say which; tables that are not there stay so.

    Raises: Misconfigured for a lake of a newer version or of other types; Unavailable when it cannot be reached.
    """
    said = []
    for name in SCHEMAS:
        if lake.has(name):
            said += [f"{name}: {column} was added" for column in _added(lake, name, now)]
    return said


def _added(lake: Lake, name: str, now: int) -> list[str]:
    since = {KNOWN_AT: {KNOWN_SINCE: str(now + LONGEST_COMMIT)}}
    for _ in range(TRIES):
        new = lacking(name, lake.table(name))
        if not new or lake.add_columns(name, new, since):
            return [column.name for column in new]
    raise Unavailable(f"the lake table {name} at {lake.url} is changed by others all the time; run it again")
