"""Replicas in the soak: one a minute, of each consuming stage in turn."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, cast

from bench.soak import VISITED, Visits
from quantstream.messages.stages import STAGES


@dataclass
class FakePlatform:
    calls: list[tuple[str, str]] = field(default_factory=list)

    @property
    def supervisor(self) -> FakePlatform:
        return self

    def start(self, name: str) -> None:
        self.calls.append(("start", name))

    def stop(self, name: str) -> None:
        self.calls.append(("stop", name))


def test_a_replica_of_one_stage_after_the_other_comes_each_minute_and_leaves_half_a_minute_later() -> None:
    platform = FakePlatform()
    visits = Visits(cast(Any, platform))
    for seconds in range(0, 5 * 60, 5):
        visits.go_on(float(seconds))
    names = [f"{stage}-2" for stage in (*VISITED, VISITED[0])]
    assert platform.calls == [(act, name) for name in names for act in ("start", "stop")]
    assert visits.joins == Counter(names)
    assert set(VISITED) == set(STAGES) - {"ingest"}
