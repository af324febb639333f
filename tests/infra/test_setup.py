"""The environment is made from the lock of this project, whatever folder `make` was called in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
        f"{ROOT} pip sync --python {python} requirements.txt",
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
