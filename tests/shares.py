"""How `make test` shares the tests among its processes: a file whole to one of them, the longest first, and one running stack.

xdist's own groups (`--dist loadgroup`) write into the names of tests, which pytest 9.2 no longer lets them do.
"""

from __future__ import annotations

from typing import Any

from xdist.scheduler import LoadScopeScheduling

ONE_STACK = (
    "tests/stack/",
    "tests/browser/",
)  # they share the embedded stack, which takes minutes to come up with champions
LONGEST_FIRST = (
    *ONE_STACK,
    "tests/broker/",
    "tests/chaos/",
    "tests/unit/streaming/ingest/",
    "tests/infra/",
    "tests/dst/",
)


class OneStack(LoadScopeScheduling):
    """Give a process the tests of one file at a time; those of the running stack all go to the first."""

    def __init__(self, config: Any, log: Any) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False  # by the number of tests says nothing of how long they take

    def _split_scope(self, nodeid: str) -> str:
        return "stack" if nodeid.startswith(ONE_STACK) else nodeid.partition("::")[0]


def turn(path: str) -> int:
    """Return when a file's tests are to be begun: the least number first."""
    return next((place for place, folder in enumerate(LONGEST_FIRST) if path.startswith(folder)), len(LONGEST_FIRST))
