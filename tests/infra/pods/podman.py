"""podman as machines without systemd need it."""

from __future__ import annotations

import os
import subprocess

from infra.embedded.state import PROJECT

CONF = PROJECT / "infra" / "docker" / "containers.conf"


def podman(*arguments: str, timeout: float = 120, check: bool = True, has_errors: bool = False) -> str:
    """Run podman; return what it prints, with what it says on standard error if asked."""
    environment = os.environ | {"CONTAINERS_CONF": str(CONF)}
    done = subprocess.run(
        ["podman", *arguments], env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )
    assert not check or done.returncode == 0, f"podman {arguments[0]}: {done.stderr.strip()[-1500:]}"
    return f"{done.stdout}{done.stderr}".strip() if has_errors else done.stdout.strip()
