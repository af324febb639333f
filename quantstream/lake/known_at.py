"""What was known at a time: rows carry in `known_at` when their revision became known to us, by our clock.

So one can ask what the scorer knew at 14:05, corrections that came later left out. It comes from the record (when it was
written to its topic; of a score, when it was made), so reading the topic again gives the same. Rows of before the column
was there do not say: they were known when it came, and before that nothing is claimed of them unless one asks for it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from quantstream.core.errors import DataRejected
from quantstream.core.time import INTERVALS
from quantstream.lake.schemas import KNOWN_AT, TIME

KNOWN_SINCE = "known_since"  # in the column's own description: from when on rows of before were known, µs
Undated = Literal["refuse", "at close"]  # what to make of rows that do not say when they became known


def known_rows(rows: pa.Table, since: int | None, as_of: datetime, undated: Undated = "refuse") -> pa.Table:
    """Return the rows that were known at a time; of those that do not say, all were there at `since` (µs), if that is known.

    Asked for an earlier time they count as known when their window closed with `undated` "at close"; corrections do, too,
    whenever they came. Raises: DataRejected for such rows otherwise.
    """
    known = rows[KNOWN_AT] if KNOWN_AT in rows.column_names else pa.chunked_array([pa.nulls(rows.num_rows, TIME)])
    if "scored_at" in rows.column_names:  # a score is known when it is made
        known = pc.coalesce(known, rows["scored_at"])
    elif since is not None and pa.scalar(as_of, TIME).value >= since:
        known = pc.coalesce(known, pa.scalar(since, pa.int64()).cast(TIME))
    elif undated == "at close":
        known = pc.coalesce(known, _closed_at(rows))
    if known.null_count:
        raise DataRejected(
            f"of {known.null_count} of the candles asked for the lake does not say when they became known: they were stored "
            "before it kept that; ask for a later time or range, or take them as known at their close: undated='at close'"
        )
    return rows.filter(pc.less_equal(known, pa.scalar(as_of, TIME)))


def since_of(table: Any) -> int | None:
    """Return from when on (µs) all rows of a table without a time were known, None where that is not kept."""
    for field in table.schema().fields:
        if field.name == KNOWN_AT and KNOWN_SINCE in field.metadata:
            return int(field.metadata[KNOWN_SINCE])
    return None


def _closed_at(rows: pa.Table) -> pa.ChunkedArray:
    names = pa.array(list(INTERVALS))
    lengths = pa.array(list(INTERVALS.values()), pa.int64()).take(pc.index_in(rows["interval"], names).combine_chunks())
    return pc.add(rows["opened_at"].cast(pa.int64()), lengths).cast(TIME)
