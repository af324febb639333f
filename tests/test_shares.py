"""How the tests are shared: each runs once, a file in one process, and some that wait beside some that compute."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from tests.shares import Interleaved, next_file, room, turn, waits

WAITING = [f"tests/{folder}/test_{n}.py" for folder in ("broker", "chaos", "stack", "browser") for n in range(4)]
COMPUTING = [f"tests/unit/{folder}/test_{n}.py" for folder in ("ml", "dashboard", "new") for n in range(8)]
TESTS = sorted((f"{file}::test_{n}" for file in WAITING + COMPUTING for n in range(5)), key=turn)


class Process:
    """One of xdist's processes: it runs the tests that it is sent, in order."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.ran: list[str] = []
        self.shutting_down = False
        self.gateway = SimpleNamespace(id="")

    def send_runtest_some(self, indices: list[int]) -> None:
        self.sent += indices

    def shutdown(self) -> None:
        self.shutting_down = True


@pytest.fixture
def processes() -> list[Process]:
    """Four processes that ran every test, a test of each in turn."""
    made = [Process() for _ in range(4)]
    options: Any = SimpleNamespace(option=SimpleNamespace(loadscopereorder=True), getvalue=lambda _: ["popen"] * 4)
    shares = Interleaved(options, None)
    for process in made:
        shares.add_node(process)
        shares.add_node_collection(process, TESTS)
    shares.schedule()
    while any(process.sent for process in made):
        for process in made:
            if process.sent:
                number = process.sent.pop(0)
                process.ran.append(TESTS[number])
                shares.mark_test_complete(process, number)
    return made


def test_each_test_runs_once_and_a_file_in_one_process(processes: list[Process]) -> None:
    assert sorted(test for process in processes for test in process.ran) == sorted(TESTS)
    files = Counter(file for process in processes for file in {test.partition("::")[0] for test in process.ran})
    assert set(files.values()) == {1}


def test_two_wait_while_two_compute(processes: list[Process]) -> None:
    rounds = list(zip(*(process.ran for process in processes), strict=False))
    waiting = [sum(waits(test) for test in one) for one in rounds]
    assert set(waiting[:30]) == {2}


def test_a_process_keeps_to_the_room_it_knows_and_takes_what_is_left_where_that_is_done() -> None:
    stack, broker = "tests/stack/test_a.py", "tests/broker/test_a.py"
    left = [stack, broker, "tests/unit/ml/test_a.py", "tests/unit/ml/data/test_b.py", "tests/unit/new/c.py"]
    assert next_file(left, True, set()) == stack
    assert next_file(left, True, {"tests/broker"}) == broker
    assert next_file(left, False, set()) == "tests/unit/ml/test_a.py"
    assert next_file(left, False, {"tests/unit/new"}) == "tests/unit/new/c.py"
    assert next_file(left[:2], False, set()) == stack
    assert [room(one) for one in left[1:]] == ["tests/broker", "tests/unit/ml", "tests/unit/ml", "tests/unit/new"]
