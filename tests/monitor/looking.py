"""The monitor, run over a played cluster with only the tools that every system has, and what it found."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.monitor.conftest import HERE, MONITOR
from tests.monitor.played import NOW, Played

TOOLS_OF_EVERY_SYSTEM = [
    "awk",
    "basename",
    "bash",
    "cat",
    "comm",
    "cp",
    "cut",
    "date",
    "df",
    "dirname",
    "env",
    "getconf",
    "grep",
    "head",
    "mktemp",
    "mv",
    "paste",
    "ps",
    "readlink",
    "rm",
    "sed",
    "sleep",
    "sort",
    "tail",
    "timeout",
    "touch",
    "tr",
    "wc",
]
BESIDE_PYTHON = Path(sys.executable).parent  # shellcheck comes with the dev requirements
Finding = tuple[str, str, str, str]  # severity, check, object, reason


def tool(name: str) -> str:
    """Return the path of a tool that the tests need."""
    found = shutil.which(name, path=f"{BESIDE_PYTHON}{os.pathsep}{os.environ['PATH']}")
    assert found, f"{name} is not installed; run make setup (it comes from PyPI), or apt-get install {name}"
    return found


def tools(folder: Path, *more: str) -> Path:
    """Fill a folder with the tools of every system, and with a kubectl that answers what is played."""
    folder.mkdir(exist_ok=True)
    for name in (*TOOLS_OF_EVERY_SYSTEM, *more):
        (folder / name).symlink_to(tool(name))
    (folder / "kubectl").symlink_to(HERE / "bin" / "kubectl")
    return folder


@dataclass
class Look:
    """What the monitor said."""

    code: int
    out: str
    err: str

    @property
    def output(self) -> dict[str, Any]:
        """The JSON that it printed."""
        parsed: dict[str, Any] = json.loads(self.out)
        assert parsed["exit"] == self.code
        return parsed

    @property
    def troubles(self) -> set[Finding]:
        """Every finding that is not ok."""
        keys = ("severity", "check", "object", "reason")
        return {tuple(one[key] for key in keys) for one in self.output["findings"] if one["severity"] != "ok"}  # type: ignore[misc]

    def text(self, check: str, reason: str) -> str:
        """Return what the findings of a check say for a reason."""
        found = [one["text"] for one in self.output["findings"] if (one["check"], one["reason"]) == (check, reason)]
        return "; ".join(found)


@dataclass
class Monitor:
    """Runs the monitor in a folder of its own."""

    tools: Path
    scene: Path

    def __call__(
        self, played: Played | None, verb: str, *arguments: str, environment: Mapping[str, str] = {}, at: int = NOW
    ) -> Look:
        """Look at what is played; None looks again at what was."""
        if played is not None:
            shutil.rmtree(self.scene, ignore_errors=True)
            self.scene.mkdir()
            played.write(self.scene)
        command = [str(self.tools / "bash"), str(MONITOR), *verb.split(), *arguments, "--now", str(at)]
        run = subprocess.run(
            command,
            env={"PATH": str(self.tools), "SCENE": str(self.scene), **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return Look(run.returncode, run.stdout, run.stderr)

    def json(self, played: Played | None, verb: str, *arguments: str, environment: Mapping[str, str] = {}) -> Look:
        """Look, and let it be printed as JSON."""
        look = self(played, verb, *arguments, "--json", environment=environment)
        assert look.err == ""
        return look

    @property
    def calls(self) -> Sequence[str]:
        """What was asked of kubectl."""
        return (self.scene / "calls").read_text().splitlines()
