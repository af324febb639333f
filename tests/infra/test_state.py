"""The state folder: private files, a socket path that the system takes, one command at a time."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from infra.embedded.state import PROJECT, SOCKET_LIMIT, Stack, State
from quantstream.core.errors import Misconfigured

STACK = Stack(
    urls={"dashboard": "http://127.0.0.1:8501"},
    kafka="127.0.0.1:9092",
    processes={"ingest": {"http_port": 9101}},
    airflow_password_file="/somewhere/passwords.json",
    settings={"QUANTSTREAM_SYMBOLS": "BTCUSDT"},
)


def test_stack_file_is_read_back_and_only_its_owner_may_read_it(state: State) -> None:
    state.write(STACK)
    assert state.read() == STACK
    assert stat.S_IMODE(state.stack_file.stat().st_mode) == 0o600


def test_folder_that_was_never_started_has_no_stack(state: State) -> None:
    assert state.read() is None


def test_damaged_stack_file_is_said_to_be_damaged(state: State) -> None:
    state.stack_file.write_text("{")
    with pytest.raises(Misconfigured, match="is damaged; run quantstream down, then up"):
        state.read()


def test_socket_is_inside_a_short_state_folder() -> None:
    assert State.at(Path("/s")).socket == Path("/s/supervisor.sock")


def test_socket_of_a_long_path_is_short_and_the_same_every_time(tmp_path: Path) -> None:
    long = State.at(tmp_path / ("x" * SOCKET_LIMIT))
    other = State.at(tmp_path / ("y" * SOCKET_LIMIT))
    assert len(str(long.socket)) <= SOCKET_LIMIT
    assert long.socket == State.at(long.folder).socket
    assert long.socket != other.socket


def test_models_of_the_default_state_are_in_the_projects_mlruns(tmp_path: Path) -> None:
    assert State.at(PROJECT / ".quantstream").artifacts == PROJECT / "mlruns"
    assert State.at(tmp_path).artifacts == tmp_path / "mlruns"


def test_folder_that_cannot_be_written_is_refused_in_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(Misconfigured, match=r"cannot be written .* name another with --state"):
        State.at(file / "state").make()


def test_second_command_on_the_same_state_is_refused_while_the_first_works(state: State) -> None:
    with state.only_one(), pytest.raises(Misconfigured, match="another quantstream command"), state.only_one():
        pass
    with state.only_one():
        pass
