"""A whole Postgres goes to the store of objects and comes back as it was at a moment, as CloudNativePG's plugin does it.

The program is the plugin's own, Barman, of its image's release; settings are those of the rendered ObjectStore, the key is that
of the secret that `secrets.sh` makes; Postgres and the store are real. Not here: the operator, and the pods that it makes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from infra.embedded.jars import cache_folder
from tests.infra.manifests import named, render, secret_script
from tests.infra.rights import object_store, postgres
from tests.infra.rights.object_store import ObjectStore, secret
from tests.infra.rights.postgres import Postgres, serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
BARMAN = "3.19.1"  # containers/sidecar-requirements.txt of plugin-barman-cloud 0.13.0, whose chart versions.conf pins
PACKAGES = ("boto3==1.43.26", "python-dateutil", "psycopg2-binary")  # without the last Barman would build its own


def program() -> Path:
    """Return the folder of Barman's programs, installed now if they were not before."""
    folder = cache_folder() / f"barman-{BARMAN}"
    if not (folder / "done").exists():
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        for words in (
            [sys.executable, "-m", "venv", str(folder)],
            [*pip, *PACKAGES],
            [*pip, "--no-deps", f"barman=={BARMAN}"],
        ):
            done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=600)
            assert done.returncode == 0, done.stderr[-2000:]
        (folder / "done").touch()
    return folder / "bin"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectStore]:
    """The object store."""
    if why := object_store.whats_missing():
        pytest.skip(why)
    with object_store.running(tmp_path) as served:
        yield served


def settings() -> dict[str, Any]:
    found: dict[str, Any] = named(render("prod"), "ObjectStore", "databases")["spec"]
    return found


def referred(reference: dict[str, str]) -> str:
    (one,) = [one for one in secret_script() if one["metadata"]["name"] == reference["name"]]
    return b64decode(one["data"][reference["key"]]).decode()


def variables(store: ObjectStore) -> dict[str, str]:
    """Return what the sidecar's programs are given: credentials as the plugin sets them, and the variables of the ObjectStore."""
    spec = settings()
    credentials = spec["configuration"]["s3Credentials"]
    given = {one["name"]: one["value"] for one in spec["instanceSidecarConfiguration"]["env"] if "value" in one}
    (where,) = [one for one in spec["instanceSidecarConfiguration"]["env"] if "valueFrom" in one]
    assert referred(where["valueFrom"]["secretKeyRef"]) == "http://objects:7070"
    return given | {
        where["name"]: store.url,
        "AWS_ACCESS_KEY_ID": referred(credentials["accessKeyId"]),
        "AWS_SECRET_ACCESS_KEY": referred(credentials["secretAccessKey"]),
        "AWS_DEFAULT_REGION": referred(credentials["region"]),
    }


def barman(store: ObjectStore, name: str, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run one of Barman's programs for the server `databases`."""
    destination = settings()["configuration"]["destinationPath"]
    head, tail = [one for one in words if one.startswith("-")], [one for one in words if not one.startswith("-")]
    command = [str(program() / name), "--cloud-provider=aws-s3", *head, destination, "databases", *tail]
    given = variables(store) | {"PATH": os.environ["PATH"]} | more
    return subprocess.run(command, env=given, capture_output=True, text=True, check=False, timeout=300)


def archive(store: ObjectStore, segments: Path) -> list[str]:
    """Put every segment of the log where it is kept; return their names."""
    names = sorted(one.name for one in segments.iterdir())
    for name in names:
        done = barman(store, "barman-cloud-wal-archive", "--gzip", str(segments / name))
        assert done.returncode == 0, done.stderr
    return names


def until(server: Postgres, is_so: str) -> None:
    """Wait until the server says that something is so."""
    deadline = time.monotonic() + 60
    while server.sql("postgres", f"SELECT {is_so}") != ["t"]:
        assert time.monotonic() < deadline


def put_back(store: ObjectStore, names: list[str], moment: str) -> list[str]:
    """Begin a server of the base backup and the log, up to a moment or to its end; return the runs that it knows."""
    listed = json.loads(barman(store, "barman-cloud-backup-list", "--format=json").stdout)
    (backup,) = listed["backups_list"]
    with TemporaryDirectory(prefix="quantstream-postgres-") as name:
        folder = Path(name)
        for one in ("data", "log-of-before"):
            (folder / one).mkdir(mode=0o700)
        done = barman(store, "barman-cloud-restore", backup["backup_id"], str(folder / "data"))
        assert done.returncode == 0, done.stderr
        for segment in (one for one in names if "." not in one):  # not the labels of backups
            done = barman(store, "barman-cloud-wal-restore", segment, str(folder / "log-of-before" / segment))
            assert done.returncode == 0, done.stderr
        (folder / "data" / "recovery.signal").touch()
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", "65534:65534", str(folder)], check=True)
        target = [f"recovery_target_time={moment}", "recovery_target_action=promote"] if moment else []
        command = f"restore_command=cp {folder}/log-of-before/%f %p"
        with serving(folder, command, *target) as server:
            until(server, "NOT pg_is_in_recovery()")
            return server.sql("mlflow", "SELECT id FROM runs ORDER BY id", "mlflow")


def test_the_server_comes_back_as_it_was_at_a_moment(store: ObjectStore) -> None:
    if why := postgres.whats_missing():
        pytest.skip(why)
    checked = barman(store, "barman-cloud-check-wal-archive")
    assert checked.returncode == 0, checked.stderr
    with postgres.running("archive_mode=on", "archive_command=cp %p ../wal/%f") as server:
        segments = server.folder / "wal"
        segments.mkdir()
        segments.chmod(0o777)
        admin = secret("postgres", "password")
        server.sql("mlflow", "CREATE TABLE runs (id int); INSERT INTO runs VALUES (1)", "mlflow")
        login = ("--host=127.0.0.1", f"--port={server.port}", "--user=postgres", "--gzip", "--immediate-checkpoint")
        made = barman(store, "barman-cloud-backup", *login, PGPASSWORD=admin, PGDATABASE="postgres")
        assert made.returncode == 0, made.stderr
        server.sql("mlflow", "INSERT INTO runs VALUES (2)", "mlflow")
        (moment,) = server.sql("postgres", "SELECT clock_timestamp()")
        server.sql("mlflow", "INSERT INTO runs VALUES (3)", "mlflow")
        (last,) = server.sql("postgres", "SELECT pg_walfile_name(pg_switch_wal())")
        until(server, f"(SELECT last_archived_wal >= '{last}' FROM pg_stat_archiver)")
        names = archive(store, segments)
    assert put_back(store, names, moment) == ["1", "2"]
    assert put_back(store, names, "") == ["1", "2", "3"]
    pruned = barman(store, "barman-cloud-backup-delete", "--retention-policy=RECOVERY WINDOW OF 14 DAYS")
    assert pruned.returncode == 0, pruned.stderr
    again = barman(store, "barman-cloud-check-wal-archive")  # what refuses a second server under the same name
    assert again.returncode != 0
    assert "Expected empty archive" in again.stderr + again.stdout
