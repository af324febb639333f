"""Databases of an older MLflow and an older Airflow, brought up to date by the commands of the manifests' init containers.

MLflow's is made by that release itself, Airflow's by this one's own way back. On SQLite; the cluster's is Postgres.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from infra.embedded.airflow.environment import environment, prepare
from infra.embedded.jars import cache_folder
from ml.serving.registry import Registry
from tests.infra.manifests import named, pod, render

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
OLDER_MLFLOW = "3.2.0"  # the oldest that pyproject.toml allows
OLDER_AIRFLOW = "3.1.0"  # likewise
SCRIPTS = Path(sysconfig.get_path("scripts"))
MODEL = "quantstream-signal"
MAKE = f"""
import sys
from mlflow import MlflowClient

client = MlflowClient(tracking_uri=sys.argv[1], registry_uri=sys.argv[1])
run = client.create_run(client.create_experiment("models")).info.run_id
client.log_metric(run, "loss", 0.5)
client.create_registered_model("{MODEL}")
for version in (1, 2):
    client.create_model_version("{MODEL}", f"/models/{{version}}", run)
client.set_registered_model_alias("{MODEL}", "champion", "2")
client.set_registered_model_alias("{MODEL}", "previous", "1")
"""


def command(deployment: str) -> str:
    """Return what the init container of a Deployment runs first, as its shell is told."""
    (container,) = [
        one
        for one in pod(named(render("prod"), "Deployment", deployment))["initContainers"]
        if one["name"] == "database"
    ]
    shell, flags, script = container["args"]
    assert (shell, flags) == ("sh", "-ec")
    return str(script).split(";")[0]


def shell(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a line as the container's shell does, with the programs of this environment."""
    given = os.environ | {"PATH": f"{SCRIPTS}:{os.environ['PATH']}"} | variables
    return subprocess.run(["sh", "-ec", script], env=given, capture_output=True, text=True, check=False, timeout=400)


def older_mlflow() -> str:
    """Return the Python of an environment with an older MLflow, made now if it was not before; the rest is this one's."""
    folder = cache_folder() / f"mlflow-{OLDER_MLFLOW}"
    python = folder / "bin" / "python"
    if not (folder / "done").exists():
        packages = [f"{name}=={OLDER_MLFLOW}" for name in ("mlflow", "mlflow-skinny", "mlflow-tracing")]
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        for words in ([sys.executable, "-m", "venv", str(folder)], [*pip, *packages, "sqlalchemy<2.1"]):
            done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=600)
            assert done.returncode == 0, done.stderr[-2000:]
        (folder / "done").touch()
    asked = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    own = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    (Path(own) / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return str(python)


def test_models_of_an_older_mlflow_are_served_after_its_database_was_upgraded(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/mlflow.db"
    older = [older_mlflow(), "-c", MAKE, url]
    made = subprocess.run(older, capture_output=True, text=True, check=False, timeout=400, cwd=tmp_path)
    assert made.returncode == 0, made.stderr[-2000:]
    for _ in range(2):  # a second time nothing is left to do
        done = shell(command("mlflow"), MLFLOW_BACKEND_STORE_URI=url)
        assert done.returncode == 0, done.stderr[-2000:]
    registry = Registry(url)
    assert registry.champions() == {MODEL: "2"}
    assert registry.alias_version(MODEL, "previous") == "1"
    card = registry.card(MODEL)
    assert card is not None
    assert (card.version, card.metrics) == ("2", {"loss": 0.5})
    back = subprocess.run(older, capture_output=True, text=True, check=False, timeout=400, cwd=tmp_path)
    assert back.returncode != 0, "the older one does not start on it: so the way back is the dump"
    assert "Can't locate revision" in back.stderr


def test_a_database_of_an_older_airflow_is_migrated_with_what_is_in_it(tmp_path: Path) -> None:
    prepare(tmp_path / "airflow")
    variables = environment(tmp_path / "airflow", 8080)
    migrate, is_current = command("airflow"), "airflow db check-migrations --migration-wait-timeout 0"
    assert migrate == "airflow db migrate"
    for line in (migrate, "airflow variables set kept yes", f"airflow db downgrade --to-version {OLDER_AIRFLOW} --yes"):
        done = shell(line, **variables)
        assert done.returncode == 0, done.stderr[-2000:]
    assert shell(is_current, **variables).returncode != 0
    for line in (migrate, is_current):
        done = shell(line, **variables)
        assert done.returncode == 0, done.stderr[-2000:]
    assert shell("airflow variables get kept", **variables).stdout.strip().endswith("yes")
