"""The environment is made from the lock of this project, whatever folder `make` was called in."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTING_UV = """#!/bin/sh
echo "$PWD $*" >>"$NOTES"
"""
PRETENDING_PYTHON = """#!/bin/sh
if [ "$1" = -c ]; then echo {version}; fi
"""
NOTING_MAKE = """#!/bin/sh
echo "$*" >>"$NOTES"
case " $* " in *"$FAILS"*) exit 2 ;; esac
"""


def script(path: Path, text: str) -> Path:
    """Write a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_setup_installs_what_the_projects_lock_says(tmp_path: Path) -> None:
    script(tmp_path / "bin" / "uv", NOTING_UV)
    (tmp_path / "venv").mkdir()
    script(tmp_path / "venv" / "bin" / "python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "NOTES": str(tmp_path / "notes")}
    done = subprocess.run(
        ["sh", str(ROOT / "infra" / "setup.sh"), str(tmp_path / "venv")],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    calls = [line for line in (tmp_path / "notes").read_text().splitlines() if "--version" not in line]
    python = tmp_path / "venv" / "bin" / "python"
    assert calls == [
        f"{ROOT} pip sync --require-hashes --python {python} requirements.txt",
        f"{ROOT} pip install --python {python} --no-deps --quiet --editable .",
    ]


def versions(folder: Path, *asked: str, fails: str = "nothing", **named: str) -> tuple[int, str, list[str]]:
    """Run `make versions`'s script with a `make` that only notes what it is asked for: exit code, what is said, and calls."""
    script(folder / "bin" / "make", NOTING_MAKE)
    notes = folder / "notes"
    notes.write_text("")
    environment = {
        "PATH": f"{folder / 'bin'}:/usr/bin:/bin",
        "NOTES": str(notes),
        "HOME": str(folder),
        "FAILS": fails,
        **{f"QUANTSTREAM_PYTHON_{version}": path for version, path in named.items()},
    }
    done = subprocess.run(
        [str(ROOT / "infra" / "versions.sh"), *asked],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stderr, notes.read_text().splitlines()


def pretended(folder: Path, version: str) -> str:
    """Return a program that says that it is a Python of this version."""
    return str(script(folder / version / "python", PRETENDING_PYTHON.format(version=version)))


def test_every_version_is_checked_in_an_environment_of_its_own(tmp_path: Path) -> None:
    python = pretended(tmp_path, "3.98")
    code, output, calls = versions(tmp_path, "3.98", **{"3_98": python})
    assert (code, calls) == (0, [f"check VENV=build/python3.98 QUANTSTREAM_PYTHON={python}"])
    assert "make check is well on Python 3.98" in output


def test_a_version_that_fails_is_named_and_the_others_are_checked_too(tmp_path: Path) -> None:
    named = {"3_98": pretended(tmp_path, "3.98"), "3_99": pretended(tmp_path, "3.99")}
    code, output, calls = versions(tmp_path, "3.98", "3.99", fails="python3.98", **named)
    assert (code, len(calls)) == (1, 2)
    assert "make check fails on Python 3.98\n" in output


def test_a_version_that_is_not_installed_is_said_aloud_and_is_no_success(tmp_path: Path) -> None:
    code, output, calls = versions(tmp_path, "3.9")
    assert (code, calls) == (3, [])
    assert "PYTHON 3.9 IS NOT INSTALLED HERE AND WAS NOT CHECKED; install it (pyenv install 3.9" in output


def test_the_others_are_all_that_readme_names_but_the_one_that_the_tests_ran_on(tmp_path: Path) -> None:
    named = re.search(r"needs Python ([\d., or]+), git", (ROOT / "README.md").read_text())
    assert named is not None
    promised = re.findall(r"3\.\d+", named[1])
    all_named = {version.replace(".", "_"): pretended(tmp_path, version) for version in promised}
    code, _, calls = versions(tmp_path, "--others", **all_named)
    checked = [call.split()[1].removeprefix("VENV=build/python") for call in calls]
    python = ROOT / ".venv" / "bin" / "python"
    own = subprocess.run([python, "-V"], capture_output=True, text=True, check=True).stdout if python.exists() else ""
    assert (code, checked) == (0, [version for version in promised if not own.startswith(f"Python {version}.")])


@pytest.mark.parametrize(("tests", "others", "expected"), [(0, 0, 0), (0, 3, 0), (0, 1, 1), (2, 0, 2)])
def test_ci_fails_with_the_tests_or_another_python_but_not_for_one_that_is_absent(
    tmp_path: Path, tests: int, others: int, expected: int
) -> None:
    run = script(tmp_path / ".ci" / "run", (ROOT / ".ci" / "run").read_text())
    script(tmp_path / "bin" / "make", f'#!/bin/sh\necho "make $*" >>"$NOTES"; exit {tests}\n')
    script(tmp_path / "infra" / "versions.sh", f'#!/bin/sh\necho "versions $*" >>"$NOTES"; exit {others}\n')
    environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "NOTES": str(tmp_path / "notes")}
    assert subprocess.run([run], env=environment, check=False, timeout=60).returncode == expected
    asked = (tmp_path / "notes").read_text().splitlines()
    assert asked == ["make test", "versions --others"][: 1 if tests else 2]
