"""The state folder of one embedded stack: where everything is, and what was decided when it was started."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from quantstream.core.errors import Misconfigured
from quantstream.files import PRIVATE, write_whole

PROJECT = Path(__file__).resolve().parents[2]
SOCKET_LIMIT = 100  # bytes; the system allows 108 (104 on macOS) with the ending zero


@dataclass(frozen=True)
class Stack:
    """What `stack.json` holds: addresses, ports and settings of the stack that was started last."""

    urls: dict[str, str]
    kafka: str
    processes: dict[str, dict[str, int | None]]
    airflow_password_file: str
    settings: dict[str, str]
    supervisor: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class State:
    """Paths inside one state folder, all absolute."""

    folder: Path

    @classmethod
    def at(cls, folder: Path) -> State:
        """Return the state at a folder, which need not exist yet."""
        return cls(folder.expanduser().absolute())

    @property
    def logs(self) -> Path:
        """One `NAME.log` per process."""
        return self.folder / "logs"

    @property
    def stack_file(self) -> Path:
        """Addresses for people, tests and the other parts."""
        return self.folder / "stack.json"

    @property
    def processes_file(self) -> Path:
        """Command, environment and readiness of each process."""
        return self.folder / "processes.json"

    @property
    def supervisor_config(self) -> Path:
        """What supervisord reads."""
        return self.folder / "supervisord.conf"

    @property
    def supervisor_pid(self) -> Path:
        """Where supervisord writes its pid."""
        return self.folder / "supervisord.pid"

    @property
    def session_file(self) -> Path:
        """Which session the processes are in, to find them when the supervisor is gone."""
        return self.folder / "session.json"

    @property
    def supervisor_log(self) -> Path:
        """What supervisord did, restarts included."""
        return self.logs / "supervisord.log"

    @property
    def airflow(self) -> Path:
        """Airflow's home."""
        return self.folder / "airflow"

    @property
    def artifacts(self) -> Path:
        """Where MLflow keeps models: the project's `mlruns/` for the default state, else inside the state."""
        return (PROJECT if self.folder == PROJECT / ".quantstream" else self.folder) / "mlruns"

    @property
    def socket(self) -> Path:
        """supervisord's socket: inside the state, or in a short private folder when that path is too long for a socket."""
        inside = self.folder / "supervisor.sock"
        if len(os.fsencode(inside)) <= SOCKET_LIMIT:
            return inside
        digest = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"quantstream-{os.getuid()}-{digest}" / "s.sock"

    def make(self) -> None:
        """Make the folder and what belongs in it.

        Raises: Misconfigured when it cannot be written.
        """
        try:
            for folder in (self.folder, self.logs):
                folder.mkdir(parents=True, exist_ok=True)
            if self.socket.parent != self.folder:
                self.socket.parent.mkdir(mode=0o700, exist_ok=True)
                if self.socket.parent.stat().st_uid != os.getuid():
                    raise Misconfigured(f"{self.socket.parent} belongs to someone else; use a shorter --state path")
        except OSError as error:
            reason = error.strerror or error
            raise Misconfigured(
                f"the state folder {self.folder} cannot be written ({reason}); name another with --state"
            ) from None

    def read(self) -> Stack | None:
        """Return the stack that was started last, or None when nothing ever was.

        Raises: Misconfigured when the file is damaged.
        """
        try:
            return Stack(**json.loads(self.stack_file.read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, RecursionError):
            raise Misconfigured(f"{self.stack_file} is damaged; run quantstream down, then up") from None

    def described(self) -> dict[str, dict[str, Any]]:
        """Return the processes that were started last, as `processes.json` describes them.

        Raises: Misconfigured when the file is damaged or missing.
        """
        try:
            found = json.loads(self.processes_file.read_text())
            return {name: dict(process) for name, process in found.items()}
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            raise Misconfigured(f"{self.processes_file} is damaged; run quantstream down, then up") from None

    def write(self, stack: Stack) -> None:
        """Write `stack.json`, whole or not at all."""
        write_private(self.stack_file, asdict(stack))

    @contextmanager
    def only_one(self) -> Iterator[None]:
        """Hold the state for starting or stopping, so that two commands do not do so at once.

        Raises: Misconfigured when another command holds it.
        """
        import fcntl

        with (self.folder / "up.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Misconfigured(
                    f"another quantstream command is starting or stopping {self.folder}; wait for it"
                ) from None
            yield


def write_private(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON that only its owner may read, whole or not at all."""
    write_whole(path, json.dumps(value, indent=1).encode() + b"\n", PRIVATE)
