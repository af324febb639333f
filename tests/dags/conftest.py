"""An Airflow of its own for these tests: a temp home with our settings; Airflow is only ever imported in a child process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.embedded.airflow import environment


@dataclass(frozen=True)
class Home:
    """An Airflow home and how to run Python in it."""

    path: Path
    environment: Mapping[str, str]

    def python(self, code: str, within: float = 240, **extra: str) -> Any:
        """Run a program with Airflow's environment for so many seconds at most and return the JSON of its last line."""
        known = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "QUANTSTREAM_"))}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**known, **self.environment, **extra},
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A prepared home without a database."""
    path = tmp_path_factory.mktemp("airflow")
    environment.prepare(path)
    return Home(path, environment.environment(path, port=9))
