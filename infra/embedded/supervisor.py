"""supervisord as the local counterpart of a cluster's self-healing: rendered, started, asked and stopped from here only."""

from __future__ import annotations

import http.client
import re
import shlex
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.embedded.orphan_processes import NAME_MARK, STATE_MARK, record_session
from infra.embedded.processes import Process
from infra.embedded.state import PROJECT, State
from quantstream.core.errors import Misconfigured, Unavailable

TIMEOUT = 60.0  # seconds for an answer of supervisord: a disk that stands still for ten is no failure
# What ends within STEADY_SECONDS is started again after 1, 2, 3 … seconds, for ever: a fault outside may take long to fix.
STEADY_SECONDS = 3
RETRIES = 1_000_000
LOG_BYTES = "10MB"
ALREADY_STARTED, NOT_RUNNING, SHUTTING_DOWN = 60, 70, 6  # supervisor.xmlrpc.Faults
UNREADABLE = ("%", " ;", " #", "\n")  # it expands the first and takes the others for a comment or an end
_SPAWNED = re.compile(r"spawned: '([^']+)' with pid")
_EXITED = re.compile(r"exited: (\S+) \(exit status (\d+);")
_STARTED = "supervisord started with pid"


@dataclass(frozen=True)
class Watched:
    """A process as supervisord sees it. `state` in lower case: stopped, starting, running, backoff, stopping, exited, fatal."""

    name: str
    state: str
    pid: int | None
    uptime: int  # seconds


@dataclass(frozen=True)
class Lives:
    """How often a process was started again, and the code with which it last ended by itself."""

    restarts: int = 0
    exit_code: int = 0


class Supervisor:
    """The supervisord of one state folder, over its socket."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._server = xmlrpc.client.ServerProxy("http://localhost", transport=_UnixTransport(state.socket))

    def is_running(self) -> bool:
        """Whether it answers."""
        try:
            self._call("getPID")
        except Unavailable:
            return False
        return True

    def pid(self) -> int:
        """Return supervisord's own pid.

        Raises: Unavailable.
        """
        return int(self._call("getPID"))

    def processes(self) -> dict[str, Watched]:
        """Return every process by name.

        Raises: Unavailable when supervisord does not answer.
        """
        return {row["name"]: _watched(row) for row in self._call("getAllProcessInfo")}

    def start(self, name: str) -> None:
        """Start a process; it is then kept running."""
        self._call("startProcess", name, False, ignore=ALREADY_STARTED)

    def stop(self, name: str) -> None:
        """Ask a process to stop for good."""
        self._call("stopProcess", name, False, ignore=NOT_RUNNING)

    def shut_down(self) -> None:
        """End supervisord itself."""
        self._call("shutdown", ignore=SHUTTING_DOWN)

    def lives(self) -> dict[str, Lives]:
        """Return what became of each process since supervisord came up, from its log: it keeps no count itself."""
        try:
            lines = self.state.supervisor_log.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return {}
        lives: dict[str, Lives] = {}
        for line in lines:
            if _STARTED in line:
                lives = {}
            elif spawned := _SPAWNED.search(line):
                before = lives.get(spawned[1], Lives(-1))
                lives[spawned[1]] = Lives(before.restarts + 1, before.exit_code)
            elif ended := _EXITED.search(line):
                lives[ended[1]] = Lives(lives.get(ended[1], Lives()).restarts, int(ended[2]))
        return lives

    def _call(self, method: str, *arguments: Any, ignore: int = 0) -> Any:
        try:
            return getattr(self._server.supervisor, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != ignore:
                raise Unavailable(f"supervisord refused {method}: {fault.faultString}") from fault
            return None
        except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
            raise Unavailable(f"no supervisor answers for {self.state.folder}") from error


def start_supervisor(state: State, processes: Iterable[Process]) -> Supervisor:
    """Write the configuration, start supervisord in the background and return it when it answers.

    Raises: Misconfigured when it does not start.
    """
    import os

    state.supervisor_config.write_text(render(state, processes))
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(state.supervisor_config)]
    environment = os.environ | {STATE_MARK: str(state.folder), NAME_MARK: "supervisord", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=PROJECT)
    supervisor = Supervisor(state)
    deadline = time.monotonic() + TIMEOUT
    while done.returncode == 0 and time.monotonic() < deadline:
        if supervisor.is_running():
            record_session(state, supervisor.pid())
            return supervisor
        time.sleep(0.05)
    reason = (done.stderr or done.stdout).strip().splitlines() or [f"see {state.supervisor_log}"]
    raise Misconfigured(f"the supervisor did not start: {reason[-1]}")


def render(state: State, processes: Iterable[Process]) -> str:
    """Return supervisord's configuration; no process starts before it is asked to, each is kept running from then on."""
    own: dict[str, dict[str, Any]] = {
        "unix_http_server": {"file": state.socket, "chmod": "0700"},
        "supervisord": {
            "logfile": state.supervisor_log,
            "logfile_maxbytes": LOG_BYTES,
            "logfile_backups": 1,
            "pidfile": state.supervisor_pid,
            "childlogdir": state.logs,
            "directory": PROJECT,
        },
        "rpcinterface:supervisor": {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        },
    }
    programs = {f"program:{process.name}": _program(state, process) for process in processes}
    return "\n".join(_section(name, options) for name, options in (own | programs).items())


def _program(state: State, process: Process) -> dict[str, Any]:
    return {
        "command": shlex.join([sys.executable, "-m", "infra.embedded.launch", str(state.folder), process.name]),
        "directory": PROJECT,
        "autostart": "false",
        "autorestart": "false" if process.runs_once else "true",
        "startsecs": 0 if process.runs_once else STEADY_SECONDS,
        "startretries": RETRIES,
        "stopwaitsecs": process.stop_seconds,
        "stopasgroup": "true",
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": state.logs / f"{process.name}.log",
        "stdout_logfile_maxbytes": LOG_BYTES,
        "stdout_logfile_backups": 2,
    }


def _section(name: str, options: dict[str, Any]) -> str:
    lines = [f"[{name}]"]
    for key, value in options.items():
        text = str(value)
        if unreadable := [mark for mark in UNREADABLE if mark in text]:
            raise Misconfigured(f"the supervisor cannot read {unreadable[0]!r} in the path {text}; use another --state")
        lines.append(f"{key}={text}")
    return "\n".join(lines) + "\n"


def _watched(row: dict[str, Any]) -> Watched:
    is_up = row["statename"] in ("RUNNING", "STARTING", "STOPPING")
    return Watched(
        name=row["name"],
        state=row["statename"].lower(),
        pid=row["pid"] or None,
        uptime=max(0, row["now"] - row["start"]) if is_up else 0,
    )


class _UnixTransport(xmlrpc.client.Transport):
    """XML-RPC over a unix socket, with a time limit."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = _UnixConnection("localhost", timeout=TIMEOUT)
        connection.path = str(self._path)
        return connection


class _UnixConnection(http.client.HTTPConnection):
    path: str

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(self.path)
