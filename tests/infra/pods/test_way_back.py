"""Jobs of the local overlay as pods: those that run each night, and those by hand, each to its end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.infra.pods.conftest import System
from tests.infra.pods.podman import podman
from tests.infra.pods.trainings import failures, until_trained

pytestmark = [pytest.mark.slow, pytest.mark.broker, pytest.mark.timeout(2700)]

CHAMPIONS = """
import json
from ml.serving.registry import Registry
from quantstream.settings_loader import load_settings
print(json.dumps(Registry(load_settings().mlflow_url).champions()))
"""


def run(system: System, name: str) -> None:
    """Run a job's pod; it must end well."""
    one = system.node.play(system.workload(name), as_name=name.rstrip("-"), seconds=900)
    ends = one.until_done(900)
    assert ends == dict.fromkeys(ends, 0), "\n".join(one.log(container)[-3000:] for container in ends)
    print(f"{name}: {one.log().splitlines()[-1]}")
    system.node.remove(one.name)


def champions(system: System) -> Any:
    """Return which versions serve, as MLflow tells the scorer's pod."""
    told = podman("exec", system.pod("score").container(), "python", "-c", CHAMPIONS, timeout=300)
    return json.loads(told.splitlines()[-1])


def test_there_are_models_to_lose(system: System) -> None:
    assert until_trained(system).state == "success", failures(system)
    assert champions(system)


@pytest.mark.parametrize("name", ["replay-", "backup-lake", "backup-models", "backup-postgres", "airflow-cleanup"])
def test_a_job_beside_the_running_system_ends_well(system: System, name: str) -> None:
    run(system, name)


def test_the_lake_comes_back_from_its_backup(system: System) -> None:
    run(system, "restore-")


def test_the_databases_come_back_once_nobody_is_connected_and_all_goes_on(system: System) -> None:
    before = champions(system)
    stopped = ("airflow-scheduler", "airflow-dag-processor", "airflow", "mlflow")
    for name in stopped:
        system.pod(name).remove(30)
    run(system, "restore-postgres-")
    for name in reversed(stopped):
        system.begin(name)
    assert champions(system) == before
    assert system.airflow.runs("models_train")[-1].state == "success"
