"""The look for models, really run by Airflow over a real registry: wanted, on their way, held up, served."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import pytest

from infra.embedded.airflow.environment import DAGS, migrate_command
from ml.serving.registry import CHAMPION, Registry
from quantstream import features
from tests.unit.ml.conftest import serving

pytestmark = pytest.mark.stack  # half a minute of a core: an Airflow is imported and its database made
LOOK = f"""
import json
from airflow.api.client.local_client import Client
from airflow.dag_processing.dagbag import DagBag
from airflow.models.asset import AssetDagRunQueue
from airflow.models.dag import DagModel
from airflow.utils.session import create_session
bag = DagBag(dag_folder={str(DAGS)!r})
with create_session() as session:
    session.query(AssetDagRunQueue).delete()  # what tests before this one asked for
def look():
    run = bag.dags["models_watch"].test()
    return [str(task.state) for task in run.get_task_instances()]
def monitor():
    run = bag.dags["models_monitor"].test()
    return {{task.task_id: str(task.state) for task in run.get_task_instances()}}
def asked():
    with create_session() as session:
        return [row.target_dag_id for row in session.query(AssetDagRunQueue)]
"""
WANTED = """
found = {"monitor": monitor(), "first": look(), "asked": asked()}
Client().trigger_dag("history_backfill")
found["under_way"] = look()
with create_session() as session:
    session.get(DagModel, "history_backfill").is_paused = True
found["paused"] = look()
print()
print(json.dumps(found))
"""
SERVED = """
print()
print(json.dumps(look()))
"""


def test_models_are_asked_for_once_and_who_holds_them_up_is_told(home: Any, tmp_path: Path) -> None:
    environment = {**os.environ, **home.environment}
    for command in (migrate_command(), [sys.executable, "-m", "airflow", "dags", "reserialize"]):
        subprocess.run(command, env=environment, check=True, capture_output=True)
    with serving(tmp_path, tmp_path / "artifacts") as url:
        found = home.python(LOOK + WANTED, QUANTSTREAM_MLFLOW=url)
        registry, client = Registry(url), mlflow.MlflowClient(url, url)
        client.create_registered_model("quantstream-risk")
        run = client.create_run("0").info
        tags = {"feature_hash": features.FEATURE_HASH}
        client.create_model_version("quantstream-risk", f"{run.artifact_uri}/model", run.run_id, tags=tags)
        registry.set_alias("quantstream-risk", CHAMPION, "1")
        served = home.python(LOOK + SERVED, QUANTSTREAM_MLFLOW=url)
    assert found == {
        "monitor": {
            "watch": "success",
            "ask": "skipped",
            "value_at_risk": "success",
        },  # nothing serves, so nothing is worse than it promised
        "first": ["success"],
        "asked": ["history_backfill"],
        "under_way": ["skipped"],
        "paused": ["failed"],
    }
    assert served == ["skipped"]
