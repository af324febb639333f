"""Every situation is told for what it is: nothing that is wrong looks fine, and nothing that is over is wrong for ever."""

from __future__ import annotations

import re

import pytest

from tests.monitor.looking import Monitor
from tests.monitor.played import well
from tests.monitor.situations import SITUATIONS, Situation

CODES = {"critical": 2, "unknown": 3, "warning": 1}
pytestmark = pytest.mark.timeout(300)


@pytest.mark.slow
@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda one: one.name)
def test_a_situation_is_told_and_nothing_else(situation: Situation, monitor: Monitor) -> None:
    played = well(situation.system)
    situation.play(played)
    look = monitor.json(played, "health")
    spaces = "|".join(one["metadata"]["name"] for one in played.all_of("Namespace"))
    found = {(*one[:2], re.sub(rf"^({spaces})/", "", one[2]), one[3]) for one in look.troubles}
    assert found == situation.troubles  # an object of another namespace is named with it
    worst = {one[0] for one in situation.troubles}
    assert look.code == next((CODES[name] for name in ("critical", "unknown", "warning") if name in worst), 0)


def test_there_are_fifty_situations_each_of_them_another() -> None:
    assert len(SITUATIONS) >= 50
    assert len({one.name for one in SITUATIONS}) == len(SITUATIONS)
    assert {"local", "prod"} == {one.system for one in SITUATIONS}
