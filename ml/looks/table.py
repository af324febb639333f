"""The lake's table `looks`: written at its end only, one writer after the other, and read back as a chain.

It is in the lake because that is what laptop, pipeline and pods share, and because its log takes the rows and the number of the
last line in one commit: two who look at once cannot both be line 7. Without a stack the lake is a folder in the state folder.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pyarrow as pa

from ml.looks.look import Look, faults
from quantstream.core.errors import Fenced, QuantStreamError
from quantstream.lake.schemas import LOOKS, SCHEMAS
from quantstream.lake.store import Lake, Step

APPLICATION = "looks"
TRIES, PAUSE = 20, 0.05  # of an append that another one outran, and seconds between two
FIELDS = [each for each in SCHEMAS[LOOKS] if each.name != "date"]


@dataclass(frozen=True)
class Record:
    """All lines, in order, what is wrong with them, and the number that the last one must have."""

    lines: Sequence[Look] = ()
    faults: Sequence[str] = ()
    newest: int | None = None


@dataclass(frozen=True)
class Written:
    """Looks as they were recorded, with those before them; `trouble` says why they are not."""

    looks: Sequence[Look]
    record: Record = field(default_factory=Record)
    trouble: str = ""


def record_of(lake: Lake) -> Record:
    """Return all looks that were recorded. Raises: Unavailable."""
    if not lake.has(LOOKS):
        return Record()
    table = lake.table(LOOKS)
    newest = lake.progress(LOOKS, APPLICATION, table)
    rows = lake.read(LOOKS, columns=[each.name for each in FIELDS], version=int(table.version())).to_pylist()
    lines = sorted((msgspec.convert(row, Look, strict=False) for row in rows), key=lambda one: one.number)
    return Record(lines, faults(lines, newest), newest)


def record(open_lake: Callable[[], Lake], looks: Sequence[Look]) -> Written:
    """Append looks. Never raises for a record that cannot be read or written: the evaluation goes on, and says so."""
    try:
        lake = open_lake()
        for _ in range(TRIES):
            before = record_of(lake)
            try:
                return Written(_appended(lake, before, looks), before)
            except Fenced:  # another look came in between: this one is the line after it
                time.sleep(random.uniform(0.5, 1.5) * PAUSE)
    except (QuantStreamError, OSError, ValueError) as error:  # ValueError: a row that is no look
        return Written(looks, trouble=str(error).splitlines()[0])
    return Written(looks, trouble=f"others wrote to it {TRIES} times in between")


def _appended(lake: Lake, before: Record, looks: Sequence[Look]) -> list[Look]:
    last = before.lines[-1] if before.lines else None
    number = max(before.newest or 0, last.number if last else 0)
    linked, link = list[Look](), last.hash if last else ""
    for look in looks:
        number += 1
        linked.append(look.linked(number, link))
        link = linked[-1].hash
    lake.append(LOOKS, _rows(linked), {APPLICATION: Step(before.newest, number)})
    return linked


def _rows(looks: Sequence[Look]) -> pa.Table:
    rows: list[dict[str, Any]] = [msgspec.structs.asdict(one) | {"symbols": list(one.symbols)} for one in looks]
    return pa.Table.from_pylist(rows, pa.schema(FIELDS))
