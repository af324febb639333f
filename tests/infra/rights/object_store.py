"""The manifests' object store, really run on this machine: the program of the version that they name, its users and policies.

The program is built once by Go from the module that its image is built of.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.request
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from infra.embedded.free_ports import free_ports
from infra.embedded.jars import cache_folder
from tests.infra.manifests import Object, named, of_kind, pod, render, secret_script, tag

MODULE = "github.com/versity/versitygw/cmd/versitygw"
PATIENCE = 30.0  # seconds


def whats_missing() -> str:
    """Say why the object store cannot be run here, or nothing."""
    absent = [tool for tool in ("go", "curl") if shutil.which(tool) is None]
    return f"OBJECT STORE NOT RUN: {', '.join(absent)} not found; Go of 1.25 at least builds it" if absent else ""


def program() -> Path:
    """Return the program, built now if it was not before."""
    version = tag(_container()["image"])
    folder = cache_folder() / f"versitygw-{version}"
    if not folder.is_dir():
        unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")
        built = subprocess.run(
            ["go", "install", f"{MODULE}@{version}"],
            env=os.environ | {"GOBIN": str(unfinished), "CGO_ENABLED": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert built.returncode == 0, built.stderr[-2000:]
        if not folder.is_dir():
            unfinished.rename(folder)
    return folder / "versitygw"


def _container() -> Object:
    found: Object = pod(named(render("local"), "StatefulSet", "objects"))["containers"][0]
    return found


def secret(name: str, key: str) -> str:
    """Return what a secret of `secrets.sh` holds."""
    (found,) = [one for one in secret_script() if one["metadata"]["name"] == name]
    return b64decode(found["data"][key]).decode()


@dataclass(frozen=True)
class ObjectStore:
    """A store that answers at `url`."""

    url: str
    users: Path  # the file that its users are in

    def login(self, role: str) -> tuple[str, str]:
        """Return the key of a role, or that of `root`."""
        if role == "root":
            return secret("objects", "access-key"), secret("objects", "secret-key")
        return role, secret("objects-logins", role)

    def options(self, role: str) -> dict[str, str]:
        """Return how Delta reaches it, as a pod's variables do."""
        access, key = self.login(role)
        given = {"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": key, "AWS_ENDPOINT_URL": self.url}
        config = next(one for one in of_kind(render("local"), "ConfigMap") if "AWS_REGION" in one.get("data", {}))
        return given | {name: config["data"][name] for name in ("AWS_ALLOW_HTTP", "AWS_REGION")}

    def ask(self, role: str, method: str, path: str, data: str | None = None) -> int:
        """Return the status of one signed request."""
        return self.ask_as(self.login(role), method, path, data)

    def ask_as(self, login: tuple[str, str], method: str, path: str, data: str | None = None) -> int:
        """Return the status of one request that is signed with a key."""
        access, key = login
        command = ["curl", "--config", "-", "--silent", "--output", os.devnull, "--write-out", "%{http_code}"]
        command += ["--aws-sigv4", "aws:amz:us-east-1:s3", "--request", method, f"{self.url}/{path}"]
        command += ["--header", f"x-amz-content-sha256: {sha256((data or '').encode()).hexdigest()}"]
        command += ["--data-binary", data] if data is not None else []
        given = f'user = "{access}:{key}"\n'
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=True, timeout=PATIENCE)
        return int(done.stdout)


@contextmanager
def running(folder: Path) -> Iterator[ObjectStore]:
    """Run it as its pod does, and give its buckets their policies with the pod's own script."""
    (port,) = free_ports(1)
    for name in ("data/quantstream", "data/backups", "users", "policies"):
        (folder / name).mkdir(parents=True)
    (folder / "users" / "users.json").write_text(secret("objects-users", "users.json"))
    policies = next(
        one for one in of_kind(render("local"), "ConfigMap") if one["metadata"]["name"].startswith("objects-policies")
    )
    for name, text in policies["data"].items():
        (folder / "policies" / name).write_text(text)
    here = {":7070": f"127.0.0.1:{port}", "/users": str(folder / "users"), "/data": str(folder / "data")}
    access, key = secret("objects", "access-key"), secret("objects", "secret-key")
    root = os.environ | {"ROOT_ACCESS_KEY": access, "ROOT_SECRET_KEY": key}
    arguments = [here.get(str(one), str(one)) for one in _container()["args"]]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen([program(), *arguments], env=root, stdout=log, stderr=log)
    try:
        store = ObjectStore(f"http://127.0.0.1:{port}", folder / "users" / "users.json")
        _await(store, server, folder / "log")
        own = {"OBJECTS": store.url, "ONCE": "yes", "APPLIED": str(folder / "applied")}
        command = ["sh", str(folder / "policies" / "put.sh"), str(folder / "policies")]
        done = subprocess.run(command, env=root | own, capture_output=True, text=True, check=False, timeout=PATIENCE)
        assert done.returncode == 0, done.stdout + done.stderr
        assert (folder / "applied").exists()
        yield store
    finally:
        server.terminate()
        server.wait(PATIENCE)


def _await(store: ObjectStore, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not _answers(store):
        assert server.poll() is None, log.read_text()[-2000:]
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.05)


def _answers(store: ObjectStore) -> bool:
    try:
        urllib.request.urlopen(f"{store.url}/healthz", timeout=5).close()
    except OSError:
        return False
    return True


def users() -> set[str]:
    """Return the roles that have a user."""
    return set(json.loads(secret("objects-users", "users.json"))["accessAccounts"])
