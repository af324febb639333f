"""A model of the lake's commits: optimistic, each with its progress and metadata; its history is looked back into so far only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from quantstream.errors import Unavailable
from tests.dst.simulation import SECOND, Simulation, me


@dataclass
class Commit:
    """One version of a table."""

    rows: pa.Table | None
    progress: dict[str, int] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)


class Lake:
    """Tables in memory, with the interface of `quantstream.lake.Lake` as far as stages use it."""

    url = "memory"

    def __init__(self, sim: Simulation, look_back: int) -> None:
        """`look_back`: how many commits `metadata` looks through."""
        self.sim, self.look_back = sim, look_back
        self.commits: dict[str, list[Commit]] = {}
        self.latest: dict[str, dict[str, int]] = {}
        self.went_back: list[str] = []  # progress that a commit moved backwards, in words
        self.down_until = 0

    def table(self, name: str) -> list[Commit]:
        """Open a table."""
        self._ask("open", name)
        self.latest.setdefault(name, {})
        return self.commits.setdefault(name, [])

    def append(
        self,
        name: str,
        rows: pa.Table,
        progress: Mapping[str, int] | None = None,
        metadata: Mapping[str, str] | None = None,
        expected: Mapping[str, int | None] | None = None,
    ) -> None:
        """Append rows in one transaction; a commit since this one began that moved the same progress refuses it.

        With `expected` it is refused, too, where the table's progress is another one. Raises: Unavailable.
        """
        table = self.table(name)
        version = len(table)
        self._ask("write", (name, rows.num_rows))
        mine = dict(progress or {})
        if any(mine.keys() & commit.progress.keys() for commit in table[version:]):
            raise Unavailable(f"the lake table {name} did not take a commit: a concurrent transaction")
        latest = self.latest[name]
        for application, offset in (expected or {}).items():
            if latest.get(application) != offset:
                raise Unavailable(f"the lake table {name} is at {latest.get(application)} of {application}")
        for application, offset in mine.items():
            if offset < latest.get(application, 0):
                self.went_back.append(f"{name}: progress of {application} from {latest[application]} to {offset}")
        latest.update(mine)
        table.append(Commit(rows, mine, dict(metadata or {})))
        self.sim.note(me().name, "committed", (name, rows.num_rows, sorted(mine.items())))
        self._ask("commit answered", name)

    def progress(self, name: str, application: str) -> int | None:
        """Return the version that `application` last recorded."""
        self.table(name)
        return self.latest[name].get(application)

    def metadata(self, name: str, key: str) -> str | None:
        """Return the newest commit's metadata under `key`."""
        for commit in self.table(name)[: -self.look_back - 1 : -1]:
            if key in commit.metadata:
                return commit.metadata[key]
        return None

    def compact(self, name: str) -> None:
        """Merge files: a commit without rows, progress or metadata."""
        self.table(name).append(Commit(None))

    def counts(self, name: str, *columns: str) -> Counter[tuple[Any, ...]]:
        """Return how often each key is among the rows. For the judge."""
        found: Counter[tuple[Any, ...]] = Counter()
        for commit in self.commits.get(name, ()):
            if commit.rows is not None and commit.rows.num_rows:
                found.update(zip(*(_plain(commit.rows[column]) for column in columns), strict=True))
        return found

    def _ask(self, what: str, detail: object) -> None:
        me().call(f"lake {what}", detail)
        if self.sim.now < self.down_until:
            me().wait(min(self.down_until - self.sim.now, 2 * SECOND))
            if self.sim.now < self.down_until:
                raise Unavailable("the lake does not answer")


def _plain(column: pa.ChunkedArray) -> list[Any]:
    is_time = pa.types.is_timestamp(column.type)
    values: list[Any] = (column.cast(pa.int64()) if is_time else column).to_pylist()
    return values
