"""The images' recipe: a target per role, its locked packages alone, confined by default; `make pods` builds them for real."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from infra.embedded.state import PROJECT
from tests.infra.manifests import SYSTEMS, TEMPLATED, containers, of_kind, render

DOCKER = PROJECT / "infra" / "docker"
EXTRAS = {  # what pyproject.toml calls what an image is made of
    "streaming": ("streaming",),
    "scoring": ("streaming", "scoring"),
    "dashboard": ("dashboard",),
    "airflow": ("dags", "ml", "streaming"),
    "mlflow": (),
}
GROUPS = {"airflow": ("image", "image-airflow"), "mlflow": ("image", "image-mlflow")}
NOT_AS_TESTED = {"airflow": {"python-dateutil", "rich"}, "mlflow": {"python-dateutil"}}  # why: infra/docker/lock.sh


@cache
def project() -> dict[str, Any]:
    """pyproject.toml."""
    return tomllib.loads((PROJECT / "pyproject.toml").read_text())


def locked(text: str) -> dict[str, set[str]]:
    """Return each package's versions (several where they depend on the Python) of a compiled lock."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", text, re.MULTILINE):
        found.setdefault(canonicalize_name(name), set()).add(version)
    return found


def lock(role: str) -> str:
    """Return a role's lock."""
    return (DOCKER / "locks" / f"{role}.txt").read_text()


def wanted(role: str) -> list[Requirement]:
    """Return what a role's image must have."""
    extras = project()["project"]["optional-dependencies"]
    own = [] if role == "mlflow" else project()["project"]["dependencies"]
    groups = project()["dependency-groups"]
    lines = [*own, *(one for extra in EXTRAS[role] for one in extras[extra])]
    return [
        Requirement(one) for one in (*lines, *(one for name in GROUPS.get(role, ("image",)) for one in groups[name]))
    ]


@pytest.mark.parametrize("role", EXTRAS)
def test_a_lock_holds_what_its_role_needs(role: str) -> None:
    has = locked(lock(role))
    for requirement in wanted(role):
        versions = has.get(canonicalize_name(requirement.name), set())
        assert versions, f"{requirement.name} is not in the lock of {role}; run make lock"
        assert all(requirement.specifier.contains(version) for version in versions)


@pytest.mark.parametrize("role", EXTRAS)
def test_a_lock_has_the_versions_that_the_tests_ran_with(role: str) -> None:
    tested = locked((PROJECT / "requirements.txt").read_text())
    different = {
        name: (versions, tested[name])
        for name, versions in locked(lock(role)).items()
        if name in tested and not versions <= tested[name] and name not in NOT_AS_TESTED.get(role, ())
    }
    assert different == {}


@pytest.mark.parametrize("role", EXTRAS)
def test_every_locked_file_has_a_hash(role: str) -> None:
    text = lock(role)
    assert locked(text)
    for block in re.split(r"\n(?=\S)", text):
        assert "==" not in block or "--hash=sha256:" in block, block.splitlines()[0]


def test_what_is_installed_on_a_machine_is_checked_by_hash_too() -> None:
    for path in ("requirements.txt", "docs/requirements.txt", "infra/docker/locks/uv.txt"):
        text = (PROJECT / path).read_text()
        assert locked(text)
        for block in re.split(r"\n(?=\S)", text):
            assert "==" not in block or "--hash=sha256:" in block, f"{path}: {block.splitlines()[0]}"
    setup, docs = ((PROJECT / "infra" / name).read_text() for name in ("setup.sh", "docs.sh"))
    for line in (setup + docs).splitlines():
        if re.search(r"requirements\.txt$|/uv\.txt$", line) and "pip" in line:
            assert "--require-hashes" in line, line


def test_what_only_streams_has_no_machine_learning_library() -> None:
    heavy = {"tensorflow", "keras", "xgboost", "scikit-learn", "mlflow", "great-expectations", "apache-airflow"}
    assert heavy & set(locked(lock("streaming"))) == set()
    for role in ("dashboard", "scoring"):
        assert {"tensorflow", "keras", "great-expectations"} & set(locked(lock(role))) == set(), role
    assert not any(name.startswith("nvidia-") for role in EXTRAS for name in locked(lock(role)))


@cache
def targets() -> dict[str, str]:
    """Return the text of each stage of the Dockerfile."""
    text = re.sub(r"\\\n", " ", (DOCKER / "Dockerfile").read_text())
    parts = re.split(r"^FROM (\S+) AS (\S+)$", text, flags=re.MULTILINE)
    return {parts[i + 1]: f"{parts[i]}\n{parts[i + 2]}" for i in range(1, len(parts), 3)}


@pytest.mark.parametrize("role", EXTRAS)
def test_each_role_is_a_target_with_labels_and_a_healthcheck(role: str) -> None:
    text = targets()[role]
    assert text.startswith("runtime\n")
    assert f'org.opencontainers.image.title="quantstream-{role}"' in text
    assert "HEALTHCHECK" in text
    assert f"COPY --from={role}-packages /opt/venv /opt/venv" in text
    assert f"/install.sh {role}" in targets()[f"{role}-packages"]


def test_every_image_runs_as_nobody_under_an_init() -> None:
    text = targets()["runtime"]
    assert "USER 10001:10001" in text
    assert 'ENTRYPOINT ["/opt/venv/bin/dumb-init", "--"]' in text
    assert all("dumb-init" in locked(lock(role)) for role in EXTRAS)


def test_the_manifests_images_are_targets() -> None:
    images = {
        container["image"].partition("quantstream/")[2].partition(":")[0]
        for system in SYSTEMS
        for workload in of_kind(render(system), *TEMPLATED)
        for container in containers(workload)
        if "quantstream/" in container["image"]
    }
    assert images == {"streaming", "scoring", "dashboard", "mlflow", "airflow"}
    assert images <= set(targets())


def test_nothing_but_the_product_goes_to_the_builder() -> None:
    lines = (PROJECT / ".dockerignore").read_text().splitlines()
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = {
        source
        for text in targets().values()
        for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert lines[1] == "*"
    assert all(any(source == one or source.startswith(f"{one}/") for one in allowed) for source in copied)
