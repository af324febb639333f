"""The table `quarantine`: which partitions (a table's symbol and day) are left out of reads, since when, why, and who says so.

Every row is a change, nothing is ever changed in place: a partition is held as long as any expectation's newest row says so. The
gate holds and releases by what it finds; what a person releases stays so until the finding is another one, and what a person
holds the gate never lets out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Protocol

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantstream.core.time import DAY
from quantstream.lake.schemas import QUARANTINE, SCHEMAS, TIME_COLUMN

HELD, RELEASED = "held", "released"
GATE = "gate"  # who holds what a validation found
BY_HAND = "by hand"  # the expectation's name where a person holds a partition
Partition = tuple[str, date]  # symbol and day


class Tables(Protocol):
    """The lake, as far as this table needs it."""

    def has(self, name: str) -> bool:
        """Tell whether a table is there."""

    def read(self, name: str) -> pa.Table:
        """Return a table's rows."""

    def append(self, name: str, rows: pa.Table) -> None:
        """Append rows."""


class Change(msgspec.Struct, frozen=True):
    """A partition is held, or released, for one expectation; `rows` broke it (0: it is about the whole day)."""

    symbol: str
    day: date
    table: str
    expectation: str
    change: str
    reason: str
    changed_at: datetime
    by: str
    run: str = ""
    rows: int = 0

    @property
    def is_held(self) -> bool:
        """Whether the partition is held from this change on."""
        return self.change == HELD

    @property
    def partition(self) -> Partition:
        """Symbol and day."""
        return self.symbol, self.day

    def __str__(self) -> str:
        """Say it in one line."""
        what = f"{self.symbol} {self.day} {self.table}: {self.change} for {self.expectation}"
        return f"{what}, {self.changed_at:%Y-%m-%d %H:%M} UTC by {self.by}: {self.reason}"


class Quarantine:
    """Who is held and why, from one reading of the table."""

    def __init__(self, rows: Iterable[Mapping[str, Any]] = (), as_of: datetime | None = None) -> None:
        """`rows` of the table, in any order; `as_of` leaves out what was decided later."""
        changes = [msgspec.convert({**row, "day": row["day"].date()}, Change) for row in rows]
        self.changes = sorted(changes, key=lambda one: (one.changed_at, one.is_held))
        self._newest: dict[tuple[str, str, date, str], Change] = {}
        for one in self.changes:
            if as_of is None or one.changed_at <= as_of:
                self._newest[one.table, one.symbol, one.day, one.expectation] = one

    def newest(self, table: str, symbol: str, day: date) -> dict[str, Change]:
        """Return each expectation's newest change of one partition."""
        return {key[3]: one for key, one in self._newest.items() if key[:3] == (table, symbol, day)}

    def is_news(self, table: str, symbol: str, day: date, expectation: str, reason: str) -> bool:
        """Tell whether a finding is to be held: it is not yet, and nobody released the partition knowing of just this."""
        newest = self._newest.get((table, symbol, day, expectation))
        if newest is None or newest.is_held:
            return newest is None
        return newest.by == GATE or self._last_reason(newest) != reason

    def _last_reason(self, released: Change) -> str:
        """Return what a partition was held for before it was released."""
        key = released.table, released.symbol, released.day, released.expectation
        held = [
            one.reason for one in self.changes if one.is_held and key == (one.table, *one.partition, one.expectation)
        ]
        return held[-1] if held else ""

    def held(self, table: str | None = None, symbol: str | None = None) -> list[Change]:
        """Return what holds partitions now, by table, symbol and day."""
        found = (self._newest[key] for key in sorted(self._newest))
        return [one for one in found if one.is_held and table in (None, one.table) and symbol in (None, one.symbol)]

    def partitions(self, table: str) -> frozenset[Partition]:
        """Return the partitions of a table that are held."""
        return frozenset(one.partition for one in self.held(table))


def quarantine_of(lake: Tables, as_of: datetime | None = None) -> Quarantine:
    """Return what the lake holds back, nothing when nobody has held any; `as_of`: what was held then.

    Raises: Unavailable.
    """
    return (
        Quarantine(lake.read(QUARANTINE).drop_columns(["date"]).to_pylist(), as_of)
        if lake.has(QUARANTINE)
        else Quarantine()
    )


def note(lake: Tables, changes: Sequence[Change]) -> None:
    """Write changes, in one commit; none writes nothing. Raises: Unavailable."""
    if changes:
        rows = [msgspec.structs.asdict(one) | {"day": _midnight(one.day)} for one in changes]
        schema = pa.schema([each for each in SCHEMAS[QUARANTINE] if each.name != "date"])
        lake.append(QUARANTINE, pa.Table.from_pylist(rows, schema))


def without(rows: pa.Table, table: str, held: Iterable[Partition]) -> pa.Table:
    """Return rows of a table but those of partitions that are held; the order stays."""
    present = set(pc.unique(rows["symbol"]).to_pylist())
    mine = sorted(one for one in held if one[0] in present)
    if not mine:
        return rows
    days = rows[TIME_COLUMN[table]].cast(pa.int64()).to_numpy() // DAY
    names = sorted({symbol for symbol, _ in mine})
    places = pc.index_in(rows["symbol"].cast(pa.string()), pa.array(names)).combine_chunks()
    place = places.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    keys = np.array([names.index(symbol) + len(names) * (day - date(1970, 1, 1)).days for symbol, day in mine])
    is_held = np.isin(place + len(names) * days, keys) & (place >= 0)
    return rows.filter(pa.array(~is_held))


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
