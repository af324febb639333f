"""The release workflow: valid, of pinned parts, without a right too many, refused where it must be; and tidy scripts."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.embedded.state import PROJECT

WORKFLOW = PROJECT / ".github" / "workflows" / "release.yml"
SHELLCHECK = Path(sys.executable).parent / "shellcheck"  # comes with the dev requirements
READ = {"contents": "read"}
RIGHTS = {
    "admit": READ,
    "test": READ,
    "image": READ | {"packages": "write", "id-token": "write", "attestations": "write"},
    "release": {"contents": "write"},
}
LOCKS = (PROJECT / "infra" / "docker" / "locks").iterdir()
ROLES = {path.stem for path in LOCKS} - {"uv"}  # which installs the others' packages


@pytest.fixture(scope="module")
def workflow() -> dict[str, Any]:
    """The workflow as data; YAML reads its key `on` as a truth."""
    found: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text())
    return found


def steps(workflow: dict[str, Any], job: str) -> list[dict[str, Any]]:
    """Return a job's steps."""
    found: list[dict[str, Any]] = workflow["jobs"][job]["steps"]
    return found


def test_the_workflow_is_valid() -> None:
    if shutil.which("go") is None:
        pytest.skip("WORKFLOW NOT CHECKED: go not found, which builds actionlint")
    tool = subprocess.run(
        [PROJECT / "infra" / "docker" / "go_tool.sh", "actionlint"], capture_output=True, text=True, check=True
    )
    done = subprocess.run(
        [tool.stdout.strip(), "-shellcheck", SHELLCHECK, WORKFLOW], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_every_action_is_pinned_to_a_commit_and_says_its_version() -> None:
    used = re.findall(r"uses: (.*)", WORKFLOW.read_text())
    assert used
    assert [one for one in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one)] == []


def test_each_job_has_the_rights_that_it_needs_and_no_other(workflow: dict[str, Any]) -> None:
    assert workflow["permissions"] == {}
    assert {name: job["permissions"] for name, job in workflow["jobs"].items()} == RIGHTS


def test_a_release_is_refused_while_an_image_of_others_has_no_digest(workflow: dict[str, Any]) -> None:
    assert {"run": "infra/docker/pin.sh --check"}.items() <= {
        key: value for step in steps(workflow, "admit") for key, value in step.items() if "pin.sh" in str(value)
    }.items()
    before = {name: set(_list(job.get("needs", []))) for name, job in workflow["jobs"].items()}
    assert before == {"admit": set(), "test": {"admit"}, "image": {"admit", "test"}, "release": {"image"}}
    assert not any("continue-on-error" in one or "if" in one for job in RIGHTS for one in steps(workflow, job))


def test_every_image_is_released(workflow: dict[str, Any]) -> None:
    assert set(workflow["jobs"]["image"]["strategy"]["matrix"]["role"]) == ROLES


def test_no_script_is_made_of_what_others_may_name(workflow: dict[str, Any]) -> None:
    scripts = [step["run"] for job in RIGHTS for step in steps(workflow, job) if "run" in step]
    assert [script for script in scripts if "${{" in script] == []


def test_no_checkout_leaves_its_credentials_behind(workflow: dict[str, Any]) -> None:
    checkouts = [step for job in RIGHTS for step in steps(workflow, job) if "checkout" in step.get("uses", "")]
    assert len(checkouts) == 3
    assert {step["with"]["persist-credentials"] for step in checkouts} == {False}


def test_the_scripts_of_the_images_and_of_ci_are_tidy() -> None:
    scripts = [*(PROJECT / "infra" / "docker").glob("*.sh"), *(PROJECT / "infra").glob("*.sh"), PROJECT / ".ci" / "run"]
    done = subprocess.run(
        [SHELLCHECK, "--external-sources", *scripts], capture_output=True, text=True, check=False, cwd=PROJECT
    )
    assert done.stdout == ""


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
