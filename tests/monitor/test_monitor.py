"""The monitor's own tidiness, and that it expects what there is."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from quantstream.messages.stages import STAGES
from tests.infra.manifests import of_kind, pod_labels, render
from tests.monitor.conftest import HERE, MONITOR
from tests.monitor.looking import tool


@pytest.mark.parametrize(
    "file", [MONITOR, MONITOR.parent / "build", HERE / "bin" / "kubectl"], ids=lambda path: path.name
)
def test_shellcheck_has_nothing_to_say(file: Path) -> None:
    run = subprocess.run([tool("shellcheck"), str(file)], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "")


@pytest.mark.parametrize("system", ["local", "prod"])
def test_it_expects_every_workload_that_is_rendered(system: str) -> None:
    names = re.search(r'^readonly EVERYTHING="\$STAGES,(.*)"$', MONITOR.read_text(), re.MULTILINE)
    assert names
    expected = {*STAGES, *names[1].split(",")}
    rendered = {
        pod_labels(one)["app.kubernetes.io/name"] for one in of_kind(render(system), "Deployment", "StatefulSet")
    }
    by_operator = {"kafka"} if of_kind(render(system), "Kafka") else set()
    if "postgres-logins" in rendered:  # ready as long as the operator's Postgres answers, so it counts as that
        rendered = rendered - {"postgres-logins"} | {"postgres"}
    assert (rendered | by_operator) - {"exchange"} == expected
    assert f"STAGES='{','.join(STAGES)}'" in MONITOR.read_text()
