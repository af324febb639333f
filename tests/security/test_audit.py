"""An audit that could not look is never one that found nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra.audit import CANNOT_TELL, KNOWN, NONE_KNOWN, judge
from infra.embedded.state import PROJECT


def report(*packages: dict[str, object]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


CLEAN: dict[str, object] = {"name": "numpy", "version": "2.4.0", "vulns": []}
SKIPPED: dict[str, object] = {
    "name": "jinja2",
    "skip_reason": "Dependency not found on PyPI and could not be audited: jinja2 (2.10)",
}
FLAWED: dict[str, object] = {
    "name": "jinja2",
    "version": "2.10",
    "vulns": [{"id": "PYSEC-2019-217", "fix_versions": ["2.10.1"], "aliases": [], "description": "sandbox escape"}],
}


def test_no_vulnerability_in_packages_that_were_all_looked_up() -> None:
    assert judge(report(CLEAN)) == (NONE_KNOWN, ["audit: no known vulnerability in 1 packages"])


def test_a_package_that_could_not_be_looked_up_cannot_be_told_of() -> None:
    code, lines = judge(report(CLEAN, SKIPPED))
    assert (code, lines) == (CANNOT_TELL, ["audit: 1 of 2 packages could not be looked up: jinja2 …"])


def test_a_vulnerability_is_named_with_what_corrects_it() -> None:
    code, lines = judge(report(CLEAN, FLAWED))
    assert code == KNOWN
    assert lines == ["jinja2 2.10: PYSEC-2019-217, fixed in 2.10.1", "audit: 1 known vulnerabilities"]


def test_an_empty_or_broken_report_cannot_be_told_from() -> None:
    for text in ("", "{", "[]", "{}", report()):
        assert judge(text)[0] == CANNOT_TELL


PRETENDING_PIP_AUDIT = f"""#!/bin/sh
while [ "$1" != --requirement ]; do shift; done
case $2 in
*/canary.txt | $FLAWED) echo '{report(FLAWED)}' ;;
$UNKNOWN) echo 'no answer' ;;
*) echo '{report(CLEAN)}' ;;
esac
"""
PRETENDING_CYCLONEDX = """#!/bin/sh
echo '{"components": []}' >build/sbom.json
"""


def audit(tree: Path, flawed: str = "none", unknown: str = "none") -> tuple[int, str]:
    """Run the script in a copy of what it reads, with services that answer of one lock as told."""
    for name in ("infra/audit.sh", "infra/audit.py", "requirements.txt", "docs/requirements.txt", "infra/docker/locks"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (PROJECT / name).is_dir() else shutil.copy2
        copy(PROJECT / name, tree / name)
    programs = {
        "venv/audit/bin/pip-audit": PRETENDING_PIP_AUDIT,
        "venv/audit/bin/cyclonedx-py": PRETENDING_CYCLONEDX,
        "venv/bin/python": f'#!/bin/sh\nexec {sys.executable} "$@"\n',
        "bin/uv": "#!/bin/sh\n",
    }
    for name, text in programs.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
        (tree / name).chmod(0o755)
    environment = {"PATH": f"{tree / 'bin'}:/usr/bin:/bin", "FLAWED": flawed, "UNKNOWN": unknown}
    done = subprocess.run(
        [tree / "infra" / "audit.sh", "venv"],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("flawed", "unknown", "code"),
    [
        ("none", "none", NONE_KNOWN),
        ("infra/docker/locks/mlflow.txt", "none", KNOWN),
        ("none", "requirements.txt", CANNOT_TELL),
        ("docs/requirements.txt", "requirements.txt", KNOWN),
        ("requirements.txt", "infra/docker/locks/airflow.txt", KNOWN),
    ],
)
def test_every_lock_is_audited_the_images_too(tmp_path: Path, flawed: str, unknown: str, code: int) -> None:
    assert audit(tmp_path, flawed, unknown)[0] == code


def test_every_lock_is_named_with_what_is_known_of_it(tmp_path: Path) -> None:
    named = [line for line in audit(tmp_path)[1].splitlines() if line.endswith(".txt:")]
    locks = sorted(path.relative_to(PROJECT) for path in (PROJECT / "infra" / "docker" / "locks").iterdir())
    assert named == ["requirements.txt:", "docs/requirements.txt:", *(f"{lock}:" for lock in locks)]
