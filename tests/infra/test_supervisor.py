"""Self-healing by a real supervisord over a tiny process table, and that stopping leaves nothing behind."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pytest

from infra.embedded import orphan_processes, stack
from infra.embedded.processes import Process
from infra.embedded.start_order import Startup
from infra.embedded.state import State, write_private
from infra.embedded.supervisor import Lives, Supervisor, render, start_supervisor
from quantstream.core.errors import Misconfigured

SLEEPER = "import time; time.sleep(600)"
# A server with a worker that would outlive it, both with nothing of their environment left, as setproctitle leaves it.
PARENT = (
    "import os, subprocess, sys, time; "
    "worker = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], env={}); "
    "open(sys.argv[1], 'w').write(str(worker.pid)); time.sleep(600)"
)


def run(state: State, processes: Sequence[Process]) -> Supervisor:
    write_private(state.processes_file, {process.name: process.described() for process in processes})
    supervisor = start_supervisor(state, processes)
    for process in processes:
        supervisor.start(process.name)
    return supervisor


def sleeper(name: str) -> Process:
    return Process(name, [sys.executable, "-c", SLEEPER], "ended://")


def wait_until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def is_up(supervisor: Supervisor, name: str, other_than: int | None = None) -> bool:
    pid = supervisor.processes()[name].pid
    return pid is not None and pid != other_than and psutil.Process(pid).cmdline()[-1:] == [SLEEPER]


def test_process_killed_at_once_is_started_again_and_counted(state: State) -> None:
    supervisor = run(state, [sleeper("one"), sleeper("two")])
    wait_until(lambda: is_up(supervisor, "one") and is_up(supervisor, "two"))
    before = supervisor.processes()
    os.kill(before["one"].pid or 0, signal.SIGKILL)
    wait_until(lambda: is_up(supervisor, "one", other_than=before["one"].pid))
    assert {name: one.restarts for name, one in supervisor.lives().items()} == {"one": 1, "two": 0}
    assert supervisor.processes()["two"].pid == before["two"].pid


def test_worker_of_a_killed_server_is_ended_before_the_server_starts_again(state: State, tmp_path: Path) -> None:
    note = tmp_path / "worker.pid"
    supervisor = run(state, [Process("server", [sys.executable, "-c", PARENT, str(note)], "ended://")])
    wait_until(lambda: note.exists() and note.read_text() != "")
    first = int(note.read_text())
    os.kill(supervisor.processes()["server"].pid or 0, signal.SIGKILL)
    wait_until(lambda: note.read_text() not in ("", str(first)))
    assert not psutil.pid_exists(first) or psutil.Process(first).status() == psutil.STATUS_ZOMBIE


def test_stopping_leaves_nothing_running(state: State, tmp_path: Path) -> None:
    note = tmp_path / "worker.pid"
    supervisor = run(state, [sleeper("one"), Process("server", [sys.executable, "-c", PARENT, str(note)], "ended://")])
    wait_until(lambda: is_up(supervisor, "one") and note.exists() and note.read_text() != "")
    assert len(orphan_processes.find(state)) == 4  # supervisord, the two, and the worker
    stack.stop(state)
    assert orphan_processes.find(state) == []
    assert not stack.is_running(state)
    assert not state.socket.exists()


def test_what_a_killed_supervisor_left_is_found_and_ended(state: State, tmp_path: Path) -> None:
    note = tmp_path / "worker.pid"
    supervisor = run(state, [sleeper("one"), Process("server", [sys.executable, "-c", PARENT, str(note)], "ended://")])
    wait_until(lambda: is_up(supervisor, "one") and note.exists() and note.read_text() != "")
    os.kill(supervisor.pid(), signal.SIGKILL)
    wait_until(lambda: not stack.is_running(state))
    assert len(orphan_processes.find(state)) == 3
    assert stack.stop(state) == 3
    assert orphan_processes.find(state) == []


def test_stack_of_another_state_is_left_alone(state: State, tmp_path: Path) -> None:
    supervisor = run(state, [sleeper("one")])
    wait_until(lambda: is_up(supervisor, "one"))
    other = State.at(tmp_path / "other")
    other.make()
    stack.stop(other)
    assert is_up(supervisor, "one")


def test_process_with_a_readiness_check_of_its_own_is_waited_for(state: State) -> None:
    migrate = Process("migrate", [sys.executable, "-c", "print('done')"], "ended://", runs_once=True)
    write_private(state.processes_file, {"migrate": migrate.described()})
    Startup([migrate], start_supervisor(state, [migrate])).run(lambda _: None)
    assert (state.logs / "migrate.log").read_text() == "done\n"


def test_command_that_does_not_exist_is_said_in_the_log(state: State) -> None:
    lost = Process("lost", ["/no/such/python", "-m", "nothing"], "ended://")
    write_private(state.processes_file, {"lost": lost.described()})
    with pytest.raises(Misconfigured, match="lost: /no/such/python cannot be run"):
        Startup([lost], start_supervisor(state, [lost])).run(lambda _: None)


def test_configuration_keeps_everything_running_but_one_offs(state: State) -> None:
    text = render(state, [sleeper("one"), Process("migrate", ["true"], "ended://", runs_once=True)])
    one, migrate = text.split("[program:one]")[1].split("[program:migrate]")
    assert "autorestart=true" in one
    assert "startretries=1000000" in one
    assert "autorestart=false" in migrate
    assert text.count("autostart=false") == 2


@pytest.mark.parametrize("name", ["100%", "a #b", "a ;b"])
def test_path_that_the_supervisor_cannot_read_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Misconfigured, match=r"the supervisor cannot read .* use another --state"):
        render(State.at(tmp_path / name), [])


def test_spaces_and_quotes_in_a_path_are_fine(tmp_path: Path) -> None:
    place = State.at(tmp_path / "my 'state' \"here\"")
    place.make()
    try:
        supervisor = run(place, [sleeper("one")])
        wait_until(lambda: is_up(supervisor, "one"))
    finally:
        stack.stop(place)


def test_restarts_are_counted_since_the_supervisor_came_up(state: State) -> None:
    state.supervisor_log.write_text(
        "x INFO supervisord started with pid 1\nx INFO spawned: 'one' with pid 2\nx INFO spawned: 'one' with pid 3\n"
        "x INFO supervisord started with pid 4\nx INFO spawned: 'one' with pid 5\nx INFO spawned: 'two' with pid 6\n"
        "x INFO exited: two (exit status 2; not expected)\nx INFO spawned: 'two' with pid 7\n"
    )
    assert Supervisor(state).lives() == {"one": Lives(0, 0), "two": Lives(1, 2)}
