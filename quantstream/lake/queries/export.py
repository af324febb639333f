"""`quantstream export`: a range of a table as one file, in order, in memory that does not go by its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pyarrow as pa

from quantstream.core.errors import DataRejected, Misconfigured
from quantstream.core.time import INTERVALS
from quantstream.lake.queries.output import check_place, format_of, write
from quantstream.lake.reads import Asked
from quantstream.lake.store import Lake

EXPORTED = ("candles", "trades", "scores")


@dataclass(frozen=True)
class Export:
    """What is to be exported where; `version` is the table's, None for the newest."""

    table: str
    asked: Asked
    output: Path
    kind: str | None = None
    version: int | None = None
    with_quarantined: bool = False
    force: bool = False


def export(lake: Lake, wanted: Export) -> int:
    """Write the file and return how many rows it has; none of anything asked for writes none.

    Raises: Misconfigured, DataRejected, Unavailable: nothing was written.
    """
    _check(lake, wanted)
    kind = format_of(wanted.output, wanted.kind)
    check_place(wanted.output, wanted.force)
    symbols = wanted.asked.symbols or ()
    if absent := sorted(set(symbols) - set(lake.rows(wanted.table, lake.table_at(wanted.table, wanted.version)))):
        raise DataRejected(f"the lake has no {wanted.table} of {_listed(absent)}; nothing was written")
    rows = lake.batches(wanted.table, wanted.asked, wanted.version, wanted.with_quarantined)
    first = next((batch for batch in rows if batch.num_rows), None)
    if first is None:
        raise DataRejected(f"the lake has no {wanted.table} of {_listed(symbols)} in that range; nothing was written")
    return write(pa.RecordBatchReader.from_batches(rows.schema, chain([first], rows)), wanted.output, kind)


def _check(lake: Lake, wanted: Export) -> None:
    asked = wanted.asked
    if wanted.table not in EXPORTED:
        raise Misconfigured(
            f"{wanted.table!r} is not exported; name one of {', '.join(EXPORTED)}, or ask `quantstream sql`"
        )
    if not asked.symbols:
        raise Misconfigured("name the symbols: --symbols BTCUSDT,ETHUSDT")
    if asked.start is not None and asked.end is not None and asked.start >= asked.end:
        raise Misconfigured(f"--to must be later than --from, and {asked.end:%Y-%m-%dT%H:%M} is not")
    if asked.interval is not None and asked.interval not in INTERVALS:
        raise Misconfigured(f"{asked.interval!r} is no interval; write one of {', '.join(INTERVALS)}")
    if wanted.table == "trades" and asked.as_of is not None:
        raise Misconfigured(
            "of trades the lake does not keep when they became known; leave --as-of out, or name a --version"
        )
    if not lake.has(wanted.table):
        raise Misconfigured(
            f"there are no {wanted.table} at {lake.url}; start with `quantstream up` or `quantstream backfill`"
        )


def _listed(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
