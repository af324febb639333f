"""Jobs of the local overlay as pods: those that run each night, and those by hand, each to its end."""

from __future__ import annotations

import pytest

from tests.infra.pods.conftest import System

pytestmark = [pytest.mark.slow, pytest.mark.broker, pytest.mark.timeout(2400)]


def run(system: System, name: str) -> None:
    """Run a job's pod; it must end well."""
    one = system.node.play(system.workload(name), as_name=name.rstrip("-"), seconds=900)
    ends = one.until_done(900)
    assert ends == dict.fromkeys(ends, 0), "\n".join(one.log(container)[-3000:] for container in ends)
    print(f"{name}: {one.log().splitlines()[-1]}")
    system.node.remove(one.name)


@pytest.mark.parametrize("name", ["replay-", "backup-lake", "backup-models", "backup-postgres", "airflow-cleanup"])
def test_a_job_beside_the_running_system_ends_well(system: System, name: str) -> None:
    run(system, name)


def test_the_lake_comes_back_from_its_backup(system: System) -> None:
    run(system, "restore-")


def test_the_databases_come_back_once_nobody_is_connected_and_all_goes_on(system: System) -> None:
    stopped = ("airflow-scheduler", "airflow-dag-processor", "airflow", "mlflow")
    for name in stopped:
        system.pod(name).remove(30)
    run(system, "restore-postgres-")
    for name in reversed(stopped):
        system.begin(name)
