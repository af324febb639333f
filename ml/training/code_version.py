"""Which code trains: the commit where there is a repository, what an image was built of, or else the package's version."""

from __future__ import annotations

import os
import subprocess
from importlib import metadata
from pathlib import Path

import quantstream

BAKED = "SOURCE_REVISION"  # set in images, which hold no repository
UNKNOWN = "unknown"
PATIENCE = 10  # seconds


def code_version() -> str:
    """Return `commit 1a2b…`, with a note where files differ from it, or `quantstream 0.1.0`."""
    baked = os.environ.get(BAKED, "")
    if baked and baked != UNKNOWN:
        return f"commit {baked}"
    folder = Path(quantstream.__file__).parent.parent
    commit = _git(folder, "rev-parse", "HEAD") if (folder / ".git").exists() else ""
    if commit:
        return f"commit {commit}" + (
            " with changes" if _git(folder, "status", "--porcelain", "--untracked-files=no") else ""
        )
    try:
        return f"quantstream {metadata.version('quantstream')}"
    except metadata.PackageNotFoundError:
        return "an unknown version of quantstream"


def _git(folder: Path, *arguments: str) -> str:
    """Return what git says, nothing where there is no git or it refuses."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
