"""The lake's table `releases`: each renewal writes the whole calendar; every process takes the newest one up."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ml.calendar.renewal import Given, Renewal, renewed
from quantstream.core.errors import Unavailable
from quantstream.core.time import micros, utc
from quantstream.features import releases
from quantstream.features.releases import KINDS, Calendar, Release
from quantstream.lake.schemas import RELEASES, SCHEMAS
from quantstream.lake.store import Lake, Step

APPLICATION = "releases"
_taken: dict[str, int] = {}  # by the lake's address: the version that was taken up last


def stored(lake: Lake) -> Calendar | None:
    """Return the calendar of the newest renewal, None where there was none. Raises: Unavailable."""
    if not lake.has(RELEASES):
        return None
    rows = lake.read(RELEASES)
    if not rows.num_rows:
        return None
    newest = rows.filter(pc.equal(rows["renewal"], pc.max(rows["renewal"]))).to_pylist()
    try:
        found = tuple(
            sorted(Release(micros(row["at"]), row["kind"], row["source"], row["announced_on"]) for row in newest)
        )
        ends: dict[str, date] = {row["kind"]: row["known_until"] for row in newest}
    except (TypeError, KeyError) as error:
        raise Unavailable(f"the lake table {RELEASES} at {lake.url} holds what is no calendar: {error}") from None
    return Calendar(found, ends)


def together(ours: Calendar, newest: Calendar | None) -> Calendar:
    """Return the lake's calendar, and of each kind what ours knows beyond its end: a newer version may know more."""
    if newest is None:
        return ours
    ends = {kind: newest.ends(kind) if kind in newest.known_until else 0 for kind in KINDS}
    kept = [one for one in newest.releases if one.kind in KINDS]
    later = [one for one in ours.releases if one.at >= ends[one.kind]]
    until = {kind: max(newest.known_until.get(kind, date.min), ours.known_until[kind]) for kind in KINDS}
    return Calendar(tuple(sorted([*kept, *later])), until)


def take_up(lake: Lake) -> Calendar:
    """Let features of this process read the lake's calendar, which is read if it changed; return it. Raises: Unavailable."""
    version = lake.version(RELEASES) if lake.has(RELEASES) else -1
    if _taken.get(lake.url) != version:
        found = together(releases.packaged(), stored(lake))
        releases.use(found)
        _taken.clear()
        _taken[lake.url] = version
    return releases.current()


def renew(lake: Lake, given: Given, by: str, now: int, drops: bool = False, dry_run: bool = False) -> Renewal:
    """Store what a file's releases make of the calendar, and return it; `now` in µs.

    Raises: DataRejected as `renewal.renewed`, Fenced when another renewal came in between, Unavailable.
    """
    before = lake.progress(RELEASES, APPLICATION) if lake.has(RELEASES) else None
    found = renewed(together(releases.packaged(), stored(lake)), given, now, drops)
    if not dry_run:
        number = (before or 0) + 1
        lake.append(RELEASES, _rows(found.calendar, number, by, now), {APPLICATION: Step(before, number)})
    return found


def _rows(calendar: Calendar, number: int, by: str, now: int) -> pa.Table:
    rows: Sequence[dict[str, Any]] = [
        {
            "renewal": number,
            "renewed_at": utc(now),
            "by": by,
            "kind": one.kind,
            "at": utc(one.at),
            "source": one.source,
            "announced_on": one.announced_on,
            "known_until": calendar.known_until[one.kind],
        }
        for one in calendar.releases
    ]
    return pa.Table.from_pylist(rows, pa.schema([each for each in SCHEMAS[RELEASES] if each.name != "date"]))
