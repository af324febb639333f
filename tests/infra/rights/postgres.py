"""A real Postgres, made as the manifests' pod makes its own: the same script, the passwords of `secrets.sh`."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from infra.embedded.free_ports import free_ports
from tests.infra.manifests import K8S
from tests.infra.rights.object_store import secret

LOGINS = K8S / "sources" / "infrastructure" / "base" / "postgres-logins.sh"
PROGRAMS = ("initdb", "pg_ctl", "postgres", "psql", "pg_dump", "pg_restore")


def bin_folder() -> Path | None:
    """Return where Postgres' programs are, the newest where there are several; None where there are none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    there = [folder for folder in found if all((folder / name).is_file() for name in PROGRAMS)]
    on_path = shutil.which("initdb")
    return there[-1] if there else Path(on_path).resolve().parent if on_path else None


def whats_missing() -> str:
    """Say why Postgres cannot be run here, or nothing."""
    return "" if bin_folder() else "POSTGRES NOT RUN: initdb not found; Debian: apt-get install postgresql"


@dataclass(frozen=True)
class Postgres:
    """A server that answers on a port of this machine."""

    port: int
    folder: Path

    def run(
        self, program: str, *arguments: str, user: str, password: str, given: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run one of Postgres' programs with a login."""
        return subprocess.run(
            [str(_programs() / program), *arguments],
            env=self.variables(user, password),
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def log_in(self, passwords: Path, logins: Mapping[str, str]) -> None:
        """Do once what the container beside the server does when a password changes."""
        passwords.mkdir(exist_ok=True)
        for name, text in logins.items():
            (passwords / name).write_text(text)
        own = {"ONCE": "yes", "APPLIED": str(self.folder / "applied")}
        environment = self.variables("postgres", secret("postgres", "password")) | own
        words = ["sh", str(LOGINS), str(passwords)]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr

    def variables(self, user: str, password: str) -> dict[str, str]:
        """Return how a program of Postgres finds it."""
        path = f"{_programs()}:{os.environ['PATH']}"
        return {"PATH": path, "PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": user, "PGPASSWORD": password}

    def sql(self, database: str, text: str, user: str = "postgres", password: str = "") -> list[str]:
        """Return the rows that a statement gives."""
        own = ("postgres", "password") if user == "postgres" else ("postgres-logins", f"{user}-password")
        login = password or secret(*own)
        flags = [
            "--no-psqlrc",
            "--tuples-only",
            "--no-align",
            "--quiet",
            "--set",
            "ON_ERROR_STOP=1",
            "--dbname",
            database,
        ]
        done = self.run("psql", *flags, user=user, password=login, given=text)
        assert done.returncode == 0, done.stderr
        return done.stdout.split("\n")[:-1]


def logins() -> dict[str, str]:
    """Return every login's password, as the container beside the server reads them."""
    names = [f"{name}{second}-password" for name in ("mlflow", "airflow", "studies", "backup") for second in ("", "-b")]
    return {name: secret("postgres-logins", name) for name in names}


def _programs() -> Path:
    found = bin_folder()
    assert found is not None
    return found


@contextmanager
def running(*settings: str) -> Iterator[Postgres]:
    """Run a server whose databases and roles the pod's own script has made."""
    with TemporaryDirectory(prefix="quantstream-postgres-") as name:  # pytest's own folders only root may enter
        folder = Path(name)
        first = folder / "first-password"
        first.write_text(secret("postgres", "password"))
        _give_away(folder)
        words = ["--username", "postgres", "--pwfile", str(first), "--auth", "scram-sha-256"]
        _as_nobody("initdb", "--pgdata", str(folder / "data"), *words)
        with serving(folder, *settings) as server:
            server.log_in(folder / "passwords", logins())
            yield server


@contextmanager
def serving(folder: Path, *settings: str) -> Iterator[Postgres]:
    """Run a server over the files in the folder `data`, with settings of postgresql.conf written `name=value`."""
    (port,) = free_ports(1)
    data = folder / "data"
    _give_away(folder)
    own = (f"port={port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={folder}", "fsync=off", *settings)
    options = " ".join(f"-c {shlex.quote(one)}" for one in own)
    _as_nobody("pg_ctl", "start", "-w", "-D", str(data), "-l", str(folder / "log"), "-o", options)
    try:
        yield Postgres(port, folder)
    finally:
        _as_nobody("pg_ctl", "stop", "-w", "-m", "immediate", "-D", str(data))


def _as_nobody(program: str, *arguments: str) -> None:
    """Run a program that refuses to be root."""
    who = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*who, str(_programs() / program), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd="/",
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _give_away(folder: Path) -> None:
    if os.geteuid() == 0:
        for path in (folder, *folder.iterdir()):
            os.chown(path, 65534, 65534)
