"""An empty cluster's API, and the real kubectl that talks to it."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.infra.cluster.api_server import serving
from tests.infra.cluster.api_store import Cluster
from tests.infra.manifests import K8S, copied_to

Kubectl = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[tuple[Cluster, Path]]:
    """A cluster, and the kubeconfig that reaches it."""
    with serving(tmp_path) as served:
        yield served


@pytest.fixture
def cluster(api: tuple[Cluster, Path]) -> Cluster:
    """A cluster with nothing in it."""
    return api[0]


@pytest.fixture
def environment(api: tuple[Cluster, Path], tmp_path: Path) -> dict[str, str]:
    """What a shell has whose kubectl reaches the cluster."""
    return shell(api[1], tmp_path)


@pytest.fixture
def kubectl(environment: dict[str, str]) -> Kubectl:
    """The real kubectl, run beside the manifests."""
    return kubectl_of(environment)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts and manifests as somebody has them who named a registry, to be copied."""
    folder = tmp_path_factory.mktemp("rendered")
    copy = copied_to(folder)
    text = (copy / "versions.conf").read_text()
    text = re.sub("^BACKUPS=", "BACKUPS=s3://kept-elsewhere", text, flags=re.MULTILINE)
    (copy / "versions.conf").write_text(text.replace("registry.example.com/", "registry.test/"))
    subprocess.run([copy / "render"], check=True, capture_output=True)
    return folder


def shell(config: Path, home: Path) -> dict[str, str]:
    """Return the variables of a shell whose kubectl reads this configuration."""
    return os.environ | {"KUBECONFIG": str(config), "KUBECACHEDIR": str(home / "cache"), "HOME": str(home)}


def kubectl_of(environment: dict[str, str]) -> Kubectl:
    """Return what runs the real kubectl in such a shell."""

    def run(*arguments: str, check: bool = True, sent: str | None = None) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["kubectl", *arguments],
            env=environment,
            cwd=K8S,
            input=sent,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert not check or done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done

    return run
