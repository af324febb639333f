"""What imports from an archive keep beside a table: which files of a series are in it, and how many rows they brought.

It lies where the sink keeps its ids, under a name of its own kind, and changes in the same commit as the rows. Beside it: from
when on windows and trades are the live path's, so that no import writes what that is about to write.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from quantstream.core.time import DAY, micros, utc
from quantstream.lake.store import Lake

KIND = "archive/"  # how the names of imports begin
ORIGIN = "archive"  # of the trades that they bring
SETTLED = 2 * DAY  # the live path fills no gap that is older: by then the archive has it


class Entry(msgspec.Struct, frozen=True):
    """What became of one file: its checksum (empty: REST told), its rows by outcome, and when that was (µs).

    `last` are the id of its last row and that of its last single trade, `left` rows that were left to the live path.
    """

    sha256: str
    rows: int
    stored: int
    present: int
    duplicates: int
    refused: int
    at: int
    last: tuple[int, int] = (-1, -1)
    left: int = 0


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


def lived_since(lake: Lake, symbols: Iterable[str], now: int) -> dict[str, int]:
    """Return from when on (µs) symbols are the live path's, of those that it has written trades of; `now` in exchange time, µs.

    That is from their first trade on that no import brought. What it lacks for two days it will not bring any more, and that is
    nobody's. Raises: Unavailable.
    """
    settled, found = now - SETTLED, dict[str, int]()
    days = _lived_days(lake)
    for symbol in symbols:
        for day in days.get(symbol, ()):
            start = datetime.combine(day, datetime.min.time(), utc(0).tzinfo)
            if micros(start) <= settled:
                found[symbol] = settled
                break
            rows = lake.read("trades", [symbol], start, start + timedelta(days=1), columns=["traded_at", "origin"])
            rows = rows.filter(pc.not_equal(rows["origin"], ORIGIN))
            if rows.num_rows:
                found[symbol] = max(settled, micros(pc.min(rows["traded_at"]).as_py()))
                break
    return found


def _lived_days(lake: Lake) -> dict[str, list[date]]:
    """Return each symbol's days, in order, of which some file may hold rows that no import brought."""
    names = ["partition.symbol", "partition.date", "min.origin", "max.origin"]
    log = pa.table(lake.table("trades").get_add_actions(flatten=True)) if lake.has("trades") else None
    if log is None or not log.num_rows:
        return {}
    rows = log.select([name for name in names if name in log.column_names]).to_pylist()
    days: dict[str, set[date]] = {}
    for row in rows:
        if not row.get("min.origin") == row.get("max.origin") == ORIGIN:
            day = row["partition.date"]
            days.setdefault(row["partition.symbol"], set()).add(
                date.fromisoformat(day) if isinstance(day, str) else day
            )
    return {symbol: sorted(found) for symbol, found in days.items()}
