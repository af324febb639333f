"""Every container of the local overlay, run by podman as the manifests say: its exact environment, mounts and read-only root."""

from __future__ import annotations

import pytest

from tests.infra.manifests import containers, of_kind, pod, render
from tests.infra.pods.conftest import WORKLOADS, System
from tests.infra.pods.podman import podman

pytestmark = [pytest.mark.slow, pytest.mark.broker, pytest.mark.timeout(2400)]
EVERY = [
    pytest.param(one["metadata"]["name"], container["name"], id=f"{one['metadata']['name']}-{container['name']}")
    for one in of_kind(render("local"), "Deployment", "StatefulSet")
    for container in containers(one)
]


def test_the_system_is_all_that_the_manifests_have() -> None:
    assert {one["metadata"]["name"] for one in of_kind(render("local"), "Deployment", "StatefulSet")} == set(WORKLOADS)


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_becomes_ready_and_stays_alive(system: System, name: str) -> None:
    one = system.pod(name)
    one.until("readinessProbe")
    assert all(one.probe("livenessProbe", container["name"]) for container in pod(one.workload)["containers"])
    for init in pod(one.workload).get("initContainers", ()):
        assert one.inspect("State.ExitCode", init["name"]) == "0"


@pytest.mark.parametrize(("name", "container"), EVERY)
def test_a_container_is_confined_as_its_manifest_says(system: System, name: str, container: str) -> None:
    one = system.pod(name)
    want = pod(one.workload)["securityContext"]
    assert one.inspect("Config.User", container) == f"{want['runAsUser']}:{want['runAsGroup']}"
    assert one.inspect("HostConfig.ReadonlyRootfs", container) == "true"
    assert one.inspect("EffectiveCaps", container) == "[]"
    assert "no-new-privileges" in one.inspect("HostConfig.SecurityOpt", container)


@pytest.mark.parametrize("name", WORKLOADS)
def test_nothing_but_its_mounts_can_be_written(system: System, name: str) -> None:
    for container in pod(system.pod(name).workload)["containers"]:
        told = podman("exec", system.pod(name).container(container["name"]), "sh", "-c", "touch /x 2>&1 || true")
        assert told.endswith("Read-only file system")
