"""How `make test` shares the tests among its processes: a file whole to one of them, some that wait beside some that compute.

Half of the processes take files that wait for much of their time (brokers, a running stack, what is killed and comes back),
the others those that compute: no processor is idle while there is something to compute. A process keeps to the rooms that
it knows, whose models, servers and brokers it has already made. A file that is not named here comes after those that are.

xdist's own groups (`--dist loadgroup`) write into the names of tests, which pytest 9.2 no longer lets them do.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from xdist.scheduler import LoadScopeScheduling

WAITING = (  # less than half of a processor; the longest first
    "tests/stack/",  # comes up with champions, which takes minutes
    "tests/chaos/",
    "tests/browser/",
    "tests/broker/",
    "tests/unit/streaming/ingest/",
    "tests/infra/test_",
    "tests/bench/",
)
COMPUTING = (  # the longest first; models are made once for all that a process runs of the room
    "tests/unit/ml/serving/test_logins.py",
    "tests/unit/ml/training/",
    "tests/unit/ml/",
    "tests/dags/",
    "tests/dst/",
    "tests/infra/cluster/",
    "tests/infra/",
    "tests/unit/dashboard/",
    "tests/unit/streaming/",
    "tests/unit/quantstream/",
)


class Interleaved(LoadScopeScheduling):
    """Give a process the tests of one file at a time."""

    def __init__(self, config: Any, log: Any) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False  # by the number of tests says nothing of how long they take

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.partition("::")[0]

    def _assign_work_unit(self, node: Any) -> None:
        others = [units for other, units in self.assigned_work.items() if other is not node]
        waiting = sum(
            any(waits(scope) and not all(tests.values()) for scope, tests in units.items()) for units in others
        )
        known = {room(scope) for scope in self.assigned_work.get(node, ())}
        chosen = next_file(self.workqueue, waiting < self.numnodes // 2, known)
        self.workqueue.move_to_end(chosen, last=False)
        super()._assign_work_unit(node)


def next_file(left: Iterable[str], should_wait: bool, known: Collection[str]) -> str:
    """Return which file a process takes of those that are left: of the kind that is wanted, of a room it knows, the first."""
    return min(left, key=lambda scope: (waits(scope) is not should_wait, room(scope) not in known))


def waits(scope: str) -> bool:
    """Whether a file's tests wait for more of their time than they compute."""
    return scope.startswith(WAITING)


def room(scope: str) -> str:
    """Return the folder whose tests share what is made once for a process."""
    return "/".join(scope.split("/")[: 3 if scope.startswith("tests/unit/") else 2])


def turn(path: str) -> int:
    """Return when a file's tests are to be begun: the least number first."""
    named = (*WAITING, *COMPUTING)
    return next((place for place, folder in enumerate(named) if path.startswith(folder)), len(named))
