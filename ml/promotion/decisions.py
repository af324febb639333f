"""The table `decisions`: every promotion, refusal, expiry and rollback of a model: who decided it, when, why, on what evidence.

So is every move of the reference, which serves nobody and whose `before` is the reference until then.

A decision stands in two places. The version it is about carries it as a tag from before the alias moves; the lake's table has it
after. So a process that dies between the two leaves a decision that the next one finds and writes (`unwritten`), and an alias
that somebody moved by other means is found, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

import msgspec
import pyarrow as pa

from quantstream.lake.schemas import DECISIONS, SCHEMAS


class Change(StrEnum):
    """What was decided of a version."""

    REFUSED = "refused"  # by the gate: it stays in the registry and serves nobody
    CHALLENGER = "challenger"  # it passed the gate, and scores in the champion's shadow
    PROMOTED = "promoted"  # it serves
    EXPIRED = "expired"  # a challenger that did not earn it in time
    ROLLED_BACK = "rolled back"  # it serves again; `before` was worse than promised
    WANTED = "training wanted"  # its loss, its inputs or its outputs are not what they were: another one is asked for
    FOUND = "found"  # an alias pointed to it that no decision here had moved
    REFERENCE = "reference"  # the gate holds new versions against it from now on


SERVES = (Change.PROMOTED, Change.ROLLED_BACK, Change.FOUND)  # by which a version comes to serve


class Decision(msgspec.Struct, frozen=True):
    """One decision. `before` is the version that served (or was the reference) until then, empty where none did."""

    decided_at: datetime  # our clock
    model: str  # registered name
    version: str
    change: Change
    before: str
    by: str  # a pipeline's run, or who
    why: str  # one or more sentences
    evidence: str = "{}"  # JSON

    @property
    def key(self) -> tuple[datetime, str, str, Change]:
        """What tells it from others."""
        return self.decided_at, self.model, self.version, self.change

    def __str__(self) -> str:
        """Say it in one line."""
        instead = f" instead of {self.before}" if self.before and self.before != self.version else ""
        return (
            f"{self.decided_at:%Y-%m-%d %H:%M} UTC {self.model} {self.version}: {self.change.value}{instead} "
            f"by {self.by}: {self.why}"
        )


class Tables(Protocol):
    """The lake, as far as this table needs it."""

    def has(self, name: str) -> bool:
        """Tell whether a table is there."""

    def read(self, name: str) -> pa.Table:
        """Return a table's rows."""

    def append(self, name: str, rows: pa.Table) -> None:
        """Append rows."""


def decisions_of(lake: Tables, model: str | None = None) -> list[Decision]:
    """Return all decisions, or those on one model, the oldest first.

    Raises: Unavailable.
    """
    if not lake.has(DECISIONS):
        return []
    rows = lake.read(DECISIONS).drop_columns(["date"]).to_pylist()
    found = {one.key: one for one in (msgspec.convert(row, Decision) for row in rows)}
    return sorted((one for one in found.values() if model in (None, one.model)), key=lambda one: one.key)


def write(lake: Tables, decisions: Sequence[Decision]) -> None:
    """Append decisions in one commit; none writes nothing. One that is there twice counts once. Raises: Unavailable."""
    if decisions:
        schema = pa.schema([each for each in SCHEMAS[DECISIONS] if each.name != "date"])
        lake.append(DECISIONS, pa.Table.from_pylist([_row(one) for one in decisions], schema))


def unwritten(lake: Tables, tagged: Iterable[Decision]) -> list[Decision]:
    """Return those of the decisions that versions carry which the table lacks. Raises: Unavailable."""
    written = {one.key for one in decisions_of(lake)}
    return sorted((one for one in tagged if one.key not in written), key=lambda one: one.key)


def encoded(decision: Decision) -> str:
    """Return a decision as the text of a version's tag, its evidence left out: tags are short."""
    return msgspec.json.encode(msgspec.structs.replace(decision, evidence="{}")).decode()


def decoded(tag: str) -> Decision | None:
    """Return the decision of a version's tag, None where it is none."""
    try:
        return msgspec.json.decode(tag, type=Decision)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def _row(decision: Decision) -> dict[str, Any]:
    return msgspec.structs.asdict(decision) | {"change": decision.change.value}
