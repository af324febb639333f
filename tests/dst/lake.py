"""A model of the lake's commits: optimistic, each with its progress, and states beside it under the progress they belong to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from quantstream.core.errors import Fenced, Unavailable
from quantstream.lake.store import Step
from tests.dst.simulation import SECOND, Simulation, me


@dataclass
class Commit:
    """One version of a table."""

    rows: pa.Table | None
    progress: dict[str, int] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)


class Snapshot(list[Commit]):
    """A table as it was when it was opened."""

    def __init__(self, lake: Lake, name: str) -> None:
        super().__init__(lake.commits[name])
        self.at = dict(lake.latest[name])


class Lake:
    """Tables in memory, with the interface of `quantstream.lake.store.Lake` as far as stages use it."""

    url = "memory"

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.commits: dict[str, list[Commit]] = {}
        self.latest: dict[str, dict[str, int]] = {}
        self.kept: dict[tuple[str, str, int], bytes] = {}  # states by table, application and progress
        self.went_back: list[str] = []  # progress that a commit moved backwards, in words
        self.down_until = 0

    def table(self, name: str) -> Snapshot:
        """Open a table at its newest version."""
        self._ask("open", name)
        self.latest.setdefault(name, {})
        self.commits.setdefault(name, [])
        return Snapshot(self, name)

    def append(
        self,
        name: str,
        rows: pa.Table,
        progress: Mapping[str, Step] | None = None,
        states: Mapping[str, bytes] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Append rows in one transaction; refused where the progress is another, also by a commit since this one began.

        Raises: Fenced, Unavailable.
        """
        table = self.table(name)
        version, steps = len(table), dict(progress or {})
        self._compare(name, steps, table.at)
        for application, state in (states or {}).items():
            self._ask("keep", (name, application))
            self.kept[name, application, steps[application].reached] = state
        self._ask("write", (name, rows.num_rows))
        commits = self.commits[name]
        if any(steps.keys() & commit.progress.keys() for commit in commits[version:]):
            self._compare(name, steps, self.latest[name])
            raise Unavailable(f"the lake table {name} did not take a commit: a concurrent transaction")
        latest = self.latest[name]
        mine = {application: step.reached for application, step in steps.items()}
        for application, offset in mine.items():
            if offset < latest.get(application, 0):
                self.went_back.append(f"{name}: progress of {application} from {latest[application]} to {offset}")
        latest.update(mine)
        commits.append(Commit(rows, mine, dict(metadata or {})))
        self.sim.note(me().name, "committed", (name, rows.num_rows, sorted(mine.items())))
        self._ask("commit answered", name)
        for application in states or {}:
            expected, reached = steps[application]
            for key in [k for k in self.kept if k[:2] == (name, application)]:
                if expected is not None and key[2] < expected and key[2] != reached:
                    del self.kept[key]

    @staticmethod
    def _compare(name: str, steps: Mapping[str, Step], latest: Mapping[str, int]) -> None:
        for application, step in steps.items():
            found = latest.get(application)
            if found != step.expected:
                raise Fenced(f"the lake table {name} has {application} at {found} instead of {step.expected}")

    def progress(self, name: str, application: str, table: Snapshot | None = None) -> int | None:
        """Return the version that `application` last recorded, as of `table` if that is open."""
        return (table if table is not None else self.table(name)).at.get(application)

    def state(self, name: str, application: str, reached: int) -> bytes | None:
        """Return what an application kept beside the progress it reached."""
        self._ask("read state", (name, application, reached))
        return self.kept.get((name, application, reached))

    def newest_state(self, name: str, application: str) -> int | None:
        """Return the newest progress that an application kept a state for."""
        self._ask("list states", (name, application))
        return max((key[2] for key in self.kept if key[:2] == (name, application)), default=None)

    def states(self, name: str, table: Snapshot | None = None) -> dict[str, bytes | None]:
        """Return what every application kept beside its progress."""
        table, found = table if table is not None else self.table(name), dict[str, bytes | None]()
        self._ask("read states", name)
        for application in sorted({key[1] for key in self.kept if key[0] == name}):
            reached = self.progress(name, application, table)
            if reached is not None:
                found[application] = self.kept.get((name, application, reached))
        return found

    def rows(self, name: str, table: Snapshot | None = None) -> dict[str, int]:
        """Return the number of rows of each symbol."""
        found: Counter[str] = Counter()
        for commit in table if table is not None else self.table(name):
            if commit.rows is not None and commit.rows.num_rows:
                found.update(commit.rows["symbol"].to_pylist())
        return dict(found)

    def metadata(self, name: str, key: str) -> str | None:
        """Return the newest commit's metadata under `key`."""
        for commit in reversed(self.table(name)):
            if key in commit.metadata:
                return commit.metadata[key]
        return None

    def compact(self, name: str) -> None:
        """Merge files: a commit without rows, progress or metadata."""
        self.table(name)
        self.commits[name].append(Commit(None))

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
