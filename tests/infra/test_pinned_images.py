"""Images of others by digest: the script that asks registries, its file, what reads that; over a real registry here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.embedded.free_ports import free_ports
from infra.embedded.state import PROJECT
from tests.infra.manifests import K8S
from tests.infra.test_rendered import versions

DOCKER = PROJECT / "infra" / "docker"
LINE = re.compile(r"(\S+:\S+) (-|sha256:[0-9a-f]{64})")


def run(*command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script of ours."""
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=PROJECT, env=os.environ | variables, timeout=600
    )


def crane() -> str:
    """Return the program that asks registries, and is one; built by Go."""
    if shutil.which("go") is None:
        pytest.skip("PINS NOT TRIED: go not found, which builds crane")
    built = run(DOCKER / "go_tool.sh", "crane")
    assert built.returncode == 0, built.stderr
    return built.stdout.strip()


@contextmanager
def registry(program: str) -> Iterator[str]:
    """A registry on this machine; yields its host and port once it says that it serves."""
    (port,) = free_ports(1)
    server = subprocess.Popen(
        [program, "registry", "serve", "--address", f"127.0.0.1:{port}"], stderr=subprocess.PIPE, text=True
    )
    try:
        assert server.stderr is not None
        assert "serving" in server.stderr.readline()
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


def lines(lock: Path) -> dict[str, str]:
    """Return each image's digest, or `-`."""
    found = [line for line in lock.read_text().splitlines() if not line.startswith("#")]
    assert [line for line in found if LINE.fullmatch(line) is None] == []
    return dict(map(str.split, found))


def push(program: str, folder: Path, image: str, content: str) -> None:
    """Put an image of one file into a registry."""
    (folder / "content").write_text(content)
    with tarfile.open(folder / "layer.tar", "w") as layer:
        layer.add(folder / "content", "content")
    done = run(program, "append", "--new_layer", folder / "layer.tar", "--new_tag", image, "--insecure")
    assert done.returncode == 0, done.stderr


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """A copy of the committed file, with nothing pinned."""
    copy = tmp_path / "images.lock"
    copy.write_text(re.sub(r"sha256:[0-9a-f]{64}$", "-", (DOCKER / "images.lock").read_text(), flags=re.MULTILINE))
    return copy


def test_the_committed_file_names_every_image_of_others() -> None:
    named = re.findall(r"^ARG BASE=(\S+)$", (DOCKER / "Dockerfile").read_text(), re.MULTILINE)
    for path in (K8S / "sources").rglob("*.yaml"):
        named += re.findall(r"image(?:Name)?: (?!registry\.invalid/)(\S+)", path.read_text())
    others = {image for image in lines(DOCKER / "images.lock") if not image.startswith(f"{versions()['REGISTRY']}/")}
    assert others == set(named), "run infra/docker/pin.sh"


def test_what_has_no_digest_is_named_and_refused(lock: Path) -> None:
    done = run(DOCKER / "pin.sh", "--check", LOCK=str(lock))
    assert done.returncode == 1
    assert [line.split()[1] for line in done.stderr.splitlines()] == sorted(lines(lock))


def test_pinned_images_are_what_is_rendered_and_nothing_else_changes(tmp_path: Path, lock: Path) -> None:
    program, images, own = crane(), list(lines(lock)), versions()
    lock.write_text(f"{lock.read_text()}{own['REGISTRY']}/streaming:{own['TAG']} sha256:{'0' * 64}\n")
    with registry(program) as host:
        for image in images:
            push(program, tmp_path, f"{host}/{image.removeprefix('docker.io/')}", image)
        done = run(DOCKER / "pin.sh", LOCK=str(lock), MIRROR=host)
        assert done.returncode == 0, done.stderr
    assert run(DOCKER / "pin.sh", "--check", LOCK=str(lock)).returncode == 0
    assert len(set(lines(lock).values())) == len(images) + 1, "a release's line of our own images stays"
    assert run(K8S / "render", tmp_path / "out", LOCK=str(lock)).returncode == 0
    seen = set()
    for path in (tmp_path / "out").rglob("*.yaml"):
        text = path.read_text()
        used = dict(re.findall(r"image(?:Name)?: (\S+)@(\S+)$", text, re.MULTILINE))
        assert used.items() <= lines(lock).items()
        seen |= used.keys()
        without = re.sub(r"@sha256:[0-9a-f]{64}$", "", text, flags=re.MULTILINE)
        committed = (K8S / path.relative_to(tmp_path / "out")).read_text()
        assert without == re.sub(r"@sha256:[0-9a-f]{64}$", "", committed, flags=re.MULTILINE)
        assert re.findall(r"image(?:Name)?: ((?:docker|ghcr)\.io/[^@\n]+)$", text, re.MULTILINE) == []
    assert seen == {image for image in lines(lock) if "/python:" not in image}


def test_a_registry_that_knows_less_takes_no_pin_away(tmp_path: Path, lock: Path) -> None:
    program, (first, second, *others) = crane(), list(lines(lock))
    known = f"sha256:{'1' * 64}"
    lock.write_text(lock.read_text().replace(f"{second} -", f"{second} {known}"))
    with registry(program) as host:
        push(program, tmp_path, first.replace("docker.io", host), "content")
        done = run(DOCKER / "pin.sh", LOCK=str(lock), MIRROR=host)
    assert done.returncode == 3
    assert [line.split()[1].rstrip(":") for line in done.stderr.splitlines()] == [second, *others]
    found = lines(lock)
    assert found[first].startswith("sha256:")
    assert (found[second], {found[other] for other in others}) == (known, {"-"})
